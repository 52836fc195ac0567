"""Timer functions: run at their times, one run at a time, the last run kept on disk so that a missed one is made up."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import azure.functions as func
from azure.functions.meta import Datum

from devhost.app_loader import IndexedFunction, LoadedApp
from devhost.durable.events import parse_utc, utc_text
from devhost.invocation import Invoker
from devhost.keys import write_private
from devhost.schedule import Schedule

log = logging.getLogger("devhost.timers")
FILE_NAME = "timers.json"
_NEVER = "0001-01-01T00:00:00"
_LONGEST_SLEEP_SECONDS = 3600.0


class Timers:
    """The app's timers. The status file holds the schedule, Last, Next and LastUpdated of each monitored timer."""

    def __init__(self, app: LoadedApp, invoker: Invoker, state_dir: Path) -> None:
        """Parse the schedules.

        Raises:
            InvalidSchedule: a schedule is malformed.
        """
        self._invoker = invoker
        self._path = state_dir / FILE_NAME
        self._functions = app.of_kind("timerTrigger")
        self._schedules = {function.name: Schedule(function.trigger["schedule"]) for function in self._functions}
        self._status: dict[str, dict[str, str]] = {}
        self._locks = {function.name: asyncio.Lock() for function in self._functions}
        self._tasks: list[asyncio.Task[None]] = []
        self._converter: Any = func.get_binding_registry().get("timerTrigger")  # type: ignore[no-untyped-call]

    def start(self) -> None:
        """Read the status file and begin waiting."""
        if self._path.exists():
            self._status = json.loads(self._path.read_text("utf-8"))
        self._tasks = [asyncio.create_task(self._keep(function)) for function in self._functions]

    async def stop(self) -> None:
        """End all timers; a run in progress is cancelled at its next await."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def run(self, function: IndexedFunction, *, past_due: bool = False) -> None:
        """Run a timer function now, after a run in progress. Its exception is logged, as the host does."""
        async with self._locks[function.name]:
            schedule = self._schedules[function.name]
            status = self._status.get(function.name)
            request = self._converter.decode(
                Datum(json.dumps(_timer_info(schedule, status, past_due)), "json"), trigger_metadata=None
            )
            started = datetime.now(UTC)
            try:
                await self._invoker.invoke(function, request)
            except Exception:
                log.exception("timer failed", extra={"function": function.name})
            else:
                seconds = (datetime.now(UTC) - started).total_seconds()
                log.info("timer ran", extra={"function": function.name, "past_due": past_due, "seconds": seconds})
            self._note(function, last=started)

    async def _keep(self, function: IndexedFunction) -> None:
        schedule = self._schedules[function.name]
        past_due = self._is_past_due(function)
        if not past_due:
            self._note(function, last=None)
        if past_due or function.trigger.get("runOnStartup"):
            await self.run(function, past_due=past_due)
        while True:
            occurrence = schedule.next_after(datetime.now(UTC))  # after each run: missed ones are not run in a row
            await sleep_until(occurrence)
            await self.run(function)

    def _is_monitored(self, function: IndexedFunction) -> bool:
        return function.trigger.get("useMonitor", True) is not False and not self._schedules[function.name].is_frequent

    def _is_past_due(self, function: IndexedFunction) -> bool:
        """Whether an occurrence passed while the host was down. A changed schedule starts anew."""
        status = self._status.get(function.name)
        if status is None or not self._is_monitored(function):
            return False
        return status["schedule"] == function.trigger["schedule"] and parse_utc(status["Next"]) < datetime.now(UTC)

    def _note(self, function: IndexedFunction, last: datetime | None) -> None:
        if not self._is_monitored(function):
            return
        now = datetime.now(UTC)
        schedule = self._schedules[function.name]
        before = self._status.get(function.name)
        if last is None and before is not None and before["schedule"] == schedule.expression:
            return  # nothing has changed since the last stop
        self._status[function.name] = {
            "schedule": schedule.expression,
            "Last": utc_text(last) if last is not None else _NEVER,
            "Next": utc_text(schedule.next_after(now)),
            "LastUpdated": utc_text(now),
        }
        write_private(self._path, json.dumps(self._status, indent=1).encode())


async def sleep_until(moment: datetime) -> None:
    """Sleep by the wall clock, which may be set or stand still while the machine is suspended."""
    left = (moment - datetime.now(UTC)).total_seconds()
    while left > 0:
        await asyncio.sleep(min(left, _LONGEST_SLEEP_SECONDS))
        left = (moment - datetime.now(UTC)).total_seconds()


def _timer_info(schedule: Schedule, status: dict[str, str] | None, past_due: bool) -> dict[str, Any]:
    """The timer's input as the host sends it; a timer without monitor has an empty status."""
    known = None
    if status is not None:
        known = {key: status[key] for key in ("Last", "Next", "LastUpdated")}
    return {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": known, "IsPastDue": past_due}
