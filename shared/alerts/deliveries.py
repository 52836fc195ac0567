"""Rows of ``alert_deliveries``: messages on their way."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from pydantic import BaseModel

from shared.alerts.messages import Event, message
from shared.alerts.model import Alert
from shared.platform.database import Connection
from shared.platform.queries import queries

_SQL = queries("alert_webhooks")


class Delivery(BaseModel):
    """One message to one webhook, as people see it."""

    id: UUID
    webhook_id: UUID
    alert_id: UUID | None
    event: Event
    attempts: int
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    last_status: int | None
    last_error: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """A message to send now, and where to."""

    id: UUID
    webhook_id: UUID
    event: str
    payload: Mapping[str, Any]
    attempts: int
    webhook_name: str
    url: str
    secret_version: int
    rotated_at: datetime | None


async def queue(conn: Connection, alert: Alert, event: Event, now: datetime) -> None:
    """Write a message to every webhook that wants to know, in the transaction that changes the alert."""
    parameters = {
        "alert_id": alert.id,
        "event": event,
        "payload": Jsonb(message(alert, event, now)),
        "severity": alert.severity,
        "source_type": alert.source_type,
        "cause": alert.cause,
        "now": now,
    }
    await conn.execute(_SQL["queue_deliveries"], parameters)


async def queue_one(
    conn: Connection, webhook_id: UUID, event: Event, payload: Mapping[str, Any], now: datetime
) -> Delivery | None:
    """Write a message of its own to one webhook; None where it does not exist."""
    parameters = {"webhook_id": webhook_id, "event": event, "payload": Jsonb(dict(payload)), "now": now}
    row = await (await conn.execute(_SQL["queue_delivery"], parameters)).fetchone()
    return None if row is None else Delivery.model_validate(row)


async def claim(conn: Connection, now: datetime, until: datetime, limit: int) -> list[DueDelivery]:
    """Messages that are due, counted as attempted; nobody else gets them before ``until``."""
    parameters = {"now": now, "until": until, "limit": limit}
    rows = await (await conn.execute(_SQL["claim_deliveries"], parameters)).fetchall()
    return [DueDelivery(**row) for row in rows]


async def settle(
    conn: Connection,
    delivery_id: UUID,
    *,
    delivered_at: datetime | None,
    next_attempt_at: datetime | None,
    status: int | None,
    error: str | None,
) -> None:
    """What became of an attempt: arrived, to be tried again, or given up (neither time)."""
    parameters = {
        "delivery_id": delivery_id,
        "delivered_at": delivered_at,
        "next_attempt_at": next_attempt_at,
        "status": status,
        "error": error,
    }
    await conn.execute(_SQL["settle_delivery"], parameters)


async def list_page(conn: Connection, webhook_id: UUID, *, limit: int, offset: int) -> tuple[list[Delivery], int]:
    """One page of a webhook's messages, newest first, and how many there are."""
    parameters = {"webhook_id": webhook_id, "limit": limit, "offset": offset}
    rows = await (await conn.execute(_SQL["list_deliveries"], parameters)).fetchall()
    counted = await (await conn.execute(_SQL["count_deliveries"], {"webhook_id": webhook_id})).fetchone()
    assert counted is not None
    return [Delivery.model_validate(row) for row in rows], counted["total"]
