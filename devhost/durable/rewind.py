"""Taking back the failures that ended an orchestration, so that it can run on from where it stood."""

from __future__ import annotations

from devhost.durable.events import SCHEDULING, Event, EventType

_FAILURES = frozenset({EventType.TASK_FAILED, EventType.CHILD_FAILED})


def rewound(history: list[Event]) -> list[Event] | None:
    """Return the history without the failures that ended it, or None where that cannot be done.

    Taken back is every failure after which nothing new was scheduled; its scheduling event stays, so the task runs
    again under its own id. Failures that the orchestrator had dealt with stay. As in Azure, an orchestration whose
    failure went through a durable timer (a with-retry call that used up its attempts) cannot be rewound.
    """
    last_scheduled = max((index for index, item in enumerate(history) if item["EventType"] in SCHEDULING), default=-1)
    kept = [
        item
        for index, item in enumerate(history)
        if item["EventType"] != EventType.EXECUTION_COMPLETED
        and not (index > last_scheduled and item["EventType"] in _FAILURES)
    ]
    if not any(item["EventType"] in _FAILURES for item in history[last_scheduled + 1 :]):
        return None
    return kept
