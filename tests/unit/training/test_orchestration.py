"""The orchestration, driven step by step without a host."""

from typing import Any
from unittest.mock import Mock

import azure.durable_functions as df
import pytest

from functions.orchestrations.training import train_model

ORDER = {"job_id": "4f5c1c4e-0000-4000-8000-000000000001"}
RUNNING = {"status": "RUNNING", "finished": False}
BOOSTED = {"status": "RUNNING", "finished": True}
COMPLETED = {"status": "COMPLETED", "finished": True}


def _drive(results: list[Any], order: dict[str, Any] = ORDER) -> tuple[list[str], Any, Mock]:
    """Feed the results to the orchestrator; returns the activities it asked for, its output, and the context."""
    context = Mock(spec=df.DurableOrchestrationContext)
    context.get_input.return_value = order
    context.call_activity_with_retry.side_effect = lambda name, retry, payload: name
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
    """Prepare, as many slices as it takes, evaluate, history, register."""
    asked, output, _ = _drive([RUNNING, RUNNING, BOOSTED, BOOSTED, BOOSTED, COMPLETED])
    assert asked == [
        "prepare_training",
        "train_slice",
        "train_slice",
        "evaluate_model",
        "load_history",
        "register_model",
    ]
    assert output["status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("results", "last"),
    [
        ([{"status": "FAILED", "finished": True}], "prepare_training"),
        ([RUNNING, {"status": "CANCELLED", "finished": True}], "train_slice"),
        ([RUNNING, BOOSTED, {"status": "CANCELLED", "finished": True}], "evaluate_model"),
    ],
)
def test_a_job_that_ended_is_left_alone(results: list[Any], last: str) -> None:
    """After a failure or a cancellation nothing more is asked for."""
    asked, output, _ = _drive(results)
    assert asked[-1] == last
    assert output["status"] == results[-1]["status"]


def test_history_is_loaded_slice_by_slice() -> None:
    """Each slice begins where the one before ended, and the model is registered after the last."""
    more = [{**RUNNING, "next_row": 500_000}, {**RUNNING, "next_row": 1_000_000}]
    asked, output, context = _drive([RUNNING, BOOSTED, BOOSTED, *more, BOOSTED, COMPLETED])
    assert asked[2:] == ["evaluate_model", "load_history", "load_history", "load_history", "register_model"]
    orders = [
        call.args[2] for call in context.call_activity_with_retry.call_args_list if call.args[0] == "load_history"
    ]
    assert [order["first_row"] for order in orders] == [0, 500_000, 1_000_000]
    assert output["status"] == "COMPLETED"


def test_an_activity_that_keeps_failing_fails_the_job() -> None:
    """When all attempts are used up the job is told why, without the trace that hosts append."""
    error = RuntimeError('worker lost\n  File "/srv/app.py", line 1')
    asked, output, context = _drive([RUNNING, error, {"status": "FAILED", "finished": True}])
    assert asked == ["prepare_training", "train_slice", "fail_training"]
    assert context.call_activity_with_retry.call_args.args[2]["message"] == "worker lost"
    assert output["status"] == "FAILED"


def test_a_long_run_goes_on_in_a_new_history() -> None:
    """After fifty slices the orchestration starts over with what it knows, and does not prepare again."""
    asked, _, context = _drive([RUNNING] * 51)
    assert asked.count("train_slice") == 50
    context.continue_as_new.assert_called_once_with({**ORDER, "prepared": True})
    asked, output, _ = _drive([BOOSTED, BOOSTED, BOOSTED, COMPLETED], {**ORDER, "prepared": True})
    assert asked == ["train_slice", "evaluate_model", "load_history", "register_model"]
    assert output["status"] == "COMPLETED"
