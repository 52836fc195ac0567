"""The orchestration ``score_file``: cut the file into slices, score them side by side or in order, join the result."""

from collections.abc import Generator
from typing import Any, Final
from uuid import UUID

import azure.durable_functions as df

from functions.composition import get_services

bp = df.Blueprint()
# The worker knows no parametrised types: an activity's argument is annotated Any, and is always a JSON object.

# A dependency that is away for half a minute costs time, not the job.
_RETRY: Final = df.RetryOptions(first_retry_interval_in_milliseconds=10_000, max_number_of_attempts=8)
# Slices on their way at once; an instance takes maxConcurrentActivityFunctions of them (host.json).
_WAVE: Final = 8
# Replaying a history costs time that grows with its length; a long run starts a new one now and then.
_SLICES_PER_HISTORY: Final = 80


@bp.orchestration_trigger(context_name="context")
def score_file(context: df.DurableOrchestrationContext) -> Generator[Any, Any, dict[str, Any]]:
    """Run a job to its end. Input: ``{"job_id"}``, and once it goes on in a new history ``"first"``, the next slice."""
    order: dict[str, Any] = context.get_input()
    job = {"job_id": order["job_id"]}
    try:
        result = yield context.call_activity_with_retry("prepare_scoring", _RETRY, job)
        wave = 1 if result.get("in_order") else _WAVE
        number, first = order.get("first", 0), order.get("first", 0)
        while result["status"] == "RUNNING" and number < result["slices"]:
            if number - first >= _SLICES_PER_HISTORY:
                context.continue_as_new({**job, "first": number})
                return {**job, "status": "goes on in a new history"}
            last = min(number + wave, result["slices"])
            slices = [
                context.call_activity_with_retry("score_slice", _RETRY, {**job, "slice": each})
                for each in range(number, last)
            ]
            results = yield context.task_all(slices)
            result = next((other for other in results if other["status"] != "RUNNING"), results[-1])
            number = last
        result = yield context.call_activity_with_retry("finish_scoring", _RETRY, job)
    except Exception as error:  # noqa: BLE001  # whatever an activity died of after all its attempts
        # The first line says what happened; what follows is a trace, which is in the log.
        failure = {**job, "message": str(error).partition("\n")[0][:500]}
        result = yield context.call_activity_with_retry("fail_scoring", _RETRY, failure)
    return {**job, "status": result["status"]}


@bp.activity_trigger(input_name="payload")
async def prepare_scoring(payload: Any) -> dict[str, Any]:
    """Read and check the file, cut it into slices."""
    return dict(await (await get_services()).scoring_jobs.stages.prepare(UUID(payload["job_id"])))


@bp.activity_trigger(input_name="payload")
async def score_slice(payload: Any) -> dict[str, Any]:
    """Score a slice and store its predictions."""
    return dict(await (await get_services()).scoring_jobs.stages.score(UUID(payload["job_id"]), payload["slice"]))


@bp.activity_trigger(input_name="payload")
async def finish_scoring(payload: Any) -> dict[str, Any]:
    """Join the parts of the result; tidy up."""
    return dict(await (await get_services()).scoring_jobs.stages.finish(UUID(payload["job_id"])))


@bp.activity_trigger(input_name="payload")
async def fail_scoring(payload: Any) -> dict[str, Any]:
    """End a job whose activities kept failing."""
    return dict(await (await get_services()).scoring_jobs.stages.fail(UUID(payload["job_id"]), payload["message"]))
