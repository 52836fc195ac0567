"""Reading a request: where it came from, its JSON body, its query string."""

import ipaddress
import re
from collections.abc import Mapping
from functools import lru_cache
from math import ceil
from typing import Any, Final, TypeVar
from uuid import uuid4

import azure.functions as func
import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.audit.model import Origin
from shared.platform.errors import FieldError, InvalidContent, Malformed, TooLarge, UnsupportedMedia, invalid_field
from shared.platform.listing import Page

ModelT = TypeVar("ModelT", bound=BaseModel)

NEWEST_FIRST: Final = "-created_at"
_MOST_DETAILS: Final = 100
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
# What pydantic says in the terms of Python, said in those of JSON.
_WORDS: Final[Mapping[str, str]] = {
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dict_type": "must be an object",
    "list_type": "must be a list",
    "uuid_type": "must be a UUID",
    "uuid_parsing": "must be a UUID",
    "missing": "is required",
    "extra_forbidden": "is not known here",
}


class PageQuery(BaseModel):
    """Paging of the registries."""

    model_config = ConfigDict(extra="forbid")

    page: int = Field(1, ge=1, le=1_000_000)
    page_size: int = Field(20, ge=1, le=100)

    def filters(self) -> dict[str, Any]:
        """What a subclass adds, save the order."""
        return self.model_dump(exclude={"page", "page_size", "sort"})

    def of(self, sort: str) -> Page:
        """This page of a list in this order."""
        return Page(self.page_size, self.offset, sort)

    @property
    def offset(self) -> int:
        """Rows before this page."""
        return (self.page - 1) * self.page_size

    def pagination(self, total: int) -> dict[str, int]:
        """What the answer's ``meta.pagination`` says."""
        pages = ceil(total / self.page_size)
        return {"page": self.page, "page_size": self.page_size, "total": total, "total_pages": pages}


def origin_of(request: func.HttpRequest) -> Origin:
    """Where a request came from; its id is the one it brought, when that is well-formed, else a new one."""
    headers = request.headers
    given = headers.get("x-request-id", "")
    request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid4())
    return Origin(request_id, _client_address(headers.get("x-forwarded-for", "")), _user_agent(headers))


def _user_agent(headers: Mapping[str, str]) -> str | None:
    agent = headers.get("user-agent", "").replace("\x00", "")
    return agent[:500] or None


@lru_cache(maxsize=4096)
def _client_address(forwarded_for: str) -> str | None:
    """The address that the platform's front end appended last; what stands before it is the client's own claim."""
    last = forwarded_for.rsplit(",", 1)[-1].strip()
    if last.startswith("["):
        last = last[1:].partition("]")[0]  # [IPv6]:port
    elif last.count(":") == 1:
        last = last.partition(":")[0]  # IPv4:port
    try:
        return str(ipaddress.ip_address(last.partition("%")[0]))  # PostgreSQL's inet knows no zones
    except ValueError:
        return None


def read_body(request: func.HttpRequest, model: type[ModelT], limit: int) -> ModelT:
    """The JSON body as ``model``; raises as :func:`parse_json` does.

    :raises UnsupportedMedia: the content type is not JSON, or the body is compressed.
    :raises TooLarge: more than ``limit`` bytes.
    """
    raw = _json_bytes(request, limit)
    return parse_json(raw, model)


def read_json(request: func.HttpRequest, limit: int) -> object:
    """The JSON body as it is; what it may contain is checked by :func:`validated`, part by part.

    :raises UnsupportedMedia: the content type is not JSON, or the body is compressed.
    :raises TooLarge: more than ``limit`` bytes.
    :raises Malformed: not UTF-8, not JSON, or NaN and infinity, which JSON does not have.
    """
    return _loaded(_json_bytes(request, limit))


def media_type_of(request: func.HttpRequest) -> str:
    """The content type without its parameters, in lower case; empty when there is none."""
    return str(request.headers.get("content-type", "")).partition(";")[0].strip().lower()


def _json_bytes(request: func.HttpRequest, limit: int) -> bytes:
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMedia("the body must not be compressed")
    if media_type_of(request) != "application/json":
        raise UnsupportedMedia("the body must be application/json")
    raw = bytes(request.get_body())
    if len(raw) > limit:
        raise TooLarge(f"the body may have at most {limit} bytes")
    return raw


def _loaded(raw: bytes) -> object:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the body is not JSON: {error}") from error


def parse_json(raw: bytes, model: type[ModelT]) -> ModelT:
    """A JSON document as ``model``.

    :raises Malformed: not UTF-8, not JSON, or NaN and infinity, which JSON does not have.
    :raises InvalidContent: the fields that are wrong, each with its reason.
    """
    return validated(_loaded(raw), model, check_nul=b"\\u0000" in raw)


def validated(document: object, model: type[ModelT], *, check_nul: bool = True) -> ModelT:
    """A document, or a part of one, as ``model``.

    :raises InvalidContent: the fields that are wrong, each with its reason, or the character NUL somewhere.
    """
    if check_nul and _contains_nul(document):
        raise InvalidContent("the body contains the character NUL, which cannot be stored")
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise invalid(error, document) from error


def read_query(request: func.HttpRequest, model: type[BaseModel] | None) -> BaseModel | None:
    """The query string as ``model``; without a model any parameter is refused.

    :raises InvalidContent: a parameter is unknown or wrong.
    """
    if model is None and not request.params:
        return None
    given = refuse_nul(dict(request.params))
    try:
        return (model or _NoQuery).model_validate(given)
    except ValidationError as error:
        raise invalid(error) from error


class _NoQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")


def refuse_nul(fields: dict[str, str]) -> dict[str, str]:
    """``fields`` as they are.

    :raises InvalidContent: one of them contains the character NUL.
    """
    for name, value in fields.items():
        if "\x00" in name or "\x00" in value:
            raise invalid_field(name.replace("\x00", "�"), "contains the character NUL, which cannot be stored")
    return fields


def _contains_nul(document: object) -> bool:
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            if "\x00" in value:
                return True
        elif isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list):
            waiting += value
    return False


def invalid(error: ValidationError, document: object = None) -> InvalidContent:
    """What pydantic refused, as the domain says it, at most a hundred fields; the offending values are not echoed.

    :param document: what was refused, so that a field is named by its path there and not by the variant of a union.
    """
    details = [
        FieldError(
            _path(problem["loc"], document, missing=problem["type"] == "missing") or "body",
            _WORDS.get(problem["type"]) or problem["msg"].removeprefix("Value error, "),
        )
        for problem in error.errors(include_url=False, include_context=False, include_input=False)[:_MOST_DETAILS]
    ]
    return InvalidContent("the request is not valid", target=details[0].field, details=details)


def _path(location: tuple[int | str, ...], document: object, *, missing: bool) -> str:
    parts = []
    for depth, part in enumerate(location, start=1):
        absent = isinstance(document, dict) and part not in document
        if absent and not (missing and depth == len(location)):
            continue  # the name of a variant, which the document does not have
        parts.append(str(part))
        if isinstance(document, dict):
            document = document.get(part)
        elif isinstance(document, list) and isinstance(part, int):
            document = document[part]
    return ".".join(parts)
