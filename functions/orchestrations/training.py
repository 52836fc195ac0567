"""The orchestration ``train_model``: wait for a place, prepare, slices until boosting ends, evaluate, load history,
register, give the place to the next.
"""

from collections.abc import Generator
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import azure.durable_functions as df

from functions.composition import get_services
from shared.platform.telemetry import get_logger
from shared.training.model import orchestration_id_of

ADMITTED: Final = "admitted"
WAKING_FAILED: Final = "training_waking_failed"

# A dependency that is away for half a minute costs time, not the job.
_RETRY: Final = df.RetryOptions(first_retry_interval_in_milliseconds=10_000, max_number_of_attempts=8)
# Replaying a history costs time that grows with its length; a long run starts a new one now and then.
_STEPS_PER_HISTORY: Final = 50
# A job that waits is told when its turn has come; it asks by itself in case the message was lost.
_FIRST_WAIT: Final = timedelta(seconds=15)
_LONGEST_WAIT: Final = timedelta(minutes=5)

_log = get_logger("training")

bp = df.Blueprint()
# The worker knows no parametrised types: an activity's argument is annotated Any, and is always a JSON object.

_Steps = Generator[Any, Any, dict[str, Any] | None]


@bp.orchestration_trigger(context_name="context")
def train_model(context: df.DurableOrchestrationContext) -> Generator[Any, Any, dict[str, Any]]:
    """Run a job to its end. Input: ``{"job_id"}``, and once it goes on in a new history what is behind it:
    ``"prepared"``, ``"searched"``.
    """
    order: dict[str, Any] = context.get_input()
    job = {"job_id": order["job_id"]}
    try:
        result = yield from _wait_for_place(context, job)
        if result is not None and result["status"] == "RUNNING":
            prepared, searched = order.get("prepared", False), order.get("searched", True)
            result = yield from _train(context, job, prepared=prepared, searched=searched)
        if result is None:
            return {**job, "status": "goes on in a new history"}
    except Exception as error:  # noqa: BLE001  # whatever an activity died of after all its attempts
        # The first line says what happened; what follows is a trace, which is in the log.
        failure = {**job, "message": str(error).partition("\n")[0][:500]}
        yield context.call_activity_with_retry("fail_training", _RETRY, failure)
    result = yield context.call_activity_with_retry("admit_training", _RETRY, job)
    return {**job, "status": result["status"]}


def _wait_for_place(context: df.DurableOrchestrationContext, job: dict[str, Any]) -> _Steps:
    """Until the job is no longer QUEUED; None when the waiting goes on in a new history."""
    pause = _FIRST_WAIT
    for _ in range(_STEPS_PER_HISTORY):
        result = yield context.call_activity_with_retry("admit_training", _RETRY, job)
        if result["status"] != "QUEUED":
            return {**result}
        told = context.wait_for_external_event(ADMITTED)
        timer = context.create_timer(context.current_utc_datetime + pause)
        first = yield context.task_any([told, timer])
        if first == told:
            timer.cancel()
        pause = min(2 * pause, _LONGEST_WAIT)
    context.continue_as_new(job)
    return None


def _search(context: df.DurableOrchestrationContext, job: dict[str, Any]) -> _Steps:
    """Trials side by side, slice by slice, until one has won; None when it goes on in a new history.

    How far each trial is stands in the job, so nothing needs to be handed from one history to the next.
    """
    for _ in range(_STEPS_PER_HISTORY):
        result = yield context.call_activity_with_retry("advance_search", _RETRY, job)
        if result["status"] != "RUNNING" or result["finished"]:
            return {**result}
        yield context.task_all(
            [
                context.call_activity_with_retry("run_trials", _RETRY, {**job, "trials": lane})
                for lane in result["lanes"]
            ]
        )
    context.continue_as_new({**job, "prepared": True, "searched": False})
    return None


def _train(context: df.DurableOrchestrationContext, job: dict[str, Any], *, prepared: bool, searched: bool) -> _Steps:
    """From the data to a registered model; None when it goes on in a new history."""
    result: dict[str, Any] = {"status": "RUNNING", "finished": False, "searched": searched}
    if not prepared:
        result = yield context.call_activity_with_retry("prepare_training", _RETRY, job)
    if result["status"] == "RUNNING" and not result["searched"]:
        found = yield from _search(context, job)
        if found is None or found["status"] != "RUNNING":
            return found
        result = {"status": "RUNNING", "finished": False}
    slices = 0
    while result["status"] == "RUNNING" and not result["finished"]:
        if slices == _STEPS_PER_HISTORY:
            context.continue_as_new({**job, "prepared": True})
            return None
        result = yield context.call_activity_with_retry("train_slice", _RETRY, job)
        slices += 1
    if result["status"] == "RUNNING":
        result = yield context.call_activity_with_retry("evaluate_model", _RETRY, job)
    first_row: int | None = 0
    while result["status"] == "RUNNING" and first_row is not None:
        result = yield context.call_activity_with_retry("load_history", _RETRY, {**job, "first_row": first_row})
        first_row = result.get("next_row")
    if result["status"] == "RUNNING":
        result = yield context.call_activity_with_retry("register_model", _RETRY, job)
    return result


async def admit_waiting(client: df.DurableOrchestrationClient, *, asking: str | None = None) -> None:
    """Give free places to the jobs that have waited longest, and wake their orchestrations.

    :param asking: the orchestration on whose behalf this is called; it need not be told.
    """
    for orchestration_id in await (await get_services()).training.admit():
        if orchestration_id == asking:
            continue
        try:
            await client.raise_event(orchestration_id, ADMITTED)
        except Exception:  # noqa: BLE001  # it has not begun yet, or will ask by itself; the others must be told
            _log.warning(WAKING_FAILED, orchestration_id=orchestration_id, exc_info=True)


@bp.activity_trigger(input_name="payload")
@bp.durable_client_input(client_name="client")
async def admit_training(payload: Any, client: df.DurableOrchestrationClient) -> dict[str, Any]:
    """Let those start whose turn it is, and say how this job stands."""
    training, job_id = (await get_services()).training, UUID(payload["job_id"])
    await admit_waiting(client, asking=orchestration_id_of(job_id))
    job = await training.get(job_id)
    return {"status": job.status.value, "finished": job.status.final}


@bp.activity_trigger(input_name="payload")
async def prepare_training(payload: Any) -> dict[str, Any]:
    """Fetch, split and check the data."""
    return dict(await (await get_services()).training.stages.prepare(UUID(payload["job_id"])))


@bp.activity_trigger(input_name="payload")
async def advance_search(payload: Any) -> dict[str, Any]:
    """Decide which hyperparameters are tried next, or which have won."""
    return dict(await (await get_services()).training.stages.advance_search(UUID(payload["job_id"])))


@bp.activity_trigger(input_name="payload")
async def run_trials(payload: Any) -> dict[str, Any]:
    """Work on some trials of a search."""
    stages = (await get_services()).training.stages
    return dict(await stages.run_trials(UUID(payload["job_id"]), payload["trials"]))


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
