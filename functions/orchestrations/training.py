"""The orchestration ``train_model``: prepare, slices until boosting ends, evaluate, load history, register."""

from collections.abc import Generator
from typing import Any, Final
from uuid import UUID

import azure.durable_functions as df

from functions.composition import get_services

bp = df.Blueprint()
# The worker knows no parametrised types: an activity's argument is annotated Any, and is always a JSON object.

# A dependency that is away for half a minute costs time, not the job.
_RETRY: Final = df.RetryOptions(first_retry_interval_in_milliseconds=10_000, max_number_of_attempts=8)
# Replaying a history costs time that grows with its length; a long run starts a new one now and then.
_SLICES_PER_HISTORY: Final = 50


@bp.orchestration_trigger(context_name="context")
def train_model(context: df.DurableOrchestrationContext) -> Generator[Any, Any, dict[str, Any]]:
    """Run a job to its end. Input: ``{"job_id"}``, and ``"prepared"`` once it goes on in a new history."""
    order: dict[str, Any] = context.get_input()
    job = {"job_id": order["job_id"]}

    def activity(name: str) -> Any:
        return context.call_activity_with_retry(name, _RETRY, job)

    try:
        if not order.get("prepared"):
            result = yield activity("prepare_training")
            if result["status"] != "RUNNING":
                return {**job, "status": result["status"]}
        slices = 0
        result = {"status": "RUNNING", "finished": False}
        while result["status"] == "RUNNING" and not result["finished"]:
            if slices == _SLICES_PER_HISTORY:
                context.continue_as_new({**job, "prepared": True})
                return {**job, "status": "RUNNING"}
            result = yield activity("train_slice")
            slices += 1
        if result["status"] == "RUNNING":
            result = yield activity("evaluate_model")
        first_row = 0
        while result["status"] == "RUNNING" and first_row is not None:
            result = yield context.call_activity_with_retry("load_history", _RETRY, {**job, "first_row": first_row})
            first_row = result.get("next_row")
        if result["status"] == "RUNNING":
            result = yield activity("register_model")
    except Exception as error:  # noqa: BLE001  # whatever an activity died of after all its attempts
        failure = {
            **job,
            "message": str(error).partition("\n")[0][:500],
        }  # what follows is a trace, which is in the log
        result = yield context.call_activity_with_retry("fail_training", _RETRY, failure)
    return {**job, "status": result["status"]}


@bp.activity_trigger(input_name="payload")
async def prepare_training(payload: Any) -> dict[str, Any]:
    """Fetch, split and check the data."""
    return dict(await (await get_services()).training.stages.prepare(UUID(payload["job_id"])))


@bp.activity_trigger(input_name="payload")
async def train_slice(payload: Any) -> dict[str, Any]:
    """Boost some rounds from the last checkpoint."""
    return dict(await (await get_services()).training.stages.train_slice(UUID(payload["job_id"])))


@bp.activity_trigger(input_name="payload")
async def evaluate_model(payload: Any) -> dict[str, Any]:
    """Choose the threshold, judge the model on later data, write its files."""
    return dict(await (await get_services()).training.stages.evaluate(UUID(payload["job_id"])))


@bp.activity_trigger(input_name="payload")
async def load_history(payload: Any) -> dict[str, Any]:
    """Store the past of the training data's entities, for scoring to look at."""
    stages = (await get_services()).training.stages
    return dict(await stages.load_history(UUID(payload["job_id"]), payload["first_row"]))


@bp.activity_trigger(input_name="payload")
async def register_model(payload: Any) -> dict[str, Any]:
    """Enter the model into the registry and complete the job."""
    return dict(await (await get_services()).training.stages.register(UUID(payload["job_id"])))


@bp.activity_trigger(input_name="payload")
async def fail_training(payload: Any) -> dict[str, Any]:
    """End a job whose activities kept failing."""
    stages = (await get_services()).training.stages
    return dict(await stages.fail(UUID(payload["job_id"]), payload["message"]))
