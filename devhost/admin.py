"""The host's admin endpoints. Those that run or list functions need the master key."""

from __future__ import annotations

import asyncio
import json
import logging
from importlib.metadata import version

from devhost.app_loader import IndexedFunction, LoadedApp
from devhost.asgi import Handler, Request, Response
from devhost.keys import HostKeys
from devhost.timers import Timers

log = logging.getLogger("devhost.admin")
_JSON = [(b"content-type", b"application/json")]


class Admin:
    """`admin/host/status`, `admin/functions`, `admin/functions/{name}`."""

    def __init__(self, app: LoadedApp, keys: HostKeys, timers: Timers) -> None:
        self._functions = {function.name.lower(): function for function in app.functions}
        self._keys = keys
        self._timers = timers
        self._runs: set[asyncio.Task[None]] = set()
        self.handlers: dict[str, Handler] = {
            "admin/host/status": self._host_status,
            "admin/functions": self._function,
        }

    async def _host_status(self, request: Request) -> Response:
        status = {"state": "Running", "version": "devhost", "azureFunctions": version("azure-functions"), "errors": []}
        return Response(200, json.dumps(status).encode(), list(_JSON))

    async def _function(self, request: Request) -> Response:
        if not self._keys.allows("admin", request.key()):
            return Response(401)
        name = request.path.removeprefix("admin/functions").strip("/")
        if not name and request.method == "GET":
            listed = [
                {"name": function.name, "trigger": dict(function.trigger), "isDisabled": function.disabled}
                for function in self._functions.values()
            ]
            return Response(200, json.dumps(listed).encode(), list(_JSON))
        function = self._functions.get(name.lower())
        if function is None or function.disabled or request.method != "POST":
            return Response(404)
        if function.kind != "timerTrigger":
            return Response(400, b"only timer functions can be run by hand here; call an HTTP function by its route")
        run = asyncio.create_task(self._run(function))
        self._runs.add(run)
        run.add_done_callback(self._runs.discard)
        return Response(202)

    async def _run(self, function: IndexedFunction) -> None:
        await self._timers.run(function)
