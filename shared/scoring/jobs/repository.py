"""Rows of ``scoring_jobs`` and ``scoring_job_slices``, and the predictions of a slice."""

from datetime import datetime
from typing import Any
from uuid import UUID

from shared.platform.database import Connection, scalar
from shared.platform.queries import queries
from shared.scoring.jobs.model import JobStatus, ScoringJob, ScoringJobRequest

_SQL = queries("scoring_jobs")


async def insert(
    conn: Connection,
    job_id: UUID,
    request: ScoringJobRequest,
    *,
    model_id: UUID,
    orchestration_id: str,
    created_by: UUID | None,
    now: datetime,
) -> ScoringJob:
    """A queued job."""
    source, source_id = request.source
    parameters = {
        "id": job_id,
        "name": request.name,
        "model_id": model_id,
        "source": source,
        "source_id": source_id,
        "orchestration_id": orchestration_id,
        "created_by": created_by,
        "now": now,
    }
    return ScoringJob.model_validate(await (await conn.execute(_SQL["insert_job"], parameters)).fetchone())


async def get(conn: Connection, job_id: UUID, *, lock: bool = False) -> ScoringJob | None:
    """One job; ``lock`` holds it until the transaction ends."""
    row = await (await conn.execute(_SQL["lock_job" if lock else "get_job"], {"job_id": job_id})).fetchone()
    return None if row is None else ScoringJob.model_validate(row)


async def list_page(
    conn: Connection, *, status: JobStatus | None, model_id: UUID | None, limit: int, offset: int
) -> tuple[list[ScoringJob], int]:
    """One page of jobs, newest first, and how many the filters leave."""
    filters: dict[str, Any] = {"status": status, "model_id": model_id}
    rows = await (await conn.execute(_SQL["list_jobs"], {**filters, "limit": limit, "offset": offset})).fetchall()
    total = scalar(await (await conn.execute(_SQL["count_jobs"], filters)).fetchone(), "total")
    return [ScoringJob.model_validate(row) for row in rows], total


async def list_unfinished(conn: Connection, before: datetime) -> list[tuple[UUID, str]]:
    """Ids and orchestrations of jobs that were asked for before ``before`` and have not ended."""
    rows = await (await conn.execute(_SQL["list_unfinished_jobs"], {"before": before})).fetchall()
    return [(row["id"], row["orchestration_id"]) for row in rows]


async def begin(conn: Connection, job_id: UUID, *, row_count: int, slice_count: int, now: datetime) -> None:
    """A queued job runs."""
    parameters = {"job_id": job_id, "row_count": row_count, "slice_count": slice_count, "now": now}
    await conn.execute(_SQL["begin_job"], parameters)


async def is_stored(conn: Connection, job_id: UUID, number: int) -> bool:
    """Whether a slice's predictions are stored."""
    cursor = await conn.execute(_SQL["get_slice"], {"job_id": job_id, "number": number})
    return await cursor.fetchone() is not None


async def claim_slice(conn: Connection, job_id: UUID, number: int, part: str, now: datetime) -> bool:
    """Whether this transaction is the one that stores the slice."""
    parameters = {"job_id": job_id, "number": number, "part": part, "now": now}
    return await (await conn.execute(_SQL["claim_slice"], parameters)).fetchone() is not None


async def copy_predictions(conn: Connection, records: bytes) -> None:
    """Store predictions in PostgreSQL's binary COPY format, see ``copy_rows``.

    :raises psycopg.errors.CheckViolation: there is no partition for their month.
    """
    async with conn.cursor() as cursor, cursor.copy(_SQL["copy_predictions"]) as stream:
        await stream.write(records)


async def count_slice(conn: Connection, job_id: UUID, *, scored: int, flagged: int, refused: int) -> bool:
    """Add a slice's counts; False when the job no longer runs."""
    parameters = {"job_id": job_id, "scored": scored, "flagged": flagged, "refused": refused}
    return await (await conn.execute(_SQL["count_slice"], parameters)).fetchone() is not None


async def list_parts(conn: Connection, job_id: UUID) -> list[str]:
    """Paths of the parts of the result, in order."""
    rows = await (await conn.execute(_SQL["list_parts"], {"job_id": job_id})).fetchall()
    return [row["part"] for row in rows]


async def complete(conn: Connection, job_id: UUID, now: datetime) -> None:
    """A running job is done."""
    await conn.execute(_SQL["complete_job"], {"job_id": job_id, "now": now})


async def cancel(conn: Connection, job_id: UUID, now: datetime) -> ScoringJob | None:
    """The cancelled job; None where it had ended."""
    row = await (await conn.execute(_SQL["cancel_job"], {"job_id": job_id, "now": now})).fetchone()
    return None if row is None else ScoringJob.model_validate(row)


async def fail(conn: Connection, job_id: UUID, message: str, now: datetime) -> bool:
    """End a job with the reason; False where it had ended."""
    parameters = {"job_id": job_id, "error_message": message, "now": now}
    return await (await conn.execute(_SQL["fail_job"], parameters)).fetchone() is not None
