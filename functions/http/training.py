"""Training jobs and the algorithm library."""

from typing import Any, Literal
from uuid import UUID

import azure.durable_functions as df
from pydantic import Field

from functions.answers.training import JOB, AlgorithmCard
from functions.endpoint import Call, Reply, accepted, endpoint
from functions.requests import NEWEST_FIRST, PageQuery
from shared.platform.errors import Conflict, Unavailable
from shared.training.model import JobFilter, JobStatus, TrainingJob, TrainingRequest
from shared.users.model import Caller, Role

bp = df.Blueprint()


class JobQuery(PageQuery):
    """Filters and order of the list of jobs."""

    status: JobStatus | None = None
    feature_set_id: UUID | None = None
    algorithm: str | None = Field(None, max_length=100)
    name: str | None = Field(None, min_length=1, max_length=255, description="A part of the name, in any case.")
    created_by: UUID | None = None
    sort: Literal["created_at", "-created_at", "name", "-name", "algorithm", "-algorithm", "status", "-status"] = (
        NEWEST_FIRST
    )


@endpoint(
    bp, "GET", "training/algorithms", summary="Algorithms and their hyperparameters", response=list[AlgorithmCard]
)
async def list_algorithms(call: Call) -> Reply:
    """Each with the JSON schema of its hyperparameters."""
    return Reply(call.services.training.algorithms())


@endpoint(bp, "GET", "training/jobs", summary="List training jobs", query=JobQuery, response=[JOB])
async def list_training_jobs(call: Call) -> Reply:
    """One page, without curves and tracebacks."""
    query: JobQuery = call.query
    jobs, total = await call.services.training.list_page(JobFilter(**query.filters()), query.of(query.sort))
    return Reply([_shown(job, call.caller) for job in jobs], pagination=query.pagination(total))


async def _started(call: Call, job_id: UUID) -> Reply:
    return _accepted(await call.services.training.get(job_id), call.caller)


def _accepted(job: TrainingJob, caller: Caller) -> Reply:
    return accepted(_shown(job, caller), f"/api/v1/training/jobs/{job.id}")


@endpoint(
    bp,
    "POST",
    "training/jobs",
    summary="Train a model on a feature set",
    body=TrainingRequest,
    status=202,
    durable=True,
    response=JOB,
    errors=(Conflict,),
    idempotent=_started,
)
async def start_training_job(call: Call) -> Reply:
    """Queues the job and starts its orchestration."""
    job = await call.services.training.create(call.body, caller=call.caller, origin=call.origin)
    assert call.durable is not None
    try:
        await call.durable.start_new("train_model", job.orchestration_id, {"job_id": str(job.id)})
    except Exception as error:
        await call.services.training.stages.fail(job.id, "the orchestration could not be started")
        await call.undone()
        raise Unavailable("the orchestration could not be started", target="orchestration") from error
    return _accepted(job, call.caller)


@endpoint(bp, "GET", "training/jobs/{job_id:guid}", summary="One training job", response=JOB)
async def get_training_job(call: Call) -> Reply:
    """Status, progress, curves, figures, and the model once there is one."""
    return Reply(_shown(await call.services.training.get(call.path_id("job_id")), call.caller))


@endpoint(
    bp,
    "POST",
    "training/jobs/{job_id:guid}/cancel",
    summary="Cancel a training job",
    response=JOB,
    errors=(Conflict,),
)
async def cancel_training_job(call: Call) -> Reply:
    """Takes effect within the slice in progress."""
    job = await call.services.training.cancel(call.path_id("job_id"), caller=call.caller, origin=call.origin)
    return Reply(_shown(job, call.caller))


def _shown(job: TrainingJob, caller: Caller) -> dict[str, Any]:
    """Tracebacks are for those who can do something about them."""
    shown = JOB(job)
    return {**shown, "error_traceback": None} if caller.role is Role.ANALYST else shown
