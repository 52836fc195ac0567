"""The orchestration, driven step by step without a host."""

from datetime import UTC, datetime
from typing import Any
from unittest.mock import Mock

import azure.durable_functions as df
import pytest

from functions.orchestrations.training import train_model

ORDER = {"job_id": "4f5c1c4e-0000-4000-8000-000000000001"}
RUNNING: dict[str, Any] = {"status": "RUNNING", "finished": False, "searched": True}
BOOSTED = {"status": "RUNNING", "finished": True}
TO_SEARCH = {**RUNNING, "searched": False}
COMPLETED = {"status": "COMPLETED", "finished": True}


ADMIT = "admit_training"
QUEUED = {"status": "QUEUED", "finished": False}
CANCELLED = {"status": "CANCELLED", "finished": True}


def _drive(results: list[Any], order: dict[str, Any] = ORDER) -> tuple[list[str], Any, Mock]:
    """Feed the results to the orchestrator; returns what it asked for, its output, and the context."""
    context = Mock(spec=df.DurableOrchestrationContext)
    context.get_input.return_value = order
    context.current_utc_datetime = datetime(2026, 1, 1, tzinfo=UTC)
    context.call_activity_with_retry.side_effect = lambda name, retry, payload: name
    context.wait_for_external_event.side_effect = lambda name: name
    context.task_any.side_effect = lambda tasks: "waits"
    context.task_all.side_effect = "+".join
    steps = train_model._function.get_user_function().orchestrator_function(context)
    asked: list[str] = []
    try:
        asked.append(next(steps))
        for result in results:
            step = steps.throw(result) if isinstance(result, Exception) else steps.send(result)
            asked.append(step)  # the generator ends by raising
    except StopIteration as end:
        return asked, end.value, context
    raise AssertionError(f"still waiting for {asked[-1]}")


def test_slices_follow_each_other_until_boosting_ends() -> None:
    """A place, prepare, as many slices as it takes, evaluate, history, register, and the place goes to the next."""
    asked, output, _ = _drive([RUNNING, RUNNING, RUNNING, BOOSTED, BOOSTED, BOOSTED, COMPLETED, COMPLETED])
    assert asked == [
        ADMIT,
        "prepare_training",
        "train_slice",
        "train_slice",
        "evaluate_model",
        "load_history",
        "register_model",
        ADMIT,
    ]
    assert output["status"] == "COMPLETED"


@pytest.mark.parametrize("woken_by", ["message", "timer"])
def test_a_job_without_a_place_waits(woken_by: str) -> None:
    """It asks again when it is told, or after a pause that grows; a pause that is over early is called off."""
    context = Mock(spec=df.DurableOrchestrationContext)
    context.get_input.return_value = ORDER
    context.current_utc_datetime = datetime(2026, 1, 1, tzinfo=UTC)
    context.call_activity_with_retry.side_effect = lambda name, retry, payload: name
    told, timers = object(), [Mock(), Mock()]
    context.wait_for_external_event.return_value = told
    context.create_timer.side_effect = timers
    steps = train_model._function.get_user_function().orchestrator_function(context)
    assert next(steps) == ADMIT
    for timer in timers:
        steps.send(QUEUED)
        assert context.task_any.call_args.args[0] == [told, timer]
        assert steps.send(told if woken_by == "message" else timer) == ADMIT
    pauses = [call.args[0] - context.current_utc_datetime for call in context.create_timer.call_args_list]
    assert pauses[1] == 2 * pauses[0]
    assert [timer.cancel.called for timer in timers] == [woken_by == "message"] * 2
    assert steps.send(RUNNING) == "prepare_training"


def test_a_long_wait_goes_on_in_a_new_history() -> None:
    """The history of a job that waits for days does not grow for days."""
    asked, _, context = _drive([QUEUED, "told"] * 50)
    assert asked.count(ADMIT) == 50
    context.continue_as_new.assert_called_once_with(ORDER)


@pytest.mark.parametrize(
    ("results", "last"),
    [
        ([CANCELLED], ADMIT),
        ([RUNNING, {"status": "FAILED", "finished": True}], "prepare_training"),
        ([RUNNING, RUNNING, CANCELLED], "train_slice"),
        ([RUNNING, RUNNING, BOOSTED, CANCELLED], "evaluate_model"),
    ],
)
def test_a_job_that_ended_is_left_alone(results: list[Any], last: str) -> None:
    """After a failure or a cancellation nothing more is asked for than who is next."""
    asked, output, _ = _drive([*results, results[-1]])
    assert asked[-2:] == [last, ADMIT]
    assert output["status"] == results[-1]["status"]


def test_history_is_loaded_slice_by_slice() -> None:
    """Each slice begins where the one before ended, and the model is registered after the last."""
    more = [{**RUNNING, "next_row": 500_000}, {**RUNNING, "next_row": 1_000_000}]
    asked, output, context = _drive([RUNNING, RUNNING, BOOSTED, BOOSTED, *more, BOOSTED, COMPLETED, COMPLETED])
    assert asked[3:7] == ["evaluate_model", "load_history", "load_history", "load_history"]
    orders = [
        call.args[2] for call in context.call_activity_with_retry.call_args_list if call.args[0] == "load_history"
    ]
    assert [order["first_row"] for order in orders] == [0, 500_000, 1_000_000]
    assert output["status"] == "COMPLETED"


def test_an_activity_that_keeps_failing_fails_the_job() -> None:
    """When all attempts are used up the job is told why, without the trace that hosts append."""
    error = RuntimeError('worker lost\n  File "/srv/app.py", line 1')
    failed = {"status": "FAILED", "finished": True}
    asked, output, context = _drive([RUNNING, RUNNING, error, failed, failed])
    assert asked == [ADMIT, "prepare_training", "train_slice", "fail_training", ADMIT]
    assert context.call_activity_with_retry.call_args_list[3].args[2]["message"] == "worker lost"
    assert output["status"] == "FAILED"


def test_a_long_run_goes_on_in_a_new_history() -> None:
    """After fifty slices the orchestration starts over with what it knows, and does not prepare again."""
    asked, _, context = _drive([RUNNING] * 52)
    assert asked.count("train_slice") == 50
    context.continue_as_new.assert_called_once_with({**ORDER, "prepared": True})
    asked, output, _ = _drive([RUNNING, BOOSTED, BOOSTED, BOOSTED, COMPLETED, COMPLETED], {**ORDER, "prepared": True})
    assert asked == [ADMIT, "train_slice", "evaluate_model", "load_history", "register_model", ADMIT]
    assert output["status"] == "COMPLETED"


def test_a_search_goes_before_the_first_slice() -> None:
    """Lanes side by side until a trial has won; then the job trains as any other."""
    wave = {**RUNNING, "lanes": [[0, 2], [1]]}
    lanes = [BOOSTED, BOOSTED]
    results = [RUNNING, TO_SEARCH, wave, lanes, wave, lanes, BOOSTED, BOOSTED, BOOSTED, BOOSTED, COMPLETED, COMPLETED]
    asked, output, context = _drive(results)
    search = ["advance_search", "run_trials+run_trials"] * 2
    assert asked[:8] == [ADMIT, "prepare_training", *search, "advance_search", "train_slice"]
    orders = [call.args[2] for call in context.call_activity_with_retry.call_args_list if call.args[0] == "run_trials"]
    assert [order["trials"] for order in orders] == [[0, 2], [1]] * 2
    assert output["status"] == "COMPLETED"


def test_a_search_that_is_cancelled_ends_the_job() -> None:
    """Nothing is boosted afterwards."""
    asked, output, _ = _drive([RUNNING, TO_SEARCH, {**RUNNING, "lanes": [[0]]}, [CANCELLED], CANCELLED, CANCELLED])
    assert asked[-3:] == ["run_trials", "advance_search", ADMIT]
    assert output["status"] == "CANCELLED"


def test_a_long_search_goes_on_in_a_new_history() -> None:
    """After fifty waves; the new history begins with the search."""
    _, _, context = _drive([RUNNING, TO_SEARCH, *[{**RUNNING, "lanes": [[0]]}, [BOOSTED]] * 50])
    order = {**ORDER, "prepared": True, "searched": False}
    context.continue_as_new.assert_called_once_with(order)
    asked, _, _ = _drive([RUNNING, BOOSTED, BOOSTED, BOOSTED, BOOSTED, COMPLETED, COMPLETED], order)
    assert asked[:3] == [ADMIT, "advance_search", "train_slice"]
