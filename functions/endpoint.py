"""The decorator of every HTTP function: identity, role, body and query, errors, request id, log line.

A handler gets a :class:`Call` and returns a :class:`Reply`; everything that all routes share happens here, once.
"""

import asyncio
import ipaddress
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from typing import Any, Final, TypeVar
from uuid import UUID, uuid4

import azure.durable_functions as df
import azure.functions as func
import orjson
import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from functions.access import ROUTES, Access
from functions.composition import Services, get_services
from shared.audit.model import Origin
from shared.platform.clock import utc_now
from shared.platform.errors import (
    Conflict,
    DomainError,
    FieldError,
    Forbidden,
    InvalidContent,
    Malformed,
    MethodNotAllowed,
    NotFound,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    UnsupportedMedia,
)
from shared.platform.identity import is_machine_key
from shared.platform.telemetry import get_logger
from shared.users.model import Caller, Role

REQUEST: Final = "request"
REQUEST_FAILED: Final = "request_failed"

_STATUS: Final[tuple[tuple[type[DomainError], int], ...]] = (
    (Malformed, 400),
    (Unauthenticated, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (MethodNotAllowed, 405),
    (Conflict, 409),
    (TooLarge, 413),
    (UnsupportedMedia, 415),
    (InvalidContent, 422),
    (TooManyRequests, 429),
    (Unavailable, 503),
)
_ANSWERABLE: Final = tuple(kind for kind, _ in _STATUS)
ModelT = TypeVar("ModelT", bound=BaseModel)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_log = get_logger("http")


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated and validated request.

    ``body`` and ``query`` are instances of the models that the endpoint declares, or None.
    """

    services: Services
    caller: Caller
    origin: Origin
    request: func.HttpRequest
    body: Any = None
    query: Any = None
    durable: df.DurableOrchestrationClient | None = None

    @property
    def request_id(self) -> str:
        """The id that the caller sent, or a new one."""
        return self.origin.request_id

    def path_id(self, name: str) -> UUID:
        """A path parameter that the route constrains to be a GUID."""
        return UUID(self.request.route_params[name])


class PageQuery(BaseModel):
    """Paging of the registries."""

    model_config = ConfigDict(extra="forbid")

    page: int = Field(1, ge=1, le=1_000_000)
    page_size: int = Field(20, ge=1, le=100)

    @property
    def offset(self) -> int:
        """Rows before this page."""
        return (self.page - 1) * self.page_size

    def pagination(self, total: int) -> dict[str, int]:
        """What the answer's ``meta.pagination`` says."""
        pages = ceil(total / self.page_size)
        return {"page": self.page, "page_size": self.page_size, "total": total, "total_pages": pages}


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler answers: ``data`` of the envelope, and what differs from the endpoint's defaults."""

    data: Any
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    pagination: Mapping[str, Any] | None = None


def accepted(data: Any, operation_location: str, *, retry_after: int = 2) -> Reply:
    """202 for long work: where to look, and when."""
    return Reply(data, 202, {"Operation-Location": operation_location, "Retry-After": str(retry_after)})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What the decorator knows of a route; the OpenAPI document and the contract tests read it."""

    name: str
    method: str
    route: str
    summary: str
    access: Access
    body: type[BaseModel] | None
    query: type[BaseModel] | None
    status: int


Handler = Callable[[Call], Awaitable[Reply]]
ENDPOINTS: Final[list[Endpoint]] = []


def endpoint(
    blueprint: df.Blueprint,
    method: str,
    route: str,
    *,
    summary: str,
    body: type[BaseModel] | None = None,
    query: type[BaseModel] | None = None,
    status: int = 200,
    durable: bool = False,
) -> Callable[[Handler], Handler]:
    """Register a handler as the HTTP function of ``method`` and ``route``.

    :param body: pydantic model of the JSON body; without one the handler reads ``call.request`` itself.
    :param query: pydantic model of the query string; without one any query parameter is refused.
    :param durable: the handler starts orchestrations and needs ``call.durable``.
    :raises KeyError: the route has no entry in ``functions/access.py``.
    """
    access = ROUTES[method, route]

    def register(handler: Handler) -> Handler:
        entry = Endpoint(handler.__name__, method, route, summary, access, body, query, status)
        ENDPOINTS.append(entry)

        async def plain(req: func.HttpRequest) -> func.HttpResponse:
            return await _answer(entry, handler, req, None)

        async def with_client(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
            return await _answer(entry, handler, req, client)

        function: Any = with_client if durable else plain
        function.__name__ = handler.__name__
        function.__doc__ = handler.__doc__
        if durable:
            function = blueprint.durable_client_input(client_name="client")(function)
        function = blueprint.route(route=route, methods=[method], auth_level=func.AuthLevel.ANONYMOUS)(function)
        blueprint.function_name(handler.__name__)(function)
        return handler

    return register


async def _answer(
    entry: Endpoint, handler: Handler, request: func.HttpRequest, client: df.DurableOrchestrationClient | None
) -> func.HttpResponse:
    started = time.perf_counter()
    origin = origin_of(request)
    outcome: dict[str, Any] = {}
    structlog.contextvars.bind_contextvars(request_id=origin.request_id)
    try:
        services = await get_services()
        caller = await _authorised(entry, request, services, origin)
        outcome["user_id"] = str(caller.user_id) if caller.user_id else caller.role.value
        call = Call(
            services, caller, origin, request, _body(entry, request, services), _query(entry, request), client
        )  # fmt: skip
        reply = await handler(call)
        response = _success(entry, reply, origin.request_id)
    except DomainError as error:
        outcome["error"] = error.code
        if not isinstance(error, _ANSWERABLE):  # meant for inside, a missing blob for instance
            _log.exception(REQUEST_FAILED, function=entry.name)
        response = failure(error, origin.request_id)
    except asyncio.CancelledError:
        raise
    except Exception:  # noqa: BLE001  # the last resort: an answer that leaks nothing, and the log line
        _log.exception(REQUEST_FAILED, function=entry.name)
        response = _internal_error(origin.request_id)
    finally:
        structlog.contextvars.unbind_contextvars("request_id")
    elapsed_ms = round((time.perf_counter() - started) * 1000, 3)
    _log.info(
        REQUEST,
        function=entry.name,
        status=response.status_code,
        duration_ms=elapsed_ms,
        request_id=origin.request_id,
        **outcome,
    )
    return response


def origin_of(request: func.HttpRequest) -> Origin:
    """Where a request came from; its id is the one it brought, when that is well-formed, else a new one."""
    headers = request.headers
    given = headers.get("x-request-id", "")
    request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid4())
    return Origin(request_id, _client_address(headers.get("x-forwarded-for", "")), _user_agent(headers))


def _user_agent(headers: Mapping[str, str]) -> str | None:
    agent = headers.get("user-agent", "").replace("\x00", "")
    return agent[:500] or None


def _client_address(forwarded_for: str) -> str | None:
    """The address that the platform's front end appended last; what stands before it is the client's own claim."""
    last = forwarded_for.rsplit(",", 1)[-1].strip()
    if last.count(":") == 1:
        last = last.split(":", 1)[0]
    try:
        return str(ipaddress.ip_address(last.strip("[]")))
    except ValueError:
        return None


async def _authorised(entry: Endpoint, request: func.HttpRequest, services: Services, origin: Origin) -> Caller:
    if entry.access is None:
        return Caller(Role.MACHINE)
    authorization = request.headers.get("authorization", "")
    key = request.headers.get("x-functions-key")
    if authorization:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("the Authorization header must be 'Bearer TOKEN'")
        user = await services.users.sign_in(await services.tokens.verify(token.strip()), origin)
        caller = Caller(Role(user.role), user.id, user.email)
    elif key is not None:
        if not is_machine_key(key, services.settings.function_key_sha256s):
            raise Unauthenticated("the function key is not valid")
        caller = Caller(Role.MACHINE)
    else:
        raise Unauthenticated("a bearer token is required")
    if caller.role not in entry.access:
        raise Forbidden(f"the role {caller.role.value} may not do this")
    return caller


def _body(entry: Endpoint, request: func.HttpRequest, services: Services) -> BaseModel | None:
    if entry.body is None:
        return None
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMedia("the body must be application/json")
    raw = request.get_body()
    if len(raw) > services.settings.max_json_bytes:
        raise TooLarge(f"the body may have at most {services.settings.max_json_bytes} bytes")
    return parse_json(raw, entry.body)


def parse_json(raw: bytes, model: type[ModelT]) -> ModelT:
    """A JSON document as ``model``.

    :raises Malformed: not UTF-8, not JSON, or NaN and infinity, which JSON does not have.
    :raises InvalidContent: the fields that are wrong, each with its reason.
    """
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the body is not JSON: {error}") from error
    if b"\\u0000" in raw and _contains_nul(document):
        raise InvalidContent("the body contains the character NUL, which cannot be stored")
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise invalid(error) from error


def _query(entry: Endpoint, request: func.HttpRequest) -> BaseModel | None:
    try:
        return (entry.query or _NoQuery).model_validate(dict(request.params)) if entry.query or request.params else None
    except ValidationError as error:
        raise invalid(error) from error


class _NoQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _contains_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any(_contains_nul(key) or _contains_nul(item) for key, item in value.items())
    return isinstance(value, list) and any(_contains_nul(item) for item in value)


def invalid(error: ValidationError) -> InvalidContent:
    """What pydantic refused, as the domain says it; the offending values are not echoed."""
    details = [
        FieldError(".".join(str(part) for part in problem["loc"]) or "body", problem["msg"])
        for problem in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    return InvalidContent("the request is not valid", target=details[0].field, details=details)


def _success(entry: Endpoint, reply: Reply, request_id: str) -> func.HttpResponse:
    meta: dict[str, Any] = {"timestamp": utc_now(), "request_id": request_id}
    if reply.pagination is not None:
        meta["pagination"] = reply.pagination
    return _respond({"data": reply.data, "meta": meta}, reply.status or entry.status, request_id, reply.headers)


def failure(error: DomainError, request_id: str) -> func.HttpResponse:
    """The one error shape; an error that is not meant for callers tells them nothing."""
    if not isinstance(error, _ANSWERABLE):
        return _internal_error(request_id)
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    headers: dict[str, str] = {}
    if isinstance(error, Unavailable | TooManyRequests):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(error.allowed)
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    details = [{"field": detail.field, "message": detail.message} for detail in error.details]
    body = {"code": error.code, "message": error.message, "target": error.target, "details": details}
    return _respond({"error": body, "meta": _meta(request_id)}, status, request_id, headers)


def _internal_error(request_id: str) -> func.HttpResponse:
    message = "something failed on our side; the request id finds it in the logs"
    body: dict[str, Any] = {"code": "internal_error", "message": message, "target": None, "details": []}
    return _respond({"error": body, "meta": _meta(request_id)}, 500, request_id, {})


def _meta(request_id: str) -> dict[str, Any]:
    return {"timestamp": utc_now(), "request_id": request_id}


def _respond(payload: Mapping[str, Any], status: int, request_id: str, headers: Mapping[str, str]) -> func.HttpResponse:
    return func.HttpResponse(
        orjson.dumps(payload, default=_plain, option=orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z),
        status_code=status,
        headers={"X-Request-Id": request_id, **headers},
        mimetype="application/json",
    )


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, frozenset | set | tuple):
        return list(value)
    raise TypeError(f"{type(value).__name__} is not serialisable")
