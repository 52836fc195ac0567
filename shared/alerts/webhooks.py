"""Webhooks: where alerts are sent, and the way of a message until it arrives."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from psycopg.types.json import Jsonb
from pydantic import BaseModel, ConfigDict, Field

from shared.alerts.model import Severity, Source
from shared.platform.database import Connection, Row
from shared.platform.queries import queries

# How long after each failed attempt the next one comes; after the last a message is given up.
RETRIES: Final = tuple(timedelta(minutes=minutes) for minutes in (0.5, 2, 10, 30, 60, 180, 360, 720))
BOTH_SECRETS_SIGN: Final = timedelta(hours=24)

_SQL = queries("alert_webhooks")


class WebhookSettings(BaseModel):
    """Where to send, and what."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    name: Annotated[str, Field(min_length=1, max_length=100)]
    url: str = Field(min_length=1, max_length=2000, description="Receives a POST for each event")
    minimum_severity: Severity = Field(Severity.WARNING, description="Alerts of less are not sent")
    source_types: list[Source] | None = Field(None, min_length=1, max_length=4, description="Default: every source")
    is_active: bool = True


class StoredWebhook(WebhookSettings):
    """A row of ``alert_webhooks``."""

    model_config = ConfigDict(extra="ignore")

    id: UUID
    secret_version: int
    rotated_at: datetime | None
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime


class Webhook(StoredWebhook):
    """A webhook as people see it; of the URL only the host, since its path may be a secret.

    ``secret`` is only shown when it is new.
    """

    secret: str | None = None


def shown(webhook: StoredWebhook, secret: str | None = None) -> Webhook:
    """The webhook with the path of its URL hidden."""
    return Webhook(**{**webhook.model_dump(), "url": hidden(webhook.url), "secret": secret})


def hidden(url: str) -> str:
    """Scheme and host of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/…"


def next_attempt(attempts: int, now: datetime) -> datetime | None:
    """When a message that failed is tried again, after so many attempts; None to give it up."""
    return now + RETRIES[attempts - 1] if attempts <= len(RETRIES) else None


def _parameters(settings: WebhookSettings) -> dict[str, Any]:
    kinds = settings.source_types
    return {**settings.model_dump(), "source_types": None if kinds is None else Jsonb([kind.value for kind in kinds])}


def _webhook(row: Row | None) -> StoredWebhook | None:
    return None if row is None else StoredWebhook.model_validate(row)


async def insert(
    conn: Connection, webhook_id: UUID, settings: WebhookSettings, created_by: UUID | None, now: datetime
) -> StoredWebhook | None:
    """A new webhook; None where the name is taken."""
    parameters = {**_parameters(settings), "id": webhook_id, "created_by": created_by, "now": now}
    return _webhook(await (await conn.execute(_SQL["insert_webhook"], parameters)).fetchone())


async def get(conn: Connection, webhook_id: UUID) -> StoredWebhook | None:
    """One webhook."""
    return _webhook(await (await conn.execute(_SQL["get_webhook"], {"webhook_id": webhook_id})).fetchone())


async def lock(conn: Connection, webhook_id: UUID) -> StoredWebhook | None:
    """One webhook, held until the transaction ends."""
    return _webhook(await (await conn.execute(_SQL["lock_webhook"], {"webhook_id": webhook_id})).fetchone())


async def update(conn: Connection, webhook_id: UUID, settings: WebhookSettings, now: datetime) -> StoredWebhook:
    """The webhook with other settings.

    :raises psycopg.errors.UniqueViolation: another webhook has this name.
    """
    parameters = {**_parameters(settings), "webhook_id": webhook_id, "now": now}
    return StoredWebhook.model_validate(await (await conn.execute(_SQL["update_webhook"], parameters)).fetchone())


async def rotate(conn: Connection, webhook_id: UUID, now: datetime) -> StoredWebhook | None:
    """The webhook with its next secret; None where it does not exist."""
    parameters = {"webhook_id": webhook_id, "now": now}
    return _webhook(await (await conn.execute(_SQL["rotate_webhook_secret"], parameters)).fetchone())


async def delete(conn: Connection, webhook_id: UUID) -> None:
    """The webhook and its messages are gone."""
    await conn.execute(_SQL["delete_webhook"], {"webhook_id": webhook_id})


async def list_all(conn: Connection) -> list[StoredWebhook]:
    """Every webhook, by name."""
    rows = await (await conn.execute(_SQL["list_webhooks"])).fetchall()
    return [StoredWebhook.model_validate(row) for row in rows]
