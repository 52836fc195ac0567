"""Retraining: ask for it, look at it, decide on what waits."""

from uuid import UUID

import azure.durable_functions as df

from functions.endpoint import Call, Reply, accepted, endpoint
from functions.orchestrations.retraining import DECIDED
from functions.requests import PageQuery
from shared.platform.errors import Conflict, NotFound, Unavailable
from shared.platform.telemetry import get_logger
from shared.retraining.model import Decision, RetrainingJob, RetrainingRequest, RetrainingStatus

NOT_TOLD = "retraining_not_told"

_log = get_logger("retraining")

bp = df.Blueprint()


class RetrainingQuery(PageQuery):
    """Filters of the list; ``model_id`` is the model that is trained again."""

    status: RetrainingStatus | None = None
    model_id: UUID | None = None


async def _started(call: Call, job_id: UUID) -> Reply:
    return _accepted(await call.services.retraining.get(job_id))


def _accepted(job: RetrainingJob) -> Reply:
    return accepted(job, f"/api/v1/retraining/jobs/{job.id}")


@endpoint(
    bp,
    "POST",
    "retraining/trigger",
    summary="Train a model again on what labels have told",
    body=RetrainingRequest,
    status=202,
    durable=True,
    response=RetrainingJob,
    errors=(Conflict, NotFound),
    idempotent=_started,
)
async def trigger_retraining(call: Call) -> Reply:
    """Queues the job and starts its orchestration; one job a model at a time."""
    job = await call.services.retraining.trigger(call.body, caller=call.caller, origin=call.origin)
    assert call.durable is not None
    try:
        await call.durable.start_new("retrain_model", job.orchestration_id, {"retraining_id": str(job.id)})
    except Exception as error:
        await call.services.retraining.stages.fail(job.id, "the orchestration could not be started")
        await call.undone()
        raise Unavailable("the orchestration could not be started", target="orchestration") from error
    return _accepted(job)


@endpoint(
    bp,
    "GET",
    "retraining/jobs",
    summary="List retraining jobs, newest first",
    query=RetrainingQuery,
    response=list[RetrainingJob],
)
async def list_retraining_jobs(call: Call) -> Reply:
    """One page of jobs."""
    query: RetrainingQuery = call.query
    jobs, total = await call.services.retraining.list_page(
        status=query.status, model_id=query.model_id, limit=query.page_size, offset=query.offset
    )
    return Reply(jobs, pagination=query.pagination(total))


@endpoint(bp, "GET", "retraining/jobs/{job_id:guid}", summary="One retraining job", response=RetrainingJob)
async def get_retraining_job(call: Call) -> Reply:
    """How far it is, what the data were, and the verdict with its numbers."""
    return Reply(await call.services.retraining.get(call.path_id("job_id")))


@endpoint(
    bp,
    "POST",
    "retraining/jobs/{job_id:guid}/promote",
    summary="Put the challenger that waits into production",
    body=Decision,
    durable=True,
    response=RetrainingJob,
    errors=(Conflict,),
)
async def promote_retrained_model(call: Call) -> Reply:
    """Through the gate once more."""
    job_id = call.path_id("job_id")
    job = await call.services.retraining.approve(job_id, call.body.reason, caller=call.caller, origin=call.origin)
    return await _told(call, job)


@endpoint(
    bp,
    "POST",
    "retraining/jobs/{job_id:guid}/reject",
    summary="Leave the challenger that waits where it is",
    body=Decision,
    durable=True,
    response=RetrainingJob,
    errors=(Conflict,),
)
async def reject_retrained_model(call: Call) -> Reply:
    """The champion goes on serving."""
    job_id = call.path_id("job_id")
    job = await call.services.retraining.reject(job_id, call.body.reason, caller=call.caller, origin=call.origin)
    return await _told(call, job)


@endpoint(
    bp,
    "POST",
    "retraining/jobs/{job_id:guid}/cancel",
    summary="Cancel a retraining job",
    durable=True,
    response=RetrainingJob,
    errors=(Conflict,),
)
async def cancel_retraining_job(call: Call) -> Reply:
    """Training that runs for it ends with it."""
    job_id = call.path_id("job_id")
    return await _told(call, await call.services.retraining.cancel(job_id, caller=call.caller, origin=call.origin))


async def _told(call: Call, job: RetrainingJob) -> Reply:
    """The orchestration learns what the row says already; one that is not told ends at its deadline."""
    assert call.durable is not None
    try:
        await call.durable.raise_event(job.orchestration_id, DECIDED)
    except Exception:  # noqa: BLE001  # it may have ended, or be away for a moment
        _log.warning(NOT_TOLD, job_id=str(job.id), exc_info=True)
    return Reply(job)
