"""One orchestrator's actions walked against its history, as the Durable extension's shim does.

The orchestrator, replayed, hands back every action it has asked for since its beginning. The walk awaits them in order
while the history's events arrive in order. Task ids count from 0: one for each activity, sub-orchestration, timer,
entity call and signal, given at the moment the walk reaches it; a retried failure takes one for its timer at once and
one for the new attempt when the timer fires, also after the last attempt (where no attempt follows). The Python SDK
numbers its tasks by the same rule, so the two must agree at every event.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from devhost.durable.events import HTTP_ACTIVITY, SCHEDULING, ActionType, Event, EventType, event, parse_utc, utc_text

Action = dict[str, Any]


class OrchestrationBroken(Exception):
    """The orchestrator cannot go on: it asked for a function that is missing, or did not repeat its own history."""


class Pending:
    """Something awaited: not done, succeeded or failed, with callbacks for the moment it ends."""

    __slots__ = ("_then", "done", "failed")

    def __init__(self) -> None:
        self.done = False
        self.failed = False
        self._then: list[Callable[[Pending], None]] = []

    def then(self, callback: Callable[[Pending], None]) -> None:
        """Call back once it has ended, at once if it has."""
        if self.done:
            callback(self)
        else:
            self._then.append(callback)

    def resolve(self, *, failed: bool = False) -> None:
        """End it; a second end is ignored."""
        if self.done:
            return
        self.done, self.failed = True, failed
        for callback in self._then:
            callback(self)


class Walk:
    """The state of one walk. After `run`, `complete` says whether every action was awaited.

    `scheduled` holds the events that the history lacks (what must now be started), `cancelled` the ids of timers that
    need not fire any more, `again` the input of a continue-as-new.
    """

    def __init__(self, actions: list[Action], execution: str, known_names: Callable[[str, str], bool]) -> None:
        self._actions = actions
        self._execution = execution
        self._is_known = known_names
        self._now = ""
        self._position = 0
        self._current: Pending | None = None
        self._next_id = 0
        self._open: dict[int, Pending] = {}
        self._planned: dict[int, Event] = {}
        self._recorded: set[int] = set()
        self._cancelled: set[int] = set()
        self._calls: dict[str, Pending] = {}
        self._waiting: dict[str, list[Pending]] = {}
        self._raised: dict[str, int] = {}
        self.again: str | None = None
        self._schedulers: dict[ActionType, Callable[[Action], Pending]] = {
            ActionType.ACTIVITY: self._activity,
            ActionType.ACTIVITY_WITH_RETRY: lambda action: self._retry(action, self._activity),
            ActionType.CHILD: self._child,
            ActionType.CHILD_WITH_RETRY: lambda action: self._retry(action, self._child),
            ActionType.CONTINUE_AS_NEW: self._continue_as_new,
            ActionType.TIMER: self._timer,
            ActionType.EXTERNAL_EVENT: self._external_event,
            ActionType.CALL_ENTITY: lambda action: self._entity(action, signal=False),
            ActionType.HTTP: self._http,
            ActionType.SIGNAL_ENTITY: lambda action: self._entity(action, signal=True),
            ActionType.ANY: lambda action: self._compound(action, need_all=False),
            ActionType.ALL: lambda action: self._compound(action, need_all=True),
        }

    @property
    def complete(self) -> bool:
        """Whether every action has been awaited."""
        return self._position == len(self._actions)

    @property
    def scheduled(self) -> list[Event]:
        """The scheduling events that are new, by id."""
        return [
            planned
            for task, planned in sorted(self._planned.items())
            if task not in self._recorded and task not in self._cancelled
        ]

    @property
    def cancelled(self) -> list[int]:
        """Timers in the history that were cancelled."""
        return sorted(self._cancelled & self._recorded)

    def run(self, history: Iterable[Event]) -> None:
        """Walk the actions against the history, whose last part may be events that no replay has seen.

        Raises:
            OrchestrationBroken: see the class.
        """
        for item in history:
            kind = item["EventType"]
            if kind == EventType.ORCHESTRATOR_STARTED:
                self._now = item["Timestamp"]
            elif kind == EventType.EXECUTION_STARTED:
                self._advance()
            elif kind in SCHEDULING:
                self._check(item)
            elif self._complete_one(kind, item):
                self._advance()

    def _advance(self) -> None:
        while self._position < len(self._actions):
            if self._current is None:
                self._current = self._schedule(self._actions[self._position])
            if not self._current.done:
                return
            self._current = None
            self._position += 1

    def _complete_one(self, kind: int, item: Event) -> bool:
        """Resolve what an event completes; False when the event completes nothing."""
        match kind:
            case EventType.TASK_COMPLETED | EventType.CHILD_COMPLETED:
                pending = self._open.pop(item["TaskScheduledId"], None)
            case EventType.TASK_FAILED | EventType.CHILD_FAILED:
                pending = self._open.pop(item["TaskScheduledId"], None)
            case EventType.TIMER_FIRED:
                pending = self._open.pop(item["TimerId"], None)
            case EventType.EVENT_RAISED:
                pending = self._calls.pop(item["Name"], None) or self._waiter(item["Name"])
            case _:
                return False
        if pending is None:
            return False
        pending.resolve(failed=kind in (EventType.TASK_FAILED, EventType.CHILD_FAILED))
        return True

    def _waiter(self, name: str) -> Pending | None:
        waiting = self._waiting.get(name)
        if waiting:
            return waiting.pop()  # the SDK, too, hands an event to the latest of several waiters
        self._raised[name] = self._raised.get(name, 0) + 1
        return None

    def _check(self, item: Event) -> None:
        planned = self._planned.get(item["EventId"])
        if planned is None or any(planned.get(key) != item.get(key) for key in ("EventType", "Name")):
            raise OrchestrationBroken(
                f"Non-Deterministic workflow detected: the history has {EventType(item['EventType']).name}"
                f" {item.get('Name') or ''} as task {item['EventId']}, the orchestrator asked for"
                + (f" {EventType(planned['EventType']).name} {planned.get('Name') or ''}" if planned else " nothing")
            )
        self._recorded.add(item["EventId"])
        if item["EventType"] == EventType.EVENT_SENT and item["EventId"] in self._open:
            self._calls[json.loads(item["Input"])["id"]] = self._open.pop(item["EventId"])

    def _schedule(self, action: Action) -> Pending:
        try:
            kind = ActionType(action["actionType"])
        except ValueError as error:
            raise OrchestrationBroken(f"unknown action type {action['actionType']}") from error
        pending = self._schedulers[kind](action)
        if kind is ActionType.TIMER and action.get("isCanceled"):
            pending.resolve()  # awaited by itself, a cancelled timer ends at once
        return pending

    def _plan(self, kind: EventType, **fields: Any) -> Pending:
        task, self._next_id = self._next_id, self._next_id + 1
        self._planned[task] = event(kind, self._now, task, **fields)
        pending = self._open[task] = Pending()
        return pending

    def _activity(self, action: Action) -> Pending:
        self._require("activity", action["functionName"])
        return self._plan(EventType.TASK_SCHEDULED, Name=action["functionName"], Input=action.get("input"))

    def _http(self, action: Action) -> Pending:
        return self._plan(EventType.TASK_SCHEDULED, Name=HTTP_ACTIVITY, Input=json.dumps(action["httpRequest"]))

    def _child(self, action: Action) -> Pending:
        self._require("orchestrator", action["functionName"])
        instance = action.get("instanceId") or f"{self._execution}:{self._next_id:04x}"
        return self._plan(
            EventType.CHILD_CREATED,
            Name=action["functionName"],
            InstanceId=instance,
            Input=json.dumps(action["input"]) if action.get("input") is not None else None,
            Version=action.get("version") or "",
        )

    def _timer(self, action: Action) -> Pending:
        task = self._next_id
        pending = self._plan(EventType.TIMER_CREATED, FireAt=action["fireAt"])
        if action.get("isCanceled"):
            self._cancelled.add(task)
        return pending

    def _retry(self, action: Action, attempt: Callable[[Action], Pending]) -> Pending:
        outcome = Pending()
        options = action["retryOptions"]
        interval = timedelta(milliseconds=options["firstRetryIntervalInMilliseconds"])
        attempts = 0

        def try_once() -> None:
            nonlocal attempts
            attempts += 1
            attempt(action).then(ended)

        def ended(task: Pending) -> None:
            if task.failed:
                self._timer({"fireAt": utc_text(parse_utc(self._now) + interval)}).then(waited)
            else:
                outcome.resolve()

        def waited(_: Pending) -> None:
            if attempts >= options["maxNumberOfAttempts"]:
                outcome.resolve(failed=True)
            else:
                try_once()

        try_once()
        return outcome

    def _external_event(self, action: Action) -> Pending:
        name = action["externalEventName"]
        pending = Pending()
        if self._raised.get(name):
            self._raised[name] -= 1
            pending.resolve()
        else:
            self._waiting.setdefault(name, []).append(pending)
        return pending

    def _entity(self, action: Action, *, signal: bool) -> Pending:
        self._require("entity", action["instanceId"].split("@")[1])
        message = {
            "id": f"{self._execution}:{self._next_id}",
            "op": action["operation"],
            "input": action.get("input"),
            "signal": signal,
        }
        task = self._next_id
        pending = self._plan(
            EventType.EVENT_SENT, InstanceId=action["instanceId"], Name="op", Input=json.dumps(message)
        )
        if signal:
            del self._open[task]
            pending.resolve()
        return pending

    def _compound(self, action: Action, *, need_all: bool) -> Pending:
        outcome = Pending()
        children = [self._schedulers[ActionType(child["actionType"])](child) for child in action["compoundActions"]]

        def ended(_: Pending) -> None:
            if not need_all or all(child.done for child in children):
                outcome.resolve(failed=any(child.failed for child in children))

        for child in children:
            child.then(ended)
        if not children:
            outcome.resolve()
        return outcome

    def _continue_as_new(self, action: Action) -> Pending:
        self.again = action.get("input") or "null"
        pending = Pending()
        pending.resolve()
        return pending

    def _require(self, kind: str, name: str) -> None:
        if not self._is_known(kind, name):
            raise OrchestrationBroken(
                f"The function '{name}' doesn't exist, is disabled, or is not an {kind} function."
            )
