"""The decorator of every HTTP function: identity, role, body and query, errors, request id, log line.

A handler gets a :class:`Call` and returns a :class:`Reply`; everything that all routes share happens here, once.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from inspect import cleandoc
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import azure.durable_functions as df
import azure.functions as func
import structlog
from pydantic import BaseModel

from functions.access import ROUTES, Access
from functions.authorisation import admit, identify
from functions.composition import Services, get_services
from functions.idempotency import HEADER, answer_once
from functions.requests import origin_of, read_body, read_query
from functions.responses import ANSWERABLE, Document, failure, internal_error, success
from shared.audit.model import Denial, Origin
from shared.idempotency.model import Claim
from shared.platform.errors import Denied, DomainError, Unavailable
from shared.platform.patience import answering_within
from shared.platform.telemetry import get_logger, log_at_once
from shared.training.report import CONTENT_SECURITY_POLICY
from shared.users.model import Caller, Deactivated, Role

_DATABASE_SECONDS: Final = 10.0  # a statement without an answer after these is given up

REQUEST: Final = "request"
REQUEST_FAILED: Final = "request_failed"

_NOTHING: Final[Mapping[Any, Any]] = MappingProxyType({})
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

    async def undone(self) -> None:
        """What this request had done was undone: its idempotency key, if it has one, may be used again."""
        if self.origin.claim is not None:
            await self.services.idempotency.forget(self.origin.claim)

    def path_id(self, name: str) -> UUID:
        """A path parameter that the route constrains to be a GUID."""
        return UUID(self.request.route_params[name])


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler answers: ``data`` of the envelope (or a ``Document`` without one), and what differs from the
    endpoint's defaults.
    """

    data: Any
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    pagination: Mapping[str, Any] | None = None


def report_page(content: bytes) -> Reply:
    """A self-contained HTML page; a browser may apply its own style sheet and nothing else."""
    headers = {
        "Content-Security-Policy": f"{CONTENT_SECURITY_POLICY}; frame-ancestors 'none'",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "private, no-cache",
    }
    return Reply(Document(content, "text/html"), headers=headers)


def accepted(data: Any, operation_location: str, *, retry_after: int = 2) -> Reply:
    """202 for long work: where to look, and when."""
    return Reply(data, 202, {"Operation-Location": operation_location, "Retry-After": str(retry_after)})


Handler = Callable[[Call], Awaitable[Reply]]
Recall = Callable[[Call, UUID], Awaitable[Reply]]
"""Renders anew the answer about what was made, by its id."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What the decorator knows of a route; the OpenAPI document and the contract tests read it."""

    name: str
    method: str
    route: str
    summary: str
    description: str
    tag: str
    access: Access
    body: type[BaseModel] | None
    query: type[BaseModel] | None
    status: int
    response: Any
    media_type: str
    bare: bool
    errors: tuple[type[DomainError], ...]
    headers: tuple[str, ...]
    uploads: Mapping[str, Any]
    also: Mapping[int, str]
    idempotent: Recall | None


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
    response: Any = None,
    media_type: str = "application/json",
    bare: bool = False,
    errors: tuple[type[DomainError], ...] = (),
    headers: tuple[str, ...] = (),
    uploads: Mapping[str, Any] = _NOTHING,
    also: Mapping[int, str] = _NOTHING,
    idempotent: Recall | None = None,
) -> Callable[[Handler], Handler]:
    """Register a handler as the HTTP function of ``method`` and ``route``.

    ``response``, ``media_type``, ``errors``, ``headers``, ``uploads`` and ``also`` are for the OpenAPI document alone:
    nothing is validated against them when an answer is rendered.

    :param body: pydantic model of the JSON body; without one the handler reads ``call.request`` itself.
    :param query: pydantic model of the query string; without one any query parameter is refused.
    :param durable: the handler starts orchestrations and needs ``call.durable``.
    :param response: type of the envelope's ``data``: a pydantic model, a TypedDict, a ``View``, ``[View]`` for a list
        of them, a tuple of alternatives; or of the whole answer when ``media_type`` is another than JSON.
    :param bare: JSON without the envelope.
    :param errors: what the handler may refuse beyond what every route with its body, query, path and roles may.
    :param headers: that a success carries beyond X-Request-Id.
    :param uploads: type of the body by content type, where the handler reads it itself.
    :param also: statuses that carry ``response`` like the usual one, and when they do.
    :param idempotent: the route takes Idempotency-Key; called with the id of what an earlier request made whose answer
        was lost.
    :raises KeyError: the route has no entry in ``functions/access.py``.
    """
    access = ROUTES[method, route]

    def register(handler: Handler) -> Handler:
        entry = Endpoint(
            name=handler.__name__,
            method=method,
            route=route,
            summary=summary,
            description=cleandoc(handler.__doc__ or ""),
            tag=handler.__module__.rpartition(".")[2],
            access=access,
            body=body,
            query=query,
            status=status,
            response=response,
            media_type=media_type,
            bare=bare,
            errors=errors,
            headers=headers,
            uploads=uploads,
            also=also,
            idempotent=idempotent,
        )
        ENDPOINTS.append(entry)

        async def plain(req: func.HttpRequest) -> func.HttpResponse:
            return await _answer_in_time(entry, handler, req, None)

        async def with_client(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
            return await _answer_in_time(entry, handler, req, client)

        function: Any = with_client if durable else plain
        function.__name__ = handler.__name__
        function.__doc__ = handler.__doc__
        if durable:
            function = blueprint.durable_client_input(client_name="client")(function)
        function = blueprint.route(route=route, methods=[method], auth_level=func.AuthLevel.ANONYMOUS)(function)
        blueprint.function_name(handler.__name__)(function)
        return handler

    return register


async def _answer_in_time(
    entry: Endpoint, handler: Handler, request: func.HttpRequest, client: df.DurableOrchestrationClient | None
) -> func.HttpResponse:
    with answering_within(_DATABASE_SECONDS):
        return await _answer(entry, handler, request, client)


async def _answer(
    entry: Endpoint, handler: Handler, request: func.HttpRequest, client: df.DurableOrchestrationClient | None
) -> func.HttpResponse:
    started = time.perf_counter()
    origin = origin_of(request)
    outcome: dict[str, Any] = {}
    caller: Caller | None = None
    structlog.contextvars.bind_contextvars(request_id=origin.request_id)
    try:
        services = await get_services()
        caller = Caller(Role.MACHINE) if entry.access is None else await identify(request, services, origin)
        outcome["user_id"] = str(caller.user_id) if caller.user_id else caller.role.value
        admit(entry.access, caller)
        body = read_body(request, entry.body, services.settings.max_json_bytes) if entry.body else None
        call = Call(services, caller, origin, request, body, read_query(request, entry.query), client)
        response = await _act(entry, handler, call)
    except DomainError as error:
        outcome["error"] = error.code
        if isinstance(error, Unavailable):
            outcome["reason"] = error.message  # names what is away, never what was sent
        if isinstance(error, Denied):
            outcome["reason"] = error.cause
            denied = error.caller if isinstance(error, Deactivated) else caller
            denial = Denial(error.cause, denied, entry.name if denied else None, error.subject)
            await services.denials.note(denial, origin, resource_id=_path_id(request))
        if not isinstance(error, ANSWERABLE):  # meant for inside, a missing blob for instance
            _log.exception(REQUEST_FAILED, function=entry.name)
        response = failure(error, origin.request_id)
    except asyncio.CancelledError:
        raise
    except Exception:  # noqa: BLE001  # the last resort: an answer that leaks nothing, and the log line
        _log.exception(REQUEST_FAILED, function=entry.name)
        response = internal_error(origin.request_id)
    finally:
        structlog.contextvars.unbind_contextvars("request_id")
    elapsed_ms = round((time.perf_counter() - started) * 1000, 3)
    line = {"function": entry.name, "status": response.status_code, "duration_ms": elapsed_ms, **outcome}
    log_at_once("http", REQUEST, {**line, "request_id": origin.request_id})
    return response


async def _act(entry: Endpoint, handler: Handler, call: Call) -> func.HttpResponse:
    """The handler's answer; under an idempotency key the one that was given first."""
    recall = entry.idempotent
    if recall is None or HEADER not in call.request.headers:
        return _rendered(entry, await handler(call), call)

    async def act(claim: Claim) -> func.HttpResponse:
        claimed = replace(call, origin=replace(call.origin, claim=claim.id))
        if not claim.settled:
            return _rendered(entry, await handler(claimed), call)
        assert claim.resource_id is not None  # what is made under a key has an id
        return _rendered(entry, await recall(claimed, claim.resource_id), call)

    service = call.services.idempotency
    return await answer_once(service, call.request, call.caller, entry.name, act, call.request_id)


def _rendered(entry: Endpoint, reply: Reply, call: Call) -> func.HttpResponse:
    return success(reply.data, reply.status or entry.status, call.request_id, reply.headers, reply.pagination)


def _path_id(request: func.HttpRequest) -> UUID | None:
    """The first id of the path, if the route has one: what a refused attempt was aimed at."""
    for name, value in request.route_params.items():
        if name.endswith("_id"):
            return UUID(value)
    return None
