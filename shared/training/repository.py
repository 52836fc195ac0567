"""Rows of ``training_jobs``, and the row of ``ml_models`` that a job ends in."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from shared.platform.database import Connection, Row
from shared.platform.listing import Listing, Page
from shared.platform.queries import queries
from shared.training.model import (
    FeatureSetSource,
    JobFilter,
    TrainedModel,
    TrainingJob,
    TrainingRequest,
    next_version,
    orchestration_id_of,
)
from shared.training.search import Search

_SQL = queries("training")
_JOBS = Listing(
    _SQL["list_jobs"],
    _SQL["count_jobs"],
    table="job",
    sorts={"created_at": "created_at", "name": "name", "algorithm": "algorithm", "status": "status"},
)


async def _one(conn: Connection, statement: str, parameters: Mapping[str, Any]) -> Row | None:
    return await (await conn.execute(_SQL[statement], parameters)).fetchone()


async def _job(conn: Connection, statement: str, parameters: Mapping[str, Any]) -> TrainingJob | None:
    row = await _one(conn, statement, parameters)
    return None if row is None else TrainingJob.model_validate(row)


async def insert_job(
    conn: Connection,
    job_id: UUID,
    request: TrainingRequest,
    *,
    hyperparameters: Mapping[str, Any],
    search: Search | None,
    total_epochs: int,
    created_by: UUID | None,
    now: datetime,
) -> TrainingJob:
    """A queued job; ``hyperparameters`` are complete."""
    parameters = {
        "id": job_id,
        "name": request.name,
        "feature_set_id": request.feature_set_id,
        "algorithm": request.algorithm,
        "hyperparameters": Jsonb(dict(hyperparameters)),
        "train_test_split": request.train_test_split,
        "threshold_policy": Jsonb(request.threshold_policy.model_dump()),
        "calibration": request.calibration,
        "evaluation": Jsonb(request.evaluation.model_dump()),
        "metrics": None if search is None else Jsonb({"search": search.model_dump(mode="json")}),
        "total_epochs": total_epochs,
        "orchestration_id": orchestration_id_of(job_id),
        "created_by": created_by,
        "now": now,
    }
    return TrainingJob.model_validate(await _one(conn, "insert_job", parameters))


async def get_job(conn: Connection, job_id: UUID, *, lock: bool = False) -> TrainingJob | None:
    """One job, with ``lock`` held until the transaction ends."""
    return await _job(conn, "lock_job" if lock else "get_job", {"job_id": job_id})


async def list_jobs(conn: Connection, which: JobFilter, page: Page) -> tuple[list[TrainingJob], int]:
    """One page without curves, and the number of jobs that the filters leave."""
    rows, total = await _JOBS.read(conn, asdict(which), page)
    return [TrainingJob.model_validate(row) for row in rows], total


async def admit_jobs(conn: Connection, concurrency: int, now: datetime) -> list[str]:
    """As many of the longest waiting jobs as there are free places become RUNNING; their orchestrations.

    Callers take turns until their transactions end, so that no two of them fill the same place.
    """
    await conn.execute(_SQL["lock_training_queue"])
    rows = await (await conn.execute(_SQL["admit_jobs"], {"concurrency": concurrency, "now": now})).fetchall()
    return [row["orchestration_id"] for row in rows if row["orchestration_id"] is not None]


async def report_progress(
    conn: Connection, job_id: UUID, *, rounds: int, progress: float, metrics: Mapping[str, Any]
) -> bool:
    """Update a running job, merging ``metrics`` into what is there; False if it no longer runs."""
    parameters = {
        "job_id": job_id,
        "current_epoch": rounds,
        "progress": progress,
        "metrics": Jsonb(dict(metrics)),
    }
    return await _one(conn, "report_progress", parameters) is not None


async def advance_checkpoint(conn: Connection, job_id: UUID, rounds: int) -> bool:
    """Go on from the checkpoint of this round, unless a later one is known; False if the job no longer runs."""
    return await _one(conn, "advance_checkpoint", {"job_id": job_id, "rounds": rounds}) is not None


async def choose_hyperparameters(
    conn: Connection, job_id: UUID, hyperparameters: Mapping[str, Any], total_epochs: int
) -> None:
    """Let a running job go on with what its search has found."""
    parameters = {"job_id": job_id, "hyperparameters": Jsonb(dict(hyperparameters)), "total_epochs": total_epochs}
    await conn.execute(_SQL["choose_hyperparameters"], parameters)


async def cancel_job(conn: Connection, job_id: UUID, now: datetime) -> TrainingJob | None:
    """The job, now CANCELLED; None if it had ended."""
    return await _job(conn, "cancel_job", {"job_id": job_id, "now": now})


async def fail_job(
    conn: Connection, job_id: UUID, now: datetime, message: str, traceback: str | None
) -> TrainingJob | None:
    """The job, now FAILED; None if it had ended."""
    parameters = {"job_id": job_id, "now": now, "error_message": message, "error_traceback": traceback}
    return await _job(conn, "fail_job", parameters)


async def note_traceback(conn: Connection, job_id: UUID, traceback: str) -> None:
    """Keep what an attempt died of."""
    await conn.execute(_SQL["note_traceback"], {"job_id": job_id, "error_traceback": traceback})


async def complete_job(
    conn: Connection, job_id: UUID, now: datetime, *, model_id: UUID, final_metrics: Mapping[str, Any]
) -> TrainingJob | None:
    """The job, now COMPLETED; None if it was not running."""
    parameters = {"job_id": job_id, "now": now, "model_id": model_id, "final_metrics": Jsonb(dict(final_metrics))}
    return await _job(conn, "complete_job", parameters)


async def get_feature_set(conn: Connection, feature_set_id: UUID) -> FeatureSetSource | None:
    """What training needs to know of a feature set."""
    row = await _one(conn, "get_feature_set", {"feature_set_id": feature_set_id})
    return None if row is None else FeatureSetSource.model_validate(row)


async def insert_model(conn: Connection, model: TrainedModel, now: datetime) -> str:
    """Insert a model under the next version of its name, which is returned; inserting it again changes nothing."""
    await conn.execute(_SQL["lock_model_name"], {"name": model.name})
    rows = await (await conn.execute(_SQL["versions_of_name"], {"name": model.name})).fetchall()
    version = next_version([row["version"] for row in rows])
    parameters = {
        **model.model_dump(),
        "hyperparameters": Jsonb(model.hyperparameters),
        "metrics": Jsonb(model.metrics),
        "feature_names": Jsonb(model.feature_names),
        "feature_importance": Jsonb(model.feature_importance),
        "version": version,
        "now": now,
    }
    await conn.execute(_SQL["insert_model"], parameters)
    return version


async def list_unfinished(conn: Connection, before: datetime) -> list[tuple[UUID, str]]:
    """Ids and orchestrations of jobs that were asked for before ``before`` and have not ended."""
    rows = await (await conn.execute(_SQL["list_unfinished_jobs"], {"before": before})).fetchall()
    return [(row["id"], row["orchestration_id"]) for row in rows]


async def oldest_queued(conn: Connection) -> datetime | None:
    """When the job that has waited longest for its turn was asked for."""
    row = await (await conn.execute(_SQL["oldest_queued_job"])).fetchone()
    return None if row is None else row["queued_at"]
