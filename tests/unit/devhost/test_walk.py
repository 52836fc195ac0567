"""The walk of an orchestrator's actions against its history."""

from __future__ import annotations

from typing import Any

import pytest

from devhost.durable.events import EventType, event
from devhost.durable.walk import OrchestrationBroken, Walk

AT = "2026-01-01T00:00:00.000000Z"
STARTED = [
    event(EventType.ORCHESTRATOR_STARTED, AT),
    event(EventType.EXECUTION_STARTED, AT, Name="x", Input=None, Version=""),
]


def activity(name: str, **more: Any) -> dict[str, Any]:
    """An activity's action."""
    return {"actionType": 0, "functionName": name, "input": "1", **more}


def retried(name: str, attempts: int) -> dict[str, Any]:
    """A call with retry, wrapped as the SDK sends it."""
    options = {"firstRetryIntervalInMilliseconds": 1000, "maxNumberOfAttempts": attempts}
    return {"actionType": 12, "compoundActions": [activity(name, actionType=1, retryOptions=options)]}


def walk(actions: list[dict[str, Any]], history: list[dict[str, Any]], known: bool = True) -> Walk:
    """Walk actions over a history."""
    result = Walk(actions, "run", lambda kind, name: known)
    result.run([*STARTED, *history])
    return result


def ids(result: Walk) -> list[tuple[str, int]]:
    """Type and id of what is newly scheduled."""
    return [(EventType(item["EventType"]).name, item["EventId"]) for item in result.scheduled]


def scheduled(task: int, name: str) -> dict[str, Any]:
    """History: an activity was scheduled."""
    return event(EventType.TASK_SCHEDULED, AT, task, Name=name)


def failed(task: int) -> dict[str, Any]:
    """History: an activity failed."""
    return event(EventType.TASK_FAILED, AT, TaskScheduledId=task, Reason="r", Details="d")


def completed(task: int) -> dict[str, Any]:
    """History: an activity completed."""
    return event(EventType.TASK_COMPLETED, AT, TaskScheduledId=task, Result="1")


def test_only_the_reached_actions_are_scheduled() -> None:
    """What comes after an action that is still awaited is not started."""
    result = walk([activity("a"), activity("b")], [])
    assert ids(result) == [("TASK_SCHEDULED", 0)]
    assert not result.complete
    result = walk([activity("a"), activity("b")], [scheduled(0, "a"), completed(0)])
    assert ids(result) == [("TASK_SCHEDULED", 1)]


def test_failure_takes_a_timer_id_then_a_task_id() -> None:
    """Each failed attempt takes an id for its timer at once, and one for the next attempt when the timer fires."""
    history = [scheduled(0, "a"), failed(0)]
    result = walk([retried("a", 2)], history)
    assert ids(result) == [("TIMER_CREATED", 1)]
    assert result.scheduled[0]["FireAt"] == "2026-01-01T00:00:01.000000Z"
    fired = [event(EventType.TIMER_CREATED, AT, 1, FireAt=AT), event(EventType.TIMER_FIRED, AT, TimerId=1)]
    assert ids(walk([retried("a", 2)], [*history, *fired])) == [("TASK_SCHEDULED", 2)]


def test_last_failure_still_takes_a_timer() -> None:
    """After the last attempt a timer is awaited once more; only then has the call failed and the next action its id."""
    history = [scheduled(0, "a"), failed(0)]
    waiting = walk([retried("a", 1), activity("b")], history)
    assert ids(waiting) == [("TIMER_CREATED", 1)]
    fired = [event(EventType.TIMER_CREATED, AT, 1, FireAt=AT), event(EventType.TIMER_FIRED, AT, TimerId=1)]
    assert ids(walk([retried("a", 1), activity("b")], [*history, *fired])) == [("TASK_SCHEDULED", 2)]


def test_all_waits_for_every_child_even_after_a_failure() -> None:
    """A failed child does not end an all-of: the others are awaited before anything else."""
    actions = [{"actionType": 12, "compoundActions": [activity("a"), activity("b")]}]
    history = [scheduled(0, "a"), scheduled(1, "b"), failed(0)]
    assert not walk(actions, history).complete
    assert walk(actions, [*history, completed(1)]).complete


def test_any_ends_with_its_first_child() -> None:
    """An any-of is over with the first end; a cancelled timer in the history is reported."""
    timer = {"actionType": 5, "fireAt": AT, "isCanceled": True}
    actions = [{"actionType": 11, "compoundActions": [activity("a"), timer]}]
    history = [scheduled(0, "a"), event(EventType.TIMER_CREATED, AT, 1, FireAt=AT), completed(0)]
    result = walk(actions, history)
    assert result.complete
    assert result.cancelled == [1]
    assert result.scheduled == []


def test_events_are_matched_by_name_in_any_order() -> None:
    """Events raised before they are awaited count, and take no task id."""
    waits = [{"actionType": 6, "externalEventName": name} for name in ("First", "Second")]
    early = [event(EventType.EVENT_RAISED, AT, Name=name, Input="1") for name in ("Second", "First")]
    result = walk([*waits, activity("a")], early)
    assert ids(result) == [("TASK_SCHEDULED", 0)]
    assert not walk(waits, early[:1]).complete


def test_signal_takes_an_id_and_is_not_awaited() -> None:
    """A signal is sent once and the walk goes on."""
    signal = {"actionType": 9, "instanceId": "@counter@k", "operation": "add", "input": "1"}
    result = walk([signal, activity("a")], [])
    assert ids(result) == [("EVENT_SENT", 0), ("TASK_SCHEDULED", 1)]


@pytest.mark.parametrize("history", [[scheduled(0, "other")], [scheduled(1, "a")]])
def test_changed_orchestrator_is_noticed(history: list[dict[str, Any]]) -> None:
    """An orchestrator that does not repeat its history is broken, not led astray."""
    with pytest.raises(OrchestrationBroken, match="Non-Deterministic"):
        walk([activity("a")], history)


def test_missing_function_breaks_the_orchestration() -> None:
    """An action for a function that the app lacks is an error."""
    with pytest.raises(OrchestrationBroken, match="doesn't exist"):
        walk([activity("a")], [], known=False)
