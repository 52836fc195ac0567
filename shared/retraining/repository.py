"""Rows of ``retraining_jobs``, and what retraining reads of predictions and alerts."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from shared.platform.database import Connection, Row, scalar
from shared.platform.queries import queries
from shared.retraining.model import RetrainingJob, RetrainingOptions, RetrainingStatus, orchestration_id_of

_SQL = queries("retraining")
_ROWS_AT_ONCE = 5000


@dataclass(frozen=True, slots=True)
class Window:
    """Predictions to learn from: by when they were made, and whether those without a label count as genuine."""

    since: datetime
    until: datetime
    unlabelled: bool

    def parameters(self) -> dict[str, Any]:
        """For the statements."""
        return {"since": self.since, "until": self.until, "unlabelled": self.unlabelled}


@dataclass(frozen=True, slots=True)
class AskingAlert:
    """An open alert that wants its model trained again."""

    id: UUID
    model_id: UUID
    title: str


@dataclass(frozen=True, slots=True)
class LabelledTransaction:
    """A transaction as it was last scored, and what became known of it."""

    transaction: dict[str, Any]
    is_fraud: bool
    labeled_at: datetime | None


async def _one(conn: Connection, statement: str, parameters: Mapping[str, Any]) -> Row | None:
    return await (await conn.execute(_SQL[statement], parameters)).fetchone()


def _job(row: Row | None) -> RetrainingJob | None:
    return None if row is None else RetrainingJob.model_validate(row)


async def insert(
    conn: Connection,
    job_id: UUID,
    champion_id: UUID,
    options: RetrainingOptions,
    *,
    reason: str,
    alert_id: UUID | None,
    created_by: UUID | None,
    now: datetime,
) -> RetrainingJob | None:
    """A new job; None while another one for the same model has not ended."""
    parameters = {
        "id": job_id,
        "champion_id": champion_id,
        "alert_id": alert_id,
        "reason": reason,
        "options": Jsonb(options.model_dump(mode="json")),
        "orchestration_id": orchestration_id_of(job_id),
        "created_by": created_by,
        "now": now,
    }
    return _job(await _one(conn, "insert_job", parameters))


async def get(conn: Connection, job_id: UUID, *, lock: bool = False) -> RetrainingJob | None:
    """One job, with ``lock`` held until the transaction ends."""
    return _job(await _one(conn, "lock_job" if lock else "get_job", {"job_id": job_id}))


async def list_page(
    conn: Connection, filters: Mapping[str, Any], *, limit: int, offset: int
) -> tuple[list[RetrainingJob], int]:
    """One page, newest first, and the number of jobs that the filters leave."""
    rows = await (await conn.execute(_SQL["list_jobs"], {**filters, "limit": limit, "offset": offset})).fetchall()
    total = scalar(await _one(conn, "count_jobs", filters), "total")
    return [RetrainingJob.model_validate(row) for row in rows], total


async def list_unfinished(conn: Connection, before: datetime) -> list[tuple[UUID, str]]:
    """Ids and orchestrations of jobs that were asked for before ``before`` and have not ended."""
    rows = await (await conn.execute(_SQL["list_unfinished_jobs"], {"before": before})).fetchall()
    return [(row["id"], row["orchestration_id"]) for row in rows]


async def recent(conn: Connection, champion_id: UUID, since: datetime) -> tuple[datetime | None, int]:
    """When the model's last job ended, and how many jobs alerts have started since a time."""
    row = await _one(conn, "recent_jobs", {"champion_id": champion_id, "since": since})
    assert row is not None
    return row["last_ended"], row["of_alerts"]


async def advance(
    conn: Connection, job_id: UUID, status: RetrainingStatus, now: datetime, **known: Any
) -> RetrainingJob | None:
    """The job in its next state, with what is known by now; None when it has ended."""
    given = {name: Jsonb(value) if isinstance(value, dict) else value for name, value in known.items()}
    empty = dict.fromkeys(
        ("dataset_id", "feature_set_id", "training_job_id", "challenger_id", "data", "verdict", "approval_until")
    )
    return _job(await _one(conn, "advance_job", {**empty, **given, "job_id": job_id, "status": status, "now": now}))


async def end(
    conn: Connection,
    job_id: UUID,
    status: RetrainingStatus,
    now: datetime,
    *,
    error: str | None = None,
    decided_by: UUID | None = None,
    reason: str | None = None,
) -> RetrainingJob | None:
    """The job, ended; None when it had ended before."""
    parameters = {
        "job_id": job_id,
        "status": status,
        "now": now,
        "error_message": error,
        "decided_by": decided_by,
        "decision_reason": reason,
    }
    return _job(await _one(conn, "end_job", parameters))


async def tell_alert(conn: Connection, alert_id: UUID, job_id: UUID) -> None:
    """The alert has started the job."""
    await conn.execute(_SQL["tell_alert"], {"alert_id": alert_id, "job_id": job_id})


async def asking_alerts(conn: Connection) -> list[AskingAlert]:
    """Open alerts that want their model trained again and have not started it, oldest first."""
    rows = await (await conn.execute(_SQL["asking_alerts"])).fetchall()
    return [AskingAlert(**row) for row in rows]


async def count_labels(conn: Connection, window: Window) -> tuple[int, int]:
    """Transactions to learn from in a window, and how many of them are fraud."""
    row = await _one(conn, "count_labels", window.parameters())
    assert row is not None
    return row["labelled"], row["frauds"]


async def export(conn: Connection, window: Window) -> AsyncIterator[list[LabelledTransaction]]:
    """The transactions of a window, some thousand at a time; needs a transaction, which holds the cursor."""
    async with conn.cursor(name="retraining_export") as cursor:
        await cursor.execute(_SQL["export_transactions"], window.parameters())
        while rows := await cursor.fetchmany(_ROWS_AT_ONCE):
            yield [LabelledTransaction(**row) for row in rows]
