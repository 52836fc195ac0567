"""Use cases of webhooks: naming them, and getting messages there."""

import asyncio
from datetime import timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import orjson
import psycopg

from shared.alerts import deliveries, webhooks
from shared.alerts.deliveries import Delivery, DueDelivery
from shared.alerts.messages import Event, test_message
from shared.alerts.model import Severity, Signal, Source
from shared.alerts.sending import Outcome, check_url, post
from shared.alerts.service import AlertService
from shared.alerts.signing import derive_secret, headers, shown_secret
from shared.alerts.webhooks import BOTH_SECRETS_SIGN, StoredWebhook, Webhook, WebhookSettings, hidden, next_attempt
from shared.audit import service as audit
from shared.audit.model import Origin
from shared.platform.clock import Clock
from shared.platform.database import Connection, Database
from shared.platform.errors import Conflict, NotFound
from shared.users.model import Caller

_AT_ONCE: Final = 20
_LEASE: Final = timedelta(minutes=2)  # longer than an attempt can take


class WebhookService:
    """Alerts on their way to where people work.

    :param signing_key: the app's key; without it there are no webhooks.
    :param allow_private: whether receivers may have private addresses and plain http.
    """

    def __init__(
        self, database: Database, alerts: AlertService, clock: Clock, *, signing_key: str | None, allow_private: bool
    ) -> None:
        self._database = database
        self._alerts = alerts
        self._clock = clock
        self._signing_key = signing_key
        self._allow_private = allow_private

    async def create(self, settings: WebhookSettings, *, caller: Caller, origin: Origin) -> Webhook:
        """A new webhook; its secret is shown this once.

        :raises InvalidContent: messages may not be sent to the URL.
        :raises Conflict: the name is taken, or the app has no signing key.
        """
        key = self._key()
        check_url(settings.url, allow_private=self._allow_private)
        async with self._database.transaction() as conn:
            webhook = await webhooks.insert(conn, uuid4(), settings, caller.user_id, self._clock())
            if webhook is None:
                raise _taken(settings)
            await _audit(conn, caller, origin, "CREATE", webhook.id, None, settings)
        return webhooks.shown(webhook, shown_secret(derive_secret(key, webhook.id, webhook.secret_version)))

    async def replace(self, webhook_id: UUID, settings: WebhookSettings, *, caller: Caller, origin: Origin) -> Webhook:
        """Other settings for a webhook; its secret stays.

        :raises NotFound: there is no such webhook.
        :raises InvalidContent: messages may not be sent to the URL.
        :raises Conflict: another webhook has this name.
        """
        check_url(settings.url, allow_private=self._allow_private)
        try:
            async with self._database.transaction() as conn:
                before = _found(await webhooks.lock(conn, webhook_id))
                webhook = await webhooks.update(conn, webhook_id, settings, self._clock())
                await _audit(conn, caller, origin, "UPDATE", webhook_id, before, settings)
        except psycopg.errors.UniqueViolation as error:
            raise _taken(settings) from error
        return webhooks.shown(webhook)

    async def rotate(self, webhook_id: UUID, *, caller: Caller, origin: Origin) -> Webhook:
        """A new secret, shown this once. For a day both secrets sign, so that a receiver can change over.

        :raises NotFound: there is no such webhook.
        :raises Conflict: the app has no signing key.
        """
        key = self._key()
        async with self._database.transaction() as conn:
            webhook = _found(await webhooks.rotate(conn, webhook_id, self._clock()))
            await audit.record(
                conn,
                origin,
                caller,
                action="UPDATE",
                resource_type="alert_webhook",
                resource_id=webhook_id,
                new={"version": webhook.secret_version},
            )
        return webhooks.shown(webhook, shown_secret(derive_secret(key, webhook_id, webhook.secret_version)))

    async def delete(self, webhook_id: UUID, *, caller: Caller, origin: Origin) -> Webhook:
        """The webhook is gone, with the messages that it has not got, and given as it was last.

        :raises NotFound: there is no such webhook.
        """
        async with self._database.transaction() as conn:
            before = _found(await webhooks.lock(conn, webhook_id))
            await webhooks.delete(conn, webhook_id)
            await _audit(conn, caller, origin, "DELETE", webhook_id, before, None)
        return webhooks.shown(before)

    async def list_all(self) -> list[Webhook]:
        """Every webhook, by name."""
        async with self._database.connection() as conn:
            return [webhooks.shown(webhook) for webhook in await webhooks.list_all(conn)]

    async def send_test(self, webhook_id: UUID) -> Delivery:
        """A message that tells nothing, sent like any other; :meth:`deliveries` shows whether it arrived.

        :raises NotFound: there is no such webhook.
        """
        now = self._clock()
        async with self._database.transaction() as conn:
            webhook = _found(await webhooks.lock(conn, webhook_id))
            delivery = await deliveries.queue_one(conn, webhook_id, Event.TEST, test_message(webhook.name, now), now)
        assert delivery is not None
        return delivery

    async def deliveries(self, webhook_id: UUID, *, limit: int, offset: int) -> tuple[list[Delivery], int]:
        """One page of a webhook's messages, newest first, and how many there are.

        :raises NotFound: there is no such webhook.
        """
        async with self._database.connection() as conn:
            _found(await webhooks.get(conn, webhook_id))
            return await deliveries.list_page(conn, webhook_id, limit=limit, offset=offset)

    async def deliver_due(self) -> int:
        """Send what is due; returns how many messages arrived.

        A message is leased while it is sent: a worker that dies with it costs a delay, and the receiver may get it
        twice, with the same ``webhook-id``.
        """
        if self._signing_key is None:
            return 0
        arrived = 0
        while True:
            now = self._clock()
            async with self._database.connection() as conn:
                due = await deliveries.claim(conn, now, now + _LEASE, _AT_ONCE)
            outcomes = await asyncio.gather(*(self._deliver(delivery) for delivery in due))
            arrived += sum(outcomes)
            if len(due) < _AT_ONCE:
                return arrived

    async def _deliver(self, delivery: DueDelivery) -> bool:
        body, now = orjson.dumps(delivery.payload), self._clock()
        signed = headers(delivery.id, now, body, self._secrets(delivery))
        outcome = await post(delivery.url, body, signed, allow_private=self._allow_private)
        ended = self._clock()
        again = None if outcome.arrived else next_attempt(delivery.attempts, ended)
        async with self._database.connection() as conn:
            await deliveries.settle(
                conn,
                delivery.id,
                delivered_at=ended if outcome.arrived else None,
                next_attempt_at=again,
                status=outcome.status,
                error=outcome.error,
            )
        if outcome.arrived:
            await self._alerts.clear(_cause(delivery.webhook_id))
        elif again is None:
            await self._alerts.report(_given_up(delivery, outcome))
        return outcome.arrived

    def _secrets(self, delivery: DueDelivery) -> list[bytes]:
        """The secret, and the one before it as long as receivers may still change over."""
        versions = [delivery.secret_version]
        if delivery.rotated_at is not None and self._clock() - delivery.rotated_at < BOTH_SECRETS_SIGN:
            versions.append(delivery.secret_version - 1)
        return [derive_secret(self._key(), delivery.webhook_id, version) for version in versions]

    def _key(self) -> str:
        if self._signing_key is None:
            raise Conflict("webhooks are off: the app has no WEBHOOK_SIGNING_KEY")
        return self._signing_key


def _cause(webhook_id: UUID) -> str:
    return f"webhook:{webhook_id}"


def _given_up(delivery: DueDelivery, outcome: Outcome) -> Signal:
    return Signal(
        cause=_cause(delivery.webhook_id),
        source=Source.SYSTEM,
        alert_type="WEBHOOK",
        severity=Severity.WARNING,
        title=f"Messages do not reach the webhook {delivery.webhook_name}",
        description=f"A message was given up after {delivery.attempts} attempts: {outcome.error}.",
        details={"event": delivery.event, "attempts": delivery.attempts, "status": outcome.status},
    )


def _found(webhook: StoredWebhook | None) -> StoredWebhook:
    if webhook is None:
        raise NotFound("no webhook has this id", target="webhook_id")
    return webhook


def _taken(settings: WebhookSettings) -> Conflict:
    return Conflict(f"there is a webhook named {settings.name!r} already", target="name")


async def _audit(
    conn: Connection,
    caller: Caller,
    origin: Origin,
    action: str,
    webhook_id: UUID,
    old: WebhookSettings | None,
    new: WebhookSettings | None,
) -> None:
    def told(settings: WebhookSettings | None) -> dict[str, Any] | None:
        if settings is None:
            return None
        document = settings.model_dump(mode="json", include=set(WebhookSettings.model_fields))
        return {**document, "url": hidden(settings.url)}

    await audit.record(
        conn,
        origin,
        caller,
        action=action,
        resource_type="alert_webhook",
        resource_id=webhook_id,
        old=told(old),
        new=told(new),
    )
