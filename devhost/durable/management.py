"""The durable HTTP API: the RPC endpoints the Python client calls, and the same operations as webhooks with a key."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from devhost.asgi import Handler, Request, Response
from devhost.durable.binding import RPC_PREFIX, WEBHOOK_PREFIX, management_urls
from devhost.durable.engine import AlreadyExists, Engine
from devhost.durable.status import describe, is_true, select
from devhost.keys import HostKeys
from devhost.loopback import names_loopback

_JSON = (b"content-type", b"application/json")
_PAGE = 100


def reply(status: int, value: Any = None, **headers: str) -> Response:
    """An answer with a JSON body, or none when the value is None."""
    extra = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    if value is None:
        return Response(status, b"", extra)
    return Response(status, json.dumps(value).encode(), [_JSON, *extra])


class Management:
    """Handlers of the two prefixes; `handlers` maps each prefix to its own."""

    def __init__(self, engine: Engine, keys: HostKeys, origin: str) -> None:
        self._engine = engine
        self._keys = keys
        self._origin = origin
        self.handlers: dict[str, Handler] = {WEBHOOK_PREFIX: self._webhook, RPC_PREFIX: self._rpc}
        self._operations: dict[str, Callable[[Request, str], Response]] = {
            "terminate": self._control,
            "suspend": self._control,
            "resume": self._control,
            "rewind": self._rewind,
        }

    async def _webhook(self, request: Request) -> Response:
        given = request.key() or ""
        if given != self._keys.durable and not self._keys.allows("admin", given):
            return Response(401)
        return await self._answer(request, request.path[len(WEBHOOK_PREFIX) :], rpc=False)

    async def _rpc(self, request: Request) -> Response:
        if not names_loopback(request.headers.get("host", "")):
            return Response(403)
        return await self._answer(request, request.path[len(RPC_PREFIX) :], rpc=True)

    async def _answer(self, request: Request, path: str, *, rpc: bool) -> Response:
        parts = [part for part in path.split("/") if part]
        resources: dict[str, Callable[[Request, list[str], bool], Awaitable[Response]]] = {
            "orchestrators": self._orchestrators,
            "instances": self._instances,
            "entities": self._entities,
        }
        handler = resources.get(parts[0]) if parts else None
        if handler is None:
            return Response(404)
        try:
            response = await handler(request, parts[1:], rpc)
        except ValueError as error:
            response = reply(400, {"Message": str(error), "ExceptionMessage": str(error)})
        await self._engine.sync()  # nothing is told that a crash could take back
        return response

    async def _orchestrators(self, request: Request, parts: list[str], rpc: bool) -> Response:
        if request.method != "POST" or len(parts) not in (1, 2):
            return Response(404)
        name, instance_id = parts[0], parts[1] if len(parts) == 2 else None
        if instance_id is not None and instance_id.startswith("@"):
            raise ValueError("Orchestration instance ids must not start with '@'.")
        text = _json_text(request.body)
        try:
            started = self._engine.create(name, instance_id, text, request.query.get("version", ""))
        except KeyError:
            message = f"The function '{name}' doesn't exist, is disabled, or is not an orchestrator function."
            return reply(
                400, {"Message": "One or more of the arguments submitted is incorrect", "ExceptionMessage": message}
            )
        except AlreadyExists as error:
            return reply(409, {"Message": str(error), "ExceptionMessage": str(error)})
        return self._accepted(started)

    def _accepted(self, instance_id: str) -> Response:
        urls = management_urls(self._origin, self._keys.durable, instance_id)
        return reply(202, urls, location=urls["statusQueryGetUri"], retry_after="10")

    async def _instances(self, request: Request, parts: list[str], rpc: bool) -> Response:
        match request.method, parts:
            case "GET", []:
                return self._list(request)
            case "DELETE", []:
                return self._purge([instance.id for instance in select(self._engine.state, request.query)])
            case "GET", [instance_id]:
                return self._status(request, instance_id)
            case "DELETE", [instance_id]:
                return self._purge([instance_id])
            case "POST", [instance_id, "raiseEvent", name]:
                return self._raise_event(request, instance_id, name)
            case "POST", [instance_id, "restart"]:
                return self._restart(request, instance_id, rpc)
            case "POST", [instance_id, operation] if operation in self._operations:
                if instance_id not in self._engine.state.instances:
                    return Response(404)
                return self._operations[operation](request, instance_id)
            case _:
                return Response(404)

    def _status(self, request: Request, instance_id: str) -> Response:
        instance = self._engine.state.instances.get(instance_id)
        if instance is None:
            return Response(404)
        body = describe(instance, request.query)
        if instance.is_running:
            location = management_urls(self._origin, self._keys.durable, instance_id)["statusQueryGetUri"]
            return reply(202, body, location=location, retry_after="10")
        failed = instance.status == "Failed" and is_true(request.query, "returnInternalServerErrorOnFailure", "false")
        return reply(500 if failed else 200, body)

    def _list(self, request: Request) -> Response:
        found = select(self._engine.state, request.query)
        start = int(request.headers.get("x-ms-continuation-token") or 0)
        top = int(request.query.get("top", _PAGE if start else len(found) or 1))
        page = [describe(instance, request.query) for instance in found[start : start + top]]
        more = {"x_ms_continuation_token": str(start + top)} if start + top < len(found) else {}
        return reply(200, page, **more)

    def _purge(self, instance_ids: list[str]) -> Response:
        deleted = self._engine.purge(instance_ids)
        return reply(200, {"instancesDeleted": deleted}) if deleted else reply(404)

    def _raise_event(self, request: Request, instance_id: str, name: str) -> Response:
        instance = self._engine.state.instances.get(instance_id)
        if instance is None:
            return Response(404)
        if not instance.is_running:
            return Response(410)
        if "json" not in request.headers.get("content-type", ""):
            raise ValueError("Only application/json request content is supported")
        self._engine.raise_event(instance_id, name, _json_text(request.body) or "null")
        return Response(202)

    def _control(self, request: Request, instance_id: str) -> Response:
        if not self._engine.state.instances[instance_id].is_running:
            return Response(410)
        self._engine.control(request.path.rpartition("/")[2], instance_id, request.query.get("reason", ""))
        return Response(202)

    def _rewind(self, request: Request, instance_id: str) -> Response:
        if self._engine.state.instances[instance_id].status != "Failed":
            return Response(410)
        if not self._engine.rewind(instance_id, request.query.get("reason", "")):
            return reply(400, "The instance cannot be rewound: its failure went through a durable timer.")
        return Response(202)

    def _restart(self, request: Request, instance_id: str, rpc: bool) -> Response:
        instance = self._engine.state.instances.get(instance_id)
        if instance is None:
            return Response(404)
        same = not is_true(request.query, "restartWithNewInstanceId", "true")
        try:
            started = self._engine.create(
                instance.name, instance_id if same else uuid4().hex, instance.input, instance.version
            )
        except AlreadyExists as error:
            return reply(409, {"Message": str(error), "ExceptionMessage": str(error)})
        return reply(202, started) if rpc else self._accepted(started)

    async def _entities(self, request: Request, parts: list[str], rpc: bool) -> Response:
        match request.method, parts:
            case "GET", [name, key]:
                entity = self._engine.state.entities.get(f"@{name.lower()}@{key}")
                if entity is None or not entity.exists:
                    return Response(404)
                return reply(200, json.loads(entity.state) if entity.state is not None else None)
            case "POST", [name, key]:
                if not self._engine.functions.has("entity", name):
                    raise ValueError(f"The function '{name}' doesn't exist, is disabled, or is not an entity function.")
                text = _json_text(request.body)
                value = json.loads(text) if text is not None else None  # the client sends JSON text as a JSON string
                self._engine.signal(
                    f"@{name.lower()}@{key}", request.query.get("op", ""), value if isinstance(value, str) else text
                )
                return Response(202)
            case "GET", [] | [_]:
                prefix = f"@{parts[0].lower()}@" if parts else "@"
                return reply(200, [_entity_line(key) for key in sorted(self._existing(prefix))])
            case _:
                return Response(404)

    def _existing(self, prefix: str) -> list[str]:
        entities = self._engine.state.entities
        return [key for key, entity in entities.items() if entity.exists and key.startswith(prefix)]


def _entity_line(entity_id: str) -> dict[str, Any]:
    name, key = entity_id[1:].split("@", 1)
    return {"entityId": {"name": name, "key": key}}


def _json_text(body: bytes) -> str | None:
    """The body as JSON text, None when it is empty or null.

    Raises:
        ValueError: the body is not JSON.
    """
    if not body.strip():
        return None
    value = json.loads(body)
    return None if value is None else json.dumps(value)
