"""The document itself: one operation an endpoint, with everything that can be sent and answered."""

import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from http import HTTPStatus
from inspect import cleandoc
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import BaseModel

from functions.answers.envelope import ContinuedMeta, ErrorAnswer, Meta, PagedMeta
from functions.endpoint import ENDPOINTS, Endpoint
from functions.openapi.schemas import Schema, Schemas
from functions.requests import PageQuery
from functions.responses import described, status_of
from shared.platform.errors import (
    Conflict,
    DomainError,
    Forbidden,
    InvalidContent,
    Malformed,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnsupportedMedia,
    invalid_field,
)
from shared.users.model import Role

API_VERSION: Final = "1.0.0"
_EXAMPLES: Final = Path(__file__).with_name("examples.json")
_REFUSED_BODIES: Final = (Malformed, TooLarge, UnsupportedMedia)
_INTERNAL: Final = 500
_WHY: Final[Mapping[int, str]] = {
    400: "The request cannot be read: not JSON, not UTF-8, not a table.",
    401: "Nobody is proven: no token or key, or one that is not valid.",
    403: "The caller is known and may not do this.",
    404: "There is no such thing.",
    409: "The present state forbids it.",
    413: "More bytes, rows or columns than the limit.",
    415: "A content type that is not read here.",
    422: "Readable and wrong: each field is told with its reason.",
    500: "Something failed on our side; the request id finds it in the logs.",
    503: "Something this depends on is away, or the queue is full: try again later.",
}
_HEADERS: Final[Mapping[str, str]] = {
    "X-Request-Id": "The id that the request brought, or a new one; it finds the request in the logs.",
    "Location": "Where the new resource is.",
    "Operation-Location": "Where the progress of long work is told.",
    "Retry-After": "Seconds to wait before asking again.",
    "WWW-Authenticate": "The scheme to prove oneself with.",
    "Idempotency-Replayed": "true where this is the stored answer of an earlier request with the same key.",
}
_ERROR_HEADERS: Final[Mapping[int, tuple[str, ...]]] = {
    401: ("WWW-Authenticate",),
    409: ("Retry-After",),
    503: ("Retry-After",),
}
_REFUSALS: Final = dict(
    described(error)
    for error in (
        Malformed("the body is not JSON: unexpected end of data: line 1 column 1 (char 0)"),
        Unauthenticated("a bearer token is required"),
        Forbidden("the role analyst may not do this"),
        NotFound("no model has this id", target="model_id"),
        Conflict("the feature set is PROCESSING; it must be COMPLETED", target="feature_set_id"),
        TooLarge("the body may have at most 1048576 bytes"),
        UnsupportedMedia("the body must be application/json"),
        invalid_field("page_size", "Input should be less than or equal to 100"),
        Unavailable("the database is not reachable", target="database"),
        RuntimeError("told to nobody"),
    )
)
_EXAMPLE_META: Final = {"timestamp": "2026-01-31T09:30:00.000000Z", "request_id": "checkout-4711"}
_DESCRIPTION: Final = """
Scoring of e-commerce transactions, and everything around the models that do it.

Success is `{"data", "meta"}`, failure `{"error", "meta"}`, in one shape everywhere. Long work answers 202 with
`Operation-Location` and `Retry-After`. Registries are paged by `page` and `page_size`, lists that are too long to count
by `cursor`. `x-roles` of an operation names the roles that may call it.
"""


@cache
def openapi_json() -> bytes:
    """The document of this app; made at the first call."""
    return orjson.dumps(document(ENDPOINTS))


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of ``endpoints``."""
    schemas = Schemas()
    for kind in (Meta, PagedMeta, ContinuedMeta, ErrorAnswer):
        schemas.want("out", kind)
    for entry in endpoints:
        for wanted in (entry.body, entry.query, *entry.uploads.values()):
            if wanted is not None:
                schemas.want("in", wanted)
        if entry.response is not None:
            schemas.want("out", entry.response)
    schemas.resolve()
    examples: dict[str, dict[str, Any]] = orjson.loads(_EXAMPLES.read_bytes())
    paths: dict[str, dict[str, Any]] = {}
    for entry in sorted(endpoints, key=lambda entry: (entry.route, entry.method)):
        path = "/" + re.sub(r"\{(\w+):guid\}", r"{\1}", entry.route)
        operation = _operation(entry, schemas, examples.get(entry.name, {}))
        paths.setdefault(path, {})[entry.method.lower()] = operation
    responses = {_error_name(status): _error(status, schemas) for status in _WHY}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Shadow Hubble", "version": API_VERSION, "description": cleandoc(_DESCRIPTION)},
        "servers": [{"url": "/api/v1"}],
        "tags": _tags(endpoints),
        "paths": paths,
        "components": {
            "schemas": schemas.used([paths, responses]),
            "responses": responses,
            "headers": {name: _header(name, why) for name, why in _HEADERS.items()},
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "A token of the identity provider; a first sign-in makes an analyst.",
                },
                "functionKey": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "x-functions-key",
                    "description": "A key of a machine caller; for scoring alone.",
                },
            },
        },
    }


def errors_of(entry: Endpoint) -> frozenset[int]:
    """The error statuses that an endpoint can answer with."""
    kinds: set[type[DomainError]] = {InvalidContent, Unavailable, *entry.errors}
    if entry.access is not None:
        kinds |= {Unauthenticated, Forbidden}
    if "{" in entry.route:
        kinds.add(NotFound)
    if entry.body is not None or entry.uploads:
        kinds |= {*_REFUSED_BODIES}
    if entry.idempotent is not None:
        kinds.add(Conflict)
    return frozenset({status_of(kind) for kind in kinds} | {_INTERNAL}) - set(entry.also)


def _operation(entry: Endpoint, schemas: Schemas, example: Mapping[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": entry.name,
        "tags": [entry.tag],
        "summary": entry.summary,
        "description": entry.description,
        "parameters": _parameters(entry, schemas),
    }
    if entry.body is not None or entry.uploads:
        operation["requestBody"] = _body(entry, schemas, example)
    responses = {str(entry.status): _success(entry, schemas, example)}
    responses |= {str(status): _success(entry, schemas, {}, why) for status, why in entry.also.items()}
    responses |= {str(status): {"$ref": _error_reference(status)} for status in sorted(errors_of(entry))}
    operation["responses"] = responses
    if entry.access is None:
        operation["security"] = []
    else:
        schemes = ("bearer", "functionKey") if Role.MACHINE in entry.access else ("bearer",)
        operation["security"] = [{scheme: []} for scheme in schemes]
        operation["x-roles"] = sorted(role.value for role in entry.access)
    return operation


def _parameters(entry: Endpoint, schemas: Schemas) -> list[Schema]:
    found: list[Schema] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}
        for name in re.findall(r"\{(\w+):guid\}", entry.route)
    ]
    if entry.query is not None:
        found += [_parameter(name, *of) for name, of in schemas.query(entry.query).items()]
    if entry.idempotent is not None:
        found.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "Sent again with the same key within 24 hours, the same request is answered again and "
                "not done again.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x21-\\x7e]+$"},
            }
        )
    found.append(
        {
            "name": "X-Request-Id",
            "in": "header",
            "description": "An id of your own for this request: letters, digits, dot, underscore, hyphen, 128 at most. "
            "Anything else is replaced by a new one.",
            "schema": {"type": "string"},
        }
    )
    return found


def _parameter(name: str, schema: Schema, required: bool) -> Schema:
    described = {"description": schema["description"]} if "description" in schema else {}
    rest = {key: value for key, value in schema.items() if key != "description"}
    style = {"style": "form", "explode": False} if rest.get("type") == "array" else {}
    return {"name": name, "in": "query", "required": required, **described, **style, "schema": rest}


def _body(entry: Endpoint, schemas: Schemas, example: Mapping[str, Any]) -> Schema:
    kinds = {"application/json": entry.body} if entry.body is not None else dict(entry.uploads)
    content: dict[str, Schema] = {media_type: {"schema": schemas.of("in", kind)} for media_type, kind in kinds.items()}
    if "request" in example:
        content["application/json"]["example"] = example["request"]
    return {"required": True, "content": content}


def _success(entry: Endpoint, schemas: Schemas, example: Mapping[str, Any], why: str | None = None) -> Schema:
    names = ["X-Request-Id", *entry.headers]
    if entry.status == HTTPStatus.ACCEPTED:
        names += ["Operation-Location", "Retry-After"]
    if entry.idempotent is not None:
        names.append("Idempotency-Replayed")
    schema: Schema = {}
    if entry.response is not None:
        schema = schemas.of("out", entry.response)
    if entry.media_type == "application/json" and not entry.bare:
        schema = {
            "type": "object",
            "required": ["data", "meta"],
            "properties": {"data": schema, "meta": schemas.of("out", _meta(entry.query))},
        }
    content: Schema = {"schema": schema}
    if "response" in example:
        content["example"] = example["response"]
    return {
        "description": why or f"{HTTPStatus(entry.status).phrase}: {_first_sentence(entry.description)}",
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        "content": {entry.media_type: content},
    }


def _meta(query: type[BaseModel] | None) -> type:
    if query is None:
        return Meta
    if issubclass(query, PageQuery):
        return PagedMeta
    return ContinuedMeta if "cursor" in query.model_fields else Meta


def _error(status: int, schemas: Schemas) -> Schema:
    names = ("X-Request-Id", *_ERROR_HEADERS.get(status, ()))
    content = {"schema": schemas.of("out", ErrorAnswer), "example": {"error": _REFUSALS[status], "meta": _EXAMPLE_META}}
    return {
        "description": _WHY[status],
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        "content": {"application/json": content},
    }


def _error_name(status: int) -> str:
    return HTTPStatus(status).phrase.title().replace(" ", "")


def _error_reference(status: int) -> str:
    return f"#/components/responses/{_error_name(status)}"


def _header(name: str, why: str) -> Schema:
    return {"description": why, "schema": {"type": "integer" if name == "Retry-After" else "string"}}


def _tags(endpoints: Sequence[Endpoint]) -> list[Schema]:
    """An area's module says in its first line what it is about."""
    tags = sorted({entry.tag for entry in endpoints})
    return [{"name": tag, "description": _first_sentence(_module_text(tag))} for tag in tags]


def _module_text(tag: str) -> str:
    return sys.modules[f"functions.http.{tag}"].__doc__ or ""


def _first_sentence(text: str) -> str:
    return text.partition("\n\n")[0].replace("\n", " ")
