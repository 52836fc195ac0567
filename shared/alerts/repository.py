"""Rows of ``alerts``."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from shared.alerts.model import Alert, AlertStatus, Signal
from shared.platform.database import Connection, Row, scalar
from shared.platform.queries import queries

_SQL = queries("alerts")


async def _one(conn: Connection, statement: str, parameters: Mapping[str, Any]) -> Row | None:
    return await (await conn.execute(_SQL[statement], parameters)).fetchone()


async def report(conn: Connection, signal: Signal, now: datetime) -> Alert:
    """The open alert of the signal's cause, made now or refreshed."""
    parameters = {
        "id": uuid4(),
        "model_id": signal.model_id,
        "source_type": signal.source,
        "source_id": signal.source_id,
        "alert_type": signal.alert_type,
        "severity": signal.severity,
        "title": signal.title[:255],
        "description": signal.description,
        "details": Jsonb(dict(signal.details)),
        "cause": signal.cause,
        "now": now,
    }
    return Alert.model_validate(await _one(conn, "report_alert", parameters))


async def clear(conn: Connection, cause: str, notes: str, now: datetime) -> UUID | None:
    """Resolve the open alert of a cause; its id, None where there is none."""
    row = await _one(conn, "clear_alert", {"cause": cause, "notes": notes, "now": now})
    return None if row is None else row["id"]


async def get(conn: Connection, alert_id: UUID, *, lock: bool = False) -> Alert | None:
    """One alert, with ``lock`` held until the transaction ends."""
    row = await _one(conn, "lock_alert" if lock else "get_alert", {"alert_id": alert_id})
    return None if row is None else Alert.model_validate(row)


async def list_page(
    conn: Connection, filters: Mapping[str, Any], *, limit: int, offset: int
) -> tuple[list[Alert], int]:
    """One page, newest first, and the number of alerts that the filters leave."""
    rows = await (await conn.execute(_SQL["list_alerts"], {**filters, "limit": limit, "offset": offset})).fetchall()
    total = scalar(await _one(conn, "count_alerts", filters), "total")
    return [Alert.model_validate(row) for row in rows], total


async def acknowledge(conn: Connection, alert_id: UUID, user_id: UUID | None, now: datetime) -> Alert:
    """The alert, now ACKNOWLEDGED."""
    return Alert.model_validate(
        await _one(conn, "acknowledge_alert", {"alert_id": alert_id, "user_id": user_id, "now": now})
    )


async def close(
    conn: Connection, alert_id: UUID, status: AlertStatus, user_id: UUID | None, notes: str, now: datetime
) -> Alert:
    """The alert, now RESOLVED or DISMISSED."""
    parameters = {"alert_id": alert_id, "status": status, "user_id": user_id, "notes": notes, "now": now}
    return Alert.model_validate(await _one(conn, "close_alert", parameters))
