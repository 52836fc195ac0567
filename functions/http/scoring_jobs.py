"""Whole files to score."""

from typing import Any
from uuid import UUID

import azure.durable_functions as df

from functions.answers.batch_scoring import SCORING_JOB, ScoringResult
from functions.endpoint import Call, Reply, accepted, endpoint
from functions.requests import PageQuery
from shared.platform.errors import Conflict, NotFound, TooLarge, Unavailable
from shared.scoring.jobs.model import JobStatus, ScoringJob, ScoringJobRequest

bp = df.Blueprint()


class ScoringJobQuery(PageQuery):
    """Filters of the list of jobs."""

    status: JobStatus | None = None
    model_id: UUID | None = None


async def _started(call: Call, job_id: UUID) -> Reply:
    return _accepted(await call.services.scoring_jobs.get(job_id))


def _accepted(job: ScoringJob) -> Reply:
    return accepted(_shown(job), f"/api/v1/scoring/jobs/{job.id}")


@endpoint(
    bp,
    "POST",
    "scoring/jobs",
    summary="Score a whole file",
    body=ScoringJobRequest,
    status=202,
    durable=True,
    response=SCORING_JOB,
    errors=(Conflict, NotFound, TooLarge),
    idempotent=_started,
)
async def start_scoring_job(call: Call) -> Reply:
    """A registered dataset or a direct upload, CSV or Parquet, scored with the model that is chosen now."""
    jobs = call.services.scoring_jobs
    job = await jobs.create(call.body, caller=call.caller, origin=call.origin)
    assert call.durable is not None
    try:
        await call.durable.start_new("score_file", job.orchestration_id, {"job_id": str(job.id)})
    except Exception as error:
        await jobs.stages.fail(job.id, "the orchestration could not be started")
        await call.undone()
        raise Unavailable("the orchestration could not be started", target="orchestration") from error
    return _accepted(job)


@endpoint(
    bp, "GET", "scoring/jobs", summary="List scoring jobs, newest first", query=ScoringJobQuery, response=[SCORING_JOB]
)
async def list_scoring_jobs(call: Call) -> Reply:
    """One page."""
    query: ScoringJobQuery = call.query
    jobs, total = await call.services.scoring_jobs.list_page(
        status=query.status, model_id=query.model_id, limit=query.page_size, offset=query.offset
    )
    return Reply([_shown(job) for job in jobs], pagination=query.pagination(total))


@endpoint(bp, "GET", "scoring/jobs/{job_id:guid}", summary="One scoring job", response=SCORING_JOB)
async def get_scoring_job(call: Call) -> Reply:
    """Status, progress and counts."""
    return Reply(_shown(await call.services.scoring_jobs.get(call.path_id("job_id"))))


@endpoint(
    bp,
    "GET",
    "scoring/jobs/{job_id:guid}/result",
    summary="Where the scored file can be downloaded",
    response=ScoringResult,
    errors=(Conflict,),
)
async def get_scoring_result(call: Call) -> Reply:
    """A URL that may read this one file, for an hour."""
    url, expires_at = await call.services.scoring_jobs.result_url(call.path_id("job_id"))
    return Reply({"url": url, "expires_at": expires_at})


@endpoint(
    bp,
    "POST",
    "scoring/jobs/{job_id:guid}/cancel",
    summary="Cancel a scoring job",
    response=SCORING_JOB,
    errors=(Conflict,),
)
async def cancel_scoring_job(call: Call) -> Reply:
    """Slices that are not stored yet will not be; what was stored stays."""
    jobs = call.services.scoring_jobs
    return Reply(_shown(await jobs.cancel(call.path_id("job_id"), caller=call.caller, origin=call.origin)))


def _shown(job: ScoringJob) -> dict[str, Any]:
    return SCORING_JOB(job, progress=round(job.progress, 4))
