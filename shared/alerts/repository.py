"""Rows of ``alerts``."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from shared.alerts.model import Alert, AlertFilter, AlertStatus, Signal
from shared.platform.database import Connection, Row
from shared.platform.listing import Listing, Page
from shared.platform.queries import queries

_SQL = queries("alerts")
_ALERTS = Listing(
    _SQL["list_alerts"],
    _SQL["count_alerts"],
    table="a",
    sorts={"created_at": "created_at", "last_seen_at": "last_seen_at"},
)


async def _one(conn: Connection, statement: str, parameters: Mapping[str, Any]) -> Row | None:
    return await (await conn.execute(_SQL[statement], parameters)).fetchone()


async def open_of(conn: Connection, cause: str) -> Alert | None:
    """The open alert of a cause, held until the transaction ends."""
    row = await _one(conn, "lock_open_alert", {"cause": cause})
    return None if row is None else Alert.model_validate(row)


async def report(conn: Connection, signal: Signal, now: datetime) -> tuple[Alert, bool]:
    """The open alert of the signal's cause, and whether it was opened now rather than refreshed."""
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
        "rule_id": signal.rule_id,
        "retrain": signal.retrain,
        "now": now,
    }
    row = await _one(conn, "report_alert", parameters)
    assert row is not None
    return Alert.model_validate(row), row["opened"]


async def clear(conn: Connection, cause: str, notes: str, *, windows: int, at: datetime, now: datetime) -> Alert | None:
    """Count a quiet window of the cause's open alert, which may resolve it; None where none is open."""
    parameters = {"cause": cause, "notes": notes, "windows": windows, "at": at, "now": now}
    row = await _one(conn, "clear_alert", parameters)
    return None if row is None else Alert.model_validate(row)


async def closed_at(conn: Connection, cause: str) -> datetime | None:
    """When the newest alert of a cause was settled."""
    row = await _one(conn, "last_closed_alert", {"cause": cause})
    return None if row is None else row["closed_at"]


async def get(conn: Connection, alert_id: UUID, *, lock: bool = False) -> Alert | None:
    """One alert, with ``lock`` held until the transaction ends."""
    row = await _one(conn, "lock_alert" if lock else "get_alert", {"alert_id": alert_id})
    return None if row is None else Alert.model_validate(row)


async def list_page(conn: Connection, which: AlertFilter, page: Page) -> tuple[list[Alert], int]:
    """One page, and the number of alerts that the filters leave."""
    rows, total = await _ALERTS.read(conn, asdict(which), page)
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
