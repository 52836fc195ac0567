"""Running one piece of durable work: an orchestrator's turn, an activity, a durable HTTP call, an entity's batch."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from typing import Any

import azure.functions as func
import orjson
from azure.functions.meta import Datum

from devhost.app_loader import IndexedFunction, LoadedApp
from devhost.durable.events import Event
from devhost.durable.state import Entity, Instance
from devhost.invocation import Invoker

log = logging.getLogger("devhost.durable")
_OUT_OF_PROCESS = "$OutOfProcData$:"
_POLL_LIMIT_SECONDS = 3600.0


class TaskFailed(Exception):
    """An activity failed. `reason` and `details` are what the orchestrator's exception shows."""

    def __init__(self, reason: str, details: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.details = details


class DurableFunctions:
    """The app's durable functions by kind and name; names are compared without regard to case."""

    def __init__(self, app: LoadedApp, invoker: Invoker) -> None:
        self._invoker = invoker
        self._poll_seconds = app.settings.http_sleep_milliseconds / 1000
        self._functions: dict[tuple[str, str], IndexedFunction] = {}
        triggers = {"orchestrator": "orchestrationTrigger", "activity": "activityTrigger", "entity": "entityTrigger"}
        for kind, trigger in triggers.items():
            for function in app.of_kind(trigger):
                self._functions[kind, function.durable_name.lower()] = function
        self._converter: Any = func.get_binding_registry().get("activityTrigger")  # type: ignore[no-untyped-call]

    def has(self, kind: str, name: str) -> bool:
        """Whether the app has an enabled orchestrator, activity or entity of this name."""
        return (kind, name.lower()) in self._functions

    def name_of(self, name: str) -> str:
        """An orchestrator's name as the app spells it."""
        return self._functions["orchestrator", name.lower()].durable_name

    async def run_orchestrator(self, instance: Instance, history: list[Event]) -> dict[str, Any]:
        """Replay an orchestrator and return its state: isDone, actions, output, customStatus, error.

        Raises:
            TaskFailed: the function is gone, or failed outside the durable protocol.
        """
        function = self._functions.get(("orchestrator", instance.name.lower()))
        if function is None:
            raise TaskFailed(f"The function '{instance.name}' doesn't exist, is disabled, or is not an orchestrator.")
        payload = {
            "history": history,
            "input": json.loads(instance.input) if instance.input is not None else None,
            "instanceId": instance.id,
            "isReplaying": bool(instance.history),
            "parentInstanceId": instance.parent["id"] if instance.parent else None,
            "upperSchemaVersion": 1,
            "upperSchemaVersionNew": 2,
            "longRunningTimerIntervalDuration": "3.00:00:00",
            "maximumShortTimerDuration": "6.00:00:00",
            "defaultHttpAsyncRequestSleepTimeMillseconds": int(self._poll_seconds * 1000),
        }
        context = func.OrchestrationContext(orjson.dumps(payload).decode())
        try:
            answer: dict[str, Any] = json.loads(await self._invoker.invoke(function, context))
        except Exception as error:
            _, marker, text = str(error).rpartition(_OUT_OF_PROCESS)
            if not marker:
                raise TaskFailed(f"{type(error).__name__}: {error}", traceback.format_exc()) from error
            log.warning(
                "orchestrator failed", extra={"instance": instance.id, "orchestrator": instance.name}, exc_info=True
            )
            answer = json.loads(text)
        return answer

    async def run_activity(self, name: str, text: str | None) -> str:
        """Run an activity with its input as JSON text; return its result as JSON text.

        Raises:
            TaskFailed: it raised, or returned something that is not JSON.
        """
        function = self._functions.get(("activity", name.lower()))
        if function is None:
            raise TaskFailed(f"The function '{name}' doesn't exist, is disabled, or is not an activity function.")
        try:
            argument = self._converter.decode(
                Datum(text if text is not None else "null", "json"), trigger_metadata=None
            )
            result = await self._invoker.invoke(function, argument)
            encoded = self._converter.encode(result, expected_type=None).value
        except Exception as error:
            log.warning("activity failed", extra={"activity": name}, exc_info=True)
            reason = f"Activity function '{name}' failed: {type(error).__name__}: {error}"
            raise TaskFailed(reason, traceback.format_exc()) from error
        return str(encoded)

    async def run_http(self, text: str) -> str:
        """Make a durable HTTP call, polling a 202 answer's Location until it ends; return the answer as JSON text.

        Raises:
            TaskFailed: no answer was had.
        """
        import aiohttp
        from yarl import URL

        request = json.loads(text)
        method, uri = request["method"].upper(), request["uri"]
        content, headers = request.get("content"), dict(request.get("headers") or {})
        if request.get("tokenSource"):
            raise TaskFailed("call_http with a token source needs a managed identity, which a local host does not have")
        if content is not None and not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = "application/json"
        timeout = aiohttp.ClientTimeout(total=_POLL_LIMIT_SECONDS)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session:
                while True:
                    async with session.request(method, uri, data=content, headers=headers) as response:
                        body = await response.text()
                        answer = {"statusCode": response.status, "headers": dict(response.headers), "content": body}
                        location = response.headers.get("Location")
                        wait = response.headers.get("Retry-After", "")
                        if response.status != 202 or not location:
                            return json.dumps(answer)
                        uri = str(response.url.join(URL(location)))
                    method, content = "GET", None
                    await asyncio.sleep(float(wait) if wait.isdigit() else self._poll_seconds)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise TaskFailed(f"HTTP call to {uri} failed: {error}", traceback.format_exc()) from error

    async def run_entity(self, entity: Entity, batch: list[dict[str, Any]]) -> dict[str, Any]:
        """Run a batch of operations; return entityExists, entityState and results in the order of the batch."""
        name, key = entity.id[1:].split("@", 1)
        function = self._functions.get(("entity", name.lower()))
        operations = [
            {"name": item["op"], "input": json.dumps(item["input"]), "signal": item["signal"]} for item in batch
        ]
        payload = {
            "self": {"name": name, "key": key},
            "exists": entity.exists,
            "state": entity.state,
            "batch": operations,
        }
        unchanged = {"entityExists": entity.exists, "entityState": entity.state}
        if function is None:
            reason = f"The function '{name}' doesn't exist, is disabled, or is not an entity function."
            return unchanged | {"results": [{"isError": True, "result": json.dumps(reason)} for _ in batch]}
        try:
            answer: dict[str, Any] = json.loads(
                await self._invoker.invoke(function, func.EntityContext(json.dumps(payload)))
            )
        except Exception as error:
            log.exception("entity failed", extra={"entity": entity.id})
            return unchanged | {"results": [{"isError": True, "result": json.dumps(str(error))} for _ in batch]}
        for item, result in zip(batch, answer["results"], strict=True):
            if result["isError"]:
                log.warning("entity operation failed", extra={"entity": entity.id, "operation": item["op"]})
        return answer
