"""The ASGI application: HTTP functions by the host's rules, and the host's own endpoints."""

from __future__ import annotations

import http
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

import azure.functions as func
from azure.functions.http import HttpRequest

from devhost.app_loader import IndexedFunction, LoadedApp
from devhost.invocation import Invoker
from devhost.keys import HostKeys
from devhost.routing import Route, Router, decode_path, make_route

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
Handler = Callable[["Request"], Awaitable["Response"]]

MAX_BODY_BYTES = 104_857_600  # the Azure host's default request limit
log = logging.getLogger("devhost.http")

_EMPTY: Headers = [(b"content-length", b"0")]


class BodyTooLarge(Exception):
    """The request body is over MAX_BODY_BYTES."""


class ClientGone(Exception):
    """The client closed the connection before its body was complete."""


class Request:
    """What the host's own endpoints need of a request. `path` is decoded, without leading slash."""

    __slots__ = ("body", "headers", "method", "path", "query", "scope")

    def __init__(self, scope: Scope, path: str, headers: dict[str, str], query: dict[str, str], body: bytes) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.path = path
        self.headers = headers
        self.query = query
        self.body = body

    def key(self) -> str | None:
        """The key given in the `x-functions-key` header, else in `?code=`."""
        return self.headers.get("x-functions-key") or self.query.get("code")


class Response:
    """Status, headers and body of an answer."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes = b"", headers: Headers | None = None) -> None:
        self.status = status
        self.body = body
        self.headers = headers if headers is not None else []


def read_headers(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Lower-cased names; a repeated header's values are joined with a comma."""
    headers: dict[str, str] = {}
    for name, value in raw:
        key = name.decode("latin-1")
        text = value.decode("latin-1")
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    return headers


def read_query(raw: bytes) -> dict[str, str]:
    """Query keys without regard to case, repeated ones joined with a comma, empty values dropped."""
    if not raw:
        return {}
    query: dict[str, str] = {}
    spelled: dict[str, str] = {}
    for key, value in parse_qsl(raw.decode("latin-1"), keep_blank_values=True):
        name = spelled.setdefault(key.lower(), key)
        query[name] = f"{query[name]},{value}" if name in query else value
    return {name: value for name, value in query.items() if value}


async def read_body(scope: Scope, receive: Receive, headers: dict[str, str]) -> bytes:
    """Read the body whole.

    Raises:
        BodyTooLarge: it is over MAX_BODY_BYTES.
        ClientGone: the connection ended first.
    """
    length = headers.get("content-length")
    if length is None and "transfer-encoding" not in headers:
        return b""
    if length is not None and int(length) > MAX_BODY_BYTES:
        raise BodyTooLarge
    message = await receive()
    if not message.get("more_body") and message["type"] == "http.request":
        body: bytes = message.get("body", b"")
        return body
    chunks = bytearray()
    while True:
        if message["type"] != "http.request":
            raise ClientGone
        chunks += message.get("body", b"")
        if len(chunks) > MAX_BODY_BYTES:
            raise BodyTooLarge
        if not message.get("more_body"):
            return bytes(chunks)
        message = await receive()


def render(value: Any) -> Response:
    """Turn a function's return value into an answer, by the rules of the worker's HTTP converter.

    Raises:
        TypeError: the value is neither a response, text nor None.
    """
    if isinstance(value, func.HttpResponse):
        headers: Headers = []
        has_type = False
        for name, text in value.headers.items():
            lowered = name.lower()
            if lowered == "content-length":
                continue
            has_type = has_type or lowered == "content-type"
            headers.append((lowered.encode("latin-1"), text.encode("latin-1")))
        if not has_type:
            kind = value.mimetype
            kind = f"{kind}; charset={value.charset}" if kind.startswith("text/") else kind
            headers.append((b"content-type", kind.encode("latin-1")))
        return Response(value.status_code, value.get_body(), headers)
    if isinstance(value, str):
        return Response(200, value.encode(), [(b"content-type", b"text/plain; charset=utf-8")])
    if value is None:
        return Response(http.HTTPStatus.NO_CONTENT)
    raise TypeError(f"an HTTP function returned {type(value).__name__}, not HttpResponse, str or None")


def _route(prefix: str, function: IndexedFunction) -> Route[IndexedFunction]:
    template = str(function.trigger.get("route") or function.name)
    return make_route(function.name, prefix, template, function.methods, function)


class HostApplication:
    """ASGI callable. `system` maps a path prefix ("admin/", …) to the handler of the host's own endpoints below it."""

    def __init__(self, app: LoadedApp, invoker: Invoker, keys: HostKeys, system: dict[str, Handler]) -> None:
        self.router: Router[IndexedFunction] = Router(
            _route(app.settings.route_prefix, function) for function in app.of_kind("httpTrigger")
        )
        self._levels = {
            function.name: str(function.trigger.get("authLevel") or "function").lower() for function in app.functions
        }
        self._invoker = invoker
        self._keys = keys
        self._system = system
        self._prefixes = tuple(system)
        self._limit = app.settings.max_outstanding_requests
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; WebSockets are refused."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1000})
            return
        if 0 <= self._limit <= self._running:
            await send_response(send, scope, Response(http.HTTPStatus.TOO_MANY_REQUESTS))
            return
        self._running += 1
        try:
            await send_response(send, scope, await self._answer(scope, receive))
        except ClientGone:
            log.info("client left before its request was complete", extra={"path": scope["path"]})
        except BodyTooLarge:
            response = Response(http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"", [(b"connection", b"close")])
            await send_response(send, scope, response)
        finally:
            self._running -= 1

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        raw_path: str = scope["raw_path"].decode("latin-1")
        path = decode_path(raw_path.partition("?")[0])[1:]
        if path.startswith(self._prefixes):
            return await self._answer_system(scope, receive, path)
        found = self.router.match(scope["method"], path)
        if found is None:
            return Response(http.HTTPStatus.NOT_FOUND)
        function, values = found[0].target, found[1]
        headers = read_headers(scope["headers"])
        query = read_query(scope["query_string"])
        level = self._levels[function.name]
        if level != "anonymous" and not self._keys.allows(level, headers.get("x-functions-key") or query.get("code")):
            return Response(http.HTTPStatus.UNAUTHORIZED)
        question = scope["query_string"]
        request = HttpRequest(
            method=scope["method"],
            url=f"{scope['scheme']}://{headers.get('host', '')}{raw_path}"
            + (f"?{question.decode('latin-1')}" if question else ""),
            headers=headers,
            params=query,
            route_params=values,
            body_type="bytes",
            body=await read_body(scope, receive, headers),
        )
        try:
            return render(await self._invoker.invoke(function, request))
        except Exception:
            log.exception("function failed", extra={"function": function.name})
            return Response(http.HTTPStatus.INTERNAL_SERVER_ERROR)

    async def _answer_system(self, scope: Scope, receive: Receive, path: str) -> Response:
        headers = read_headers(scope["headers"])
        body = await read_body(scope, receive, headers)
        request = Request(scope, path, headers, read_query(scope["query_string"]), body)
        for prefix, handler in self._system.items():
            if path.startswith(prefix):
                try:
                    return await handler(request)
                except Exception:
                    log.exception("host endpoint failed", extra={"path": path})
                    return Response(http.HTTPStatus.INTERNAL_SERVER_ERROR)
        return Response(http.HTTPStatus.NOT_FOUND)


async def send_response(send: Send, scope: Scope, response: Response) -> None:
    """Send an answer; those that have no body by their status, and answers to HEAD, go without."""
    status = int(response.status)
    bodiless = status in (204, 304) or status < 200
    headers = response.headers
    if not bodiless:
        headers = [*headers, (b"content-length", b"%d" % len(response.body))] if response.body else headers + _EMPTY
    await send({"type": "http.response.start", "status": status, "headers": headers})
    body = b"" if bodiless or scope["method"] == "HEAD" else response.body
    await send({"type": "http.response.body", "body": body})
