"""Rows of ``audit_logs``; there is no way to change or to delete one."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from typing import Any
from uuid import UUID

from shared.audit.chain import Head, Link
from shared.audit.model import AuditEntry, AuditFilter, Position
from shared.platform.database import Connection
from shared.platform.queries import queries

_SQL = queries("audit")
_FETCHED_AT_ONCE = 5000


async def insert(conn: Connection, entry: Mapping[str, Any]) -> None:
    """Append one entry; keys are the columns of the table."""
    await conn.execute(_SQL["insert_audit_log"], entry)


async def list_page(conn: Connection, which: AuditFilter, *, before: Position, limit: int) -> list[AuditEntry]:
    """Up to ``limit`` entries older than ``before``, newest first.

    ``until`` becomes a position, too: given two upper bounds, PostgreSQL would begin to read at the later one. The
    statement is planned for the filters at hand every time: one plan for all of them would read the whole table.
    """
    if which.until is not None:
        before = min(before, (which.until, UUID(int=0)))
    parameters = {**asdict(which), "before_at": before[0], "before_id": before[1], "limit": limit}
    rows = await (await conn.execute(_SQL["list_audit_logs"], parameters, prepare=False)).fetchall()
    return [AuditEntry.model_validate(row) for row in rows]


async def get_head(conn: Connection) -> Head | None:
    """The newest seal of the chain."""
    row = await (await conn.execute(_SQL["get_audit_head"])).fetchone()
    return None if row is None else Head(row["sequence"], row["hash"])


async def read_chain(conn: Connection) -> AsyncIterator[Link]:
    """Every seal with its entry, in order, in one snapshot; ``conn`` must be inside a transaction."""
    async with conn.cursor(name="audit_chain") as cursor:
        cursor.itersize = _FETCHED_AT_ONCE
        await cursor.execute(_SQL["read_audit_chain"])
        async for row in cursor:
            yield Link(row["sequence"], row["entry_id"], row["hash"], row["fields"])


async def read_unsealed(conn: Connection) -> list[UUID]:
    """The entries that no seal belongs to."""
    return [row["id"] async for row in await conn.execute(_SQL["read_unsealed_entries"])]
