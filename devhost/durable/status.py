"""Instance status as the management API shows it, and the filters of its list."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from devhost.durable.events import Event, EventType, parse_utc
from devhost.durable.state import Instance, State

_HISTORY_NAMES = {
    EventType.EXECUTION_STARTED: "ExecutionStarted",
    EventType.EXECUTION_COMPLETED: "ExecutionCompleted",
    EventType.EXECUTION_TERMINATED: "ExecutionTerminated",
    EventType.TASK_COMPLETED: "TaskCompleted",
    EventType.TASK_FAILED: "TaskFailed",
    EventType.CHILD_COMPLETED: "SubOrchestrationInstanceCompleted",
    EventType.CHILD_FAILED: "SubOrchestrationInstanceFailed",
    EventType.TIMER_FIRED: "TimerFired",
    EventType.EVENT_SENT: "EventSent",
    EventType.EVENT_RAISED: "EventRaised",
    EventType.GENERIC: "GenericEvent",
    EventType.SUSPENDED: "ExecutionSuspended",
    EventType.RESUMED: "ExecutionResumed",
}


def is_true(query: Mapping[str, str], name: str, default: str) -> bool:
    """A Boolean of the query string."""
    return query.get(name, default).lower() == "true"


def describe(instance: Instance, query: Mapping[str, str]) -> dict[str, Any]:
    """The status answer. The query may hold showInput, showHistory and showHistoryOutput."""
    return {
        "name": instance.name,
        "instanceId": instance.id,
        "runtimeStatus": instance.status,
        "input": _value(instance.input) if is_true(query, "showInput", "true") else None,
        "customStatus": _value(instance.custom),
        "output": _value(instance.output),
        "createdTime": _seconds(instance.created),
        "lastUpdatedTime": _seconds(instance.updated),
        "historyEvents": _history(instance.history, is_true(query, "showHistoryOutput", "false"))
        if is_true(query, "showHistory", "false")
        else None,
    }


def select(state: State, query: Mapping[str, str]) -> list[Instance]:
    """Instances by createdTimeFrom, createdTimeTo, runtimeStatus (comma separated) and instanceIdPrefix, oldest first.

    Raises:
        ValueError: a time is not ISO 8601.
    """
    start = _moment(query.get("createdTimeFrom"))
    end = _moment(query.get("createdTimeTo"))
    statuses = {text.strip().lower() for text in query.get("runtimeStatus", "").split(",") if text.strip()}
    prefix = query.get("instanceIdPrefix", "")
    found = [
        instance
        for instance in state.instances.values()
        if (start is None or parse_utc(instance.created) >= start)
        and (end is None or parse_utc(instance.created) <= end)
        and (not statuses or instance.status.lower() in statuses)
        and instance.id.startswith(prefix)
    ]
    return sorted(found, key=lambda instance: (instance.created, instance.id))


def _moment(text: str | None) -> datetime | None:
    return parse_utc(text) if text else None


def _value(text: str | None) -> Any:
    return json.loads(text) if text is not None else None


def _seconds(moment: str) -> str:
    return moment[:19] + "Z"


def _history(history: list[Event], with_output: bool) -> list[dict[str, Any]]:
    """The events a reader cares for: a task's scheduling is told by its end, as the extension does."""
    scheduled = {item["EventId"]: item for item in history if item["EventId"] >= 0}
    shown = []
    for item in history:
        name = _HISTORY_NAMES.get(EventType(item["EventType"]))
        if name is None:
            continue
        line = {"EventType": name, "Timestamp": item["Timestamp"]}
        origin = scheduled.get(item.get("TaskScheduledId", -1))
        if origin is not None:
            line |= {"FunctionName": origin["Name"], "ScheduledTime": origin["Timestamp"]}
        line |= {
            key: item[key] for key in ("Name", "Reason", "Details", "FireAt", "OrchestrationStatus") if item.get(key)
        }
        if with_output:
            line |= {key: _value(item[key]) for key in ("Result", "Input") if item.get(key) is not None}
        shown.append(line)
    return shown
