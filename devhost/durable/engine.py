"""The durable engine: decides what runs next, and writes down what happened before anything depends on it.

Every change is one journal record, appended and then applied to the state in memory. Activities and entities start
only after everything recorded so far is on disk, and a caller is answered only then; an orchestrator's turn has no
effect of its own, so it need not wait. After a crash the state is read back and whatever was scheduled and has not
ended is started again: activities at least once, timers at their time, orchestrators where they stood.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Coroutine, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from devhost.app_loader import LoadedApp
from devhost.durable.events import HTTP_ACTIVITY, Event, EventType, event, parse_utc, utc_text
from devhost.durable.journal import Journal, Record, read_records
from devhost.durable.rewind import rewound
from devhost.durable.state import Entity, Instance, State
from devhost.durable.walk import OrchestrationBroken, Walk
from devhost.durable.work import DurableFunctions, TaskFailed
from devhost.invocation import Invoker

log = logging.getLogger("devhost.durable")
FILE_NAME = "durable.jsonl"
_LONGEST_SLEEP_SECONDS = 3600.0


class AlreadyExists(Exception):
    """An instance with this id has not ended."""


class Engine:
    """The instances and entities of one task hub."""

    def __init__(self, app: LoadedApp, invoker: Invoker, state_dir: Path) -> None:
        self.functions = DurableFunctions(app, invoker)
        self.state = State()
        self._settings = app.settings
        self._path = state_dir / FILE_NAME
        self._journal: Journal | None = None
        self._turn_slots = asyncio.Semaphore(app.settings.max_orchestrators)
        self._activity_slots = asyncio.Semaphore(app.settings.max_activities)
        self._busy: set[str] = set()
        self._tasks: dict[tuple[str, str, int], asyncio.Task[None]] = {}
        self._drivers: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._last_moment = datetime.min.replace(tzinfo=UTC)

    async def start(self) -> None:
        """Read the journal, compact it, and take up all unfinished work.

        Raises:
            JournalError: the journal is damaged or another host uses it.
        """
        journal = Journal(self._path)
        records, valid = read_records(self._path)
        if self._path.exists() and valid < self._path.stat().st_size:
            os.truncate(self._path, valid)
            log.warning("journal ended in the middle of a record, which was dropped", extra={"path": str(self._path)})
        for record in records:
            self.state.apply(record)
        journal.rewrite(self.state.snapshot())
        self._journal = journal
        unfinished = sum(instance.is_running for instance in self.state.instances.values())
        if records:
            log.info("journal read", extra={"instances": len(self.state.instances), "unfinished": unfinished})
        self._pump()

    async def stop(self, seconds: float) -> None:
        """Start nothing new, give running work some seconds, leave the rest to the next start, close the journal."""
        self._stopping = True
        running = [task for task in (*self._tasks.values(), *self._drivers) if not task.done()]
        waiting_timers = [task for key, task in self._tasks.items() if self._is_timer(key)]
        for task in waiting_timers:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=seconds)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if self._journal is not None:
            await self._journal.close()

    def write(self, record: Record) -> None:
        """Append a record, apply it, and start what it made ready."""
        assert self._journal is not None, "the engine has not been started"
        self._journal.append(record)
        self.state.apply(record)
        self._pump()

    async def sync(self) -> None:
        """Wait until everything written so far is on disk."""
        assert self._journal is not None, "the engine has not been started"
        await self._journal.sync()

    def now(self) -> str:
        """The time in UTC, later than every time given before."""
        moment = max(datetime.now(UTC), self._last_moment + timedelta(microseconds=1))
        self._last_moment = moment
        return utc_text(moment)

    def create(self, name: str, instance_id: str | None, text: str | None, version: str = "") -> str:
        """Start an instance with its input as JSON text; return its id.

        Raises:
            KeyError: the app has no such orchestrator.
            AlreadyExists: the id belongs to an instance that has not ended.
        """
        if not self.functions.has("orchestrator", name):
            raise KeyError(name)
        instance_id = instance_id or uuid4().hex
        existing = self.state.instances.get(instance_id)
        if existing is not None and existing.is_running and not self._settings.override_any_state:
            raise AlreadyExists(f"An Orchestration instance with the status {existing.status} already exists.")
        self.write(
            {
                "kind": "create", "id": instance_id, "name": self.functions.name_of(name), "execution": uuid4().hex,
                "input": text, "version": version, "parent": None, "at": self.now(),
            }
        )  # fmt: skip
        return instance_id

    def raise_event(self, instance_id: str, name: str, text: str) -> None:
        """Give a running instance an external event with its value as JSON text."""
        raised = event(EventType.EVENT_RAISED, self.now(), Name=name, Input=text)
        self.write({"kind": "message", "id": instance_id, "execution": None, "event": raised})

    def control(self, kind: str, instance_id: str, reason: str) -> None:
        """Terminate, suspend or resume an instance."""
        self.write({"kind": kind, "id": instance_id, "reason": reason, "at": self.now()})

    def rewind(self, instance_id: str, reason: str) -> bool:
        """Run a failed instance on from before its failure; False where it has not failed or cannot be rewound."""
        instance = self.state.instances[instance_id]
        if instance.status != "Failed" or rewound(instance.history) is None:
            return False
        self.control("rewind", instance_id, reason)
        return True

    def purge(self, instance_ids: Iterable[str]) -> int:
        """Forget ended instances; return how many."""
        ended = [
            key for key in instance_ids if key in self.state.instances and not self.state.instances[key].is_running
        ]
        for key in ended:
            self.write({"kind": "purge", "id": key})
        return len(ended)

    def signal(self, entity_id: str, operation: str, text: str | None) -> None:
        """Send an entity an operation without waiting for it; the input is JSON text."""
        self.write({"kind": "signal", "id": entity_id, "op": operation, "input": text, "message": uuid4().hex})

    def _pump(self) -> None:
        """Start what the last records made ready. Nothing is started twice."""
        touched, self.state.touched = self.state.touched, set()
        if self._stopping:
            return
        for key in touched:
            if key.startswith("@"):
                entity = self.state.entities[key]
                if entity.inbox and key not in self._busy:
                    self._drive(key, self._run_entity(entity))
                continue
            instance = self.state.instances.get(key)
            if instance is None:
                continue
            if instance.is_ready and key not in self._busy:
                self._drive(key, self._run_turns(key))
            for task, item in (instance.activities | instance.timers).items():
                work = (instance.id, instance.execution, task)
                if work not in self._tasks:
                    run = self._run_timer if item["EventType"] == EventType.TIMER_CREATED else self._run_activity
                    self._tasks[work] = asyncio.create_task(run(work, item))
                    self._tasks[work].add_done_callback(lambda _, work=work: self._tasks.pop(work, None))  # type: ignore[misc]

    def _drive(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        self._busy.add(key)
        task = asyncio.create_task(work)
        self._drivers.add(task)

        def ended(done: asyncio.Task[None]) -> None:
            self._drivers.discard(done)
            self._busy.discard(key)
            if not done.cancelled() and (error := done.exception()) is not None:
                log.error("durable work broke", extra={"instance": key}, exc_info=error)
                return
            self.state.touched.add(key)
            self._pump()

        task.add_done_callback(ended)

    def _is_timer(self, work: tuple[str, str, int]) -> bool:
        instance = self.state.live(work[0], work[1])
        return instance is None or work[2] in instance.timers

    async def _run_turns(self, key: str) -> None:
        while (instance := self.state.instances.get(key)) is not None and instance.is_ready and not self._stopping:
            async with self._turn_slots:
                await self._run_turn(instance)

    async def _run_turn(self, instance: Instance) -> None:
        """Replay the orchestrator with its new events and record what it decided."""
        taken, execution, at = len(instance.inbox), instance.execution, self.now()
        history = [*instance.history, event(EventType.ORCHESTRATOR_STARTED, at), *instance.inbox[:taken]]
        record: Record = {
            "kind": "turn", "id": instance.id, "taken": taken, "at": at, "new": [], "cancelled": [],
            "custom": instance.custom, "end": None, "again": None,
        }  # fmt: skip
        try:
            answer = await self.functions.run_orchestrator(instance, history)
            actions = [action for group in answer["actions"] for action in group]
            walk = Walk(actions, execution, self.functions.has)
            walk.run(history)
            custom = answer.get("customStatus")
            record["custom"] = json.dumps(custom) if custom is not None else None
            record["new"], record["cancelled"] = walk.scheduled, walk.cancelled
            if walk.complete and answer.get("error"):
                record["end"] = _failure(instance, answer["error"])
            elif walk.complete and walk.again is not None:
                record["again"] = {"execution": uuid4().hex, "input": json.dumps(walk.again)}
            elif walk.complete and answer["isDone"]:
                record["end"] = {"status": "Completed", "output": json.dumps(answer.get("output")), "reason": None}
        except (TaskFailed, OrchestrationBroken) as error:
            log.warning("orchestration broken", extra={"instance": instance.id, "error": str(error)})
            record["end"] = _failure(instance, str(error))
        if self.state.live(instance.id, execution) is instance:  # not terminated or replaced meanwhile
            self.write(record)
            if record["end"]:
                fields = {"instance": instance.id, "orchestrator": instance.name, "status": instance.status}
                log.info("orchestration ended", extra=fields)

    async def _run_activity(self, work: tuple[str, str, int], item: Event) -> None:
        instance_id, execution, task = work
        async with self._activity_slots:
            instance = self.state.live(instance_id, execution)
            if self._stopping or instance is None or task not in instance.activities:
                return
            await self.sync()
            try:
                if item["Name"] == HTTP_ACTIVITY:
                    result = await self.functions.run_http(item["Input"])
                else:
                    result = await self.functions.run_activity(item["Name"], item["Input"])
                ended = event(EventType.TASK_COMPLETED, self.now(), TaskScheduledId=task, Result=result)
            except TaskFailed as error:
                ended = event(
                    EventType.TASK_FAILED, self.now(), TaskScheduledId=task, Reason=error.reason, Details=error.details
                )
        self.write({"kind": "message", "id": instance_id, "execution": execution, "event": ended})

    async def _run_timer(self, work: tuple[str, str, int], item: Event) -> None:
        instance_id, execution, task = work
        fire_at = parse_utc(item["FireAt"])
        while (left := (fire_at - datetime.now(UTC)).total_seconds()) > 0:
            await asyncio.sleep(min(left, _LONGEST_SLEEP_SECONDS))
            instance = self.state.live(instance_id, execution)
            if instance is None or task not in instance.timers:
                return
        fired = event(EventType.TIMER_FIRED, self.now(), TimerId=task, FireAt=item["FireAt"])
        self.write({"kind": "message", "id": instance_id, "execution": execution, "event": fired})

    async def _run_entity(self, entity: Entity) -> None:
        while entity.inbox and not self._stopping:
            async with self._turn_slots:
                batch = list(entity.inbox)
                await self.sync()
                answer = await self.functions.run_entity(entity, batch)
                at = self.now()
                replies = [
                    _reply(item, result, at)
                    for item, result in zip(batch, answer["results"], strict=True)
                    if not item["signal"]
                ]
                self.write(
                    {
                        "kind": "entity", "id": entity.id, "taken": len(batch), "exists": answer["entityExists"],
                        "state": answer["entityState"] if answer["entityExists"] else None, "replies": replies,
                        "at": at,
                    }
                )  # fmt: skip


def _failure(instance: Instance, error: str) -> dict[str, Any]:
    reason = f"Orchestrator function '{instance.name}' failed: {error}"
    return {"status": "Failed", "output": json.dumps(reason), "reason": reason}


def _reply(item: dict[str, Any], result: dict[str, Any], at: str) -> Record:
    """The message that tells an orchestration how its entity call ended."""
    answer = {"result": result["result"] if result["result"] is not None else "null"}
    if result["isError"]:
        answer["exceptionType"] = "EntityOperationFailed"
    raised = event(EventType.EVENT_RAISED, at, Name=item["id"], Input=json.dumps(answer))
    return {"kind": "message", "id": item["sender"], "execution": item["execution"], "event": raised}
