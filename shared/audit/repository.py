"""Rows of ``audit_logs``."""

from collections.abc import Mapping
from typing import Any

from shared.platform.database import Connection
from shared.platform.queries import queries

_SQL = queries("audit")


async def insert(conn: Connection, entry: Mapping[str, Any]) -> None:
    """Append one entry; keys are the columns of the table."""
    await conn.execute(_SQL["insert_audit_log"], entry)
