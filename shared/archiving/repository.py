"""Rows of ``predictions_archives``, and months of predictions as they are exported, detached and dropped."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time
from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.types.json import Jsonb

from shared.archiving.model import Archive, MonthState, Part, next_month
from shared.platform.database import Connection, Row
from shared.platform.queries import queries

_SQL = queries("archiving")
_FIRST = UUID(int=0)
_BEFORE_ALL = "0001-01-01T00:00:00+00:00|00000000-0000-0000-0000-000000000000|0"


async def list_due(conn: Connection, *, first_kept: date, now: datetime) -> list[date]:
    """Months before ``first_kept`` that are in the database and are to leave it, oldest first."""
    cursor = await conn.execute(_SQL["list_due_months"], {"first_kept": first_kept, "now": now})
    return [row["month"] for row in await cursor.fetchall()]


async def list_away(conn: Connection) -> list[date]:
    """Months that queries do not see, oldest first."""
    return [row["month"] for row in await (await conn.execute(_SQL["list_away"])).fetchall()]


async def month_state(conn: Connection, month: date) -> tuple[MonthState, bool]:
    """What has become of a month's partition, and whether this role owns the table."""
    row = await (await conn.execute(_SQL["get_month_state"], {"month": month})).fetchone()
    assert row is not None
    return MonthState(row["state"]), row["is_owner"]


async def get(conn: Connection, month: date) -> Archive | None:
    """One month's archive."""
    return await _one(conn, "get_archive", {"month": month})


async def begin(conn: Connection, month: date) -> Archive | None:
    """Begin an export with what the month holds now; None while it is archived or on its way back."""
    return await _one(conn, "begin_archive", {"month": month})


async def read_predictions(conn: Connection, month: date, after: str | None, limit: int) -> list[Row]:
    """Predictions of a month behind an id, in order of ids."""
    parameters = {"month": month, "after": _FIRST if after is None else UUID(after), "limit": limit}
    return await (await conn.execute(_SQL["read_predictions"], parameters)).fetchall()


async def read_labels(conn: Connection, month: date, after: str | None, limit: int) -> list[Row]:
    """Labels of a month behind a position, in the order of their predictions."""
    created_at, prediction, label = (after or _BEFORE_ALL).split("|")
    parameters = {
        "first": datetime.combine(month, time(), UTC),
        "end": datetime.combine(next_month(month), time(), UTC),
        "after_created_at": datetime.fromisoformat(created_at),
        "after_prediction": UUID(prediction),
        "after": int(label),
        "limit": limit,
    }
    return await (await conn.execute(_SQL["read_labels"], parameters)).fetchall()


async def add_part(conn: Connection, archive: Archive, part: Part) -> Archive | None:
    """Keep that a part was written; None when somebody else has gone on with this month."""
    return await _one(conn, "add_part", {**_version(archive), "part": Jsonb([part.model_dump(mode="json")])})


async def set_verified(conn: Connection, archive: Archive, manifest_sha256: str) -> Archive | None:
    """What was exported was read back; None when somebody else has gone on with this month."""
    return await _one(conn, "set_verified", {**_version(archive), "manifest_sha256": manifest_sha256})


async def detach_concurrently(conn: Connection, month: date) -> None:
    """Detach a month, as the table's owner; outside a transaction."""
    await conn.execute(_of_month("detach_concurrently", month))


async def detach(conn: Connection, month: date) -> None:
    """Detach a verified month as any role, or finish an interrupted detaching."""
    await conn.execute(_SQL["detach_month"], {"month": month})


async def drop(conn: Connection, month: date) -> bool:
    """Drop a detached month and its labels; False, and nothing dropped, if they are not what was verified."""
    row = await (await conn.execute(_SQL["drop_month"], {"month": month})).fetchone()
    assert row is not None
    return bool(row["dropped"])


async def set_restoring(conn: Connection, month: date) -> Archive | None:
    """A month is on its way back; None unless it is archived."""
    return await _one(conn, "set_restoring", {"month": month})


async def set_restored(conn: Connection, month: date, kept_until: datetime) -> None:
    """A month is back."""
    await conn.execute(_SQL["set_restored"], {"month": month, "kept_until": kept_until})


async def make_empty(conn: Connection, month: date) -> None:
    """An empty table for a month instead of what an interrupted restore has left; as the owner."""
    await conn.execute(_of_month("drop_left_over", month))
    await conn.execute(_of_month("create_month", month))


async def copy_in(
    conn: Connection, table: str, columns: Sequence[str], pieces: Iterable[Sequence[tuple[Any, ...]]]
) -> None:
    """Load rows into a table."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    statement = sql.SQL(_SQL["copy_in"]).format(table=sql.Identifier(table), columns=names)
    async with conn.cursor() as cursor, cursor.copy(statement) as stream:
        for rows in pieces:
            for row in rows:
                await stream.write_row(row)


async def attach(conn: Connection, month: date) -> None:
    """A month is part of ``predictions`` again; as the owner."""
    await conn.execute(_of_month("attach_month", month))


async def count(conn: Connection, month: date) -> tuple[int, int]:
    """How many predictions and labels a month has."""
    row = await (await conn.execute(_SQL["count_month"], {"month": month})).fetchone()
    assert row is not None
    return row["predictions"], row["labels"]


def partition_of(month: date) -> str:
    """The name of a month's table."""
    return f"predictions_{month:%Y_%m}"


def _of_month(statement: str, month: date) -> sql.Composed:
    bounds = [datetime.combine(day, time(), UTC) for day in (month, next_month(month))]
    return sql.SQL(_SQL[statement]).format(
        partition=sql.Identifier(partition_of(month)), first=sql.Literal(bounds[0]), end=sql.Literal(bounds[1])
    )


def _version(archive: Archive) -> dict[str, Any]:
    return {"month": archive.month, "digest": archive.digest, "parts": len(archive.parts)}


async def _one(conn: Connection, statement: str, parameters: dict[str, Any]) -> Archive | None:
    row = await (await conn.execute(_SQL[statement], parameters)).fetchone()
    return None if row is None else Archive.model_validate(row)
