"""Messages of alerts, from a real database to a real receiver."""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest
from aiohttp import web

from shared.alerts.model import AlertFilter, AlertStatus, Severity, Signal, Source
from shared.alerts.service import AlertService
from shared.alerts.webhook_service import WebhookService
from shared.alerts.webhooks import RETRIES, WebhookSettings
from shared.audit.model import Origin
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.platform.errors import Conflict, InvalidContent, NotFound
from shared.users.model import Caller

SIGNAL = Signal("disk:7", Source.SYSTEM, "DISK", Severity.WARNING, "The disk <fills> up", "90 % of it is used.")
KEY = "a-signing-key-of-thirty-two-chars"


@dataclass
class Received:
    """One request that the receiver got."""

    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        return orjson.loads(self.body)

    def signed_with(self, secret: str) -> bool:
        """Whether one of the signatures is of this secret."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + self.body
        expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return expected in self.headers["webhook-signature"].split()


@dataclass
class Receiver:
    """Answers with ``status``, and keeps what it gets."""

    url: str = ""
    status: int = 204
    received: list[Received] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(headers, await request.read()))
        return web.Response(status=self.status, headers={"location": f"{self.url}/elsewhere"})


@dataclass
class Time:
    """A clock that is set by hand."""

    passed: timedelta = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self.passed


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_post("/{path:.*}", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def alerts(database: Database, clock: Time) -> AlertService:
    return AlertService(database, clock)


@pytest.fixture
def webhooks(database: Database, alerts: AlertService, clock: Time) -> WebhookService:
    return WebhookService(database, alerts, clock, signing_key=KEY, allow_private=True)


def settings(receiver: Receiver, **given: Any) -> WebhookSettings:
    return WebhookSettings(**{"name": "pager", "url": f"{receiver.url}/hook/secret-path", **given})


async def test_an_alert_arrives_once_signed_and_ready_to_mail(
    webhooks: WebhookService, alerts: AlertService, receiver: Receiver, system: Caller, origin: Origin
) -> None:
    """Opening and resolving are told, refreshing is not."""
    webhook = await webhooks.create(settings(receiver), caller=system, origin=origin)
    assert webhook.secret is not None
    await alerts.report(SIGNAL)
    await alerts.report(SIGNAL)
    assert await webhooks.deliver_due() == 1
    await alerts.clear(SIGNAL.cause)
    assert await webhooks.deliver_due() == 1
    assert await webhooks.deliver_due() == 0
    opened, resolved = receiver.received
    assert [message.document["type"] for message in receiver.received] == ["alert.opened", "alert.resolved"]
    assert opened.signed_with(webhook.secret)
    assert resolved.signed_with(webhook.secret)
    assert opened.document["data"]["cause"] == SIGNAL.cause
    email = opened.document["email"]
    assert email["subject"] == "[WARNING] The disk <fills> up (opened)"
    assert "Severity: WARNING" in email["text"]


async def test_a_message_is_tried_again_until_it_arrives(
    webhooks: WebhookService, alerts: AlertService, receiver: Receiver, clock: Time, system: Caller, origin: Origin
) -> None:
    """Under the same id, later and later."""
    webhook = await webhooks.create(settings(receiver), caller=system, origin=origin)
    await alerts.report(SIGNAL)
    receiver.status = 500
    assert await webhooks.deliver_due() == 0
    assert await webhooks.deliver_due() == 0
    assert len(receiver.received) == 1
    receiver.status = 200
    clock.passed += RETRIES[0]
    assert await webhooks.deliver_due() == 1
    first, second = receiver.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    ((delivery,), total) = await webhooks.deliveries(webhook.id, limit=10, offset=0)
    assert (total, delivery.attempts, delivery.last_status, delivery.next_attempt_at) == (1, 2, 200, None)
    assert delivery.delivered_at is not None


async def test_a_message_that_never_arrives_is_given_up_and_told(
    webhooks: WebhookService, alerts: AlertService, receiver: Receiver, clock: Time, system: Caller, origin: Origin
) -> None:
    """By an alert, which this webhook is not told of, and which goes when something arrives."""
    webhook = await webhooks.create(settings(receiver), caller=system, origin=origin)
    await alerts.report(SIGNAL)
    receiver.status = 503
    for pause in (*RETRIES, timedelta(days=1)):
        await webhooks.deliver_due()
        clock.passed += pause
    assert len(receiver.received) == len(RETRIES) + 1
    found, _ = await alerts.list_page(AlertFilter(status=AlertStatus.ACTIVE))
    assert {alert.cause for alert in found} == {SIGNAL.cause, f"webhook:{webhook.id}"}
    assert await webhooks.deliver_due() == 0
    receiver.status = 200
    await webhooks.send_test(webhook.id)
    assert await webhooks.deliver_due() == 1
    assert receiver.received[-1].document["type"] == "webhook.test"
    found, _ = await alerts.list_page(AlertFilter(status=AlertStatus.RESOLVED))
    assert [alert.cause for alert in found] == [f"webhook:{webhook.id}"]


async def test_redirects_are_not_followed(
    webhooks: WebhookService, alerts: AlertService, receiver: Receiver, system: Caller, origin: Origin
) -> None:
    """They would carry the message to where nobody agreed to."""
    webhook = await webhooks.create(settings(receiver), caller=system, origin=origin)
    receiver.status = 307
    await alerts.report(SIGNAL)
    assert await webhooks.deliver_due() == 0
    assert len(receiver.received) == 1
    ((delivery,), _) = await webhooks.deliveries(webhook.id, limit=10, offset=0)
    assert delivery.last_error == "the receiver answered 307"


async def test_only_what_a_webhook_wants_is_sent(
    webhooks: WebhookService, alerts: AlertService, receiver: Receiver, system: Caller, origin: Origin
) -> None:
    """By severity, by source, and only while it is active; an alert that becomes worse is told then."""
    wanted = settings(receiver, minimum_severity="CRITICAL", source_types=["DRIFT"])
    webhook = await webhooks.create(wanted, caller=system, origin=origin)
    drift = replace(SIGNAL, cause="drift:1", source=Source.DRIFT)
    await alerts.report(replace(SIGNAL, severity=Severity.CRITICAL))
    await alerts.report(drift)
    assert await webhooks.deliver_due() == 0
    await alerts.report(replace(drift, severity=Severity.CRITICAL))
    assert await webhooks.deliver_due() == 1
    assert receiver.received[0].document["type"] == "alert.escalated"
    await webhooks.replace(webhook.id, settings(receiver, is_active=False), caller=system, origin=origin)
    await alerts.report(replace(drift, cause="drift:2", severity=Severity.CRITICAL))
    assert await webhooks.deliver_due() == 0


async def test_two_workers_do_not_send_a_message_twice(
    webhooks: WebhookService, alerts: AlertService, receiver: Receiver, system: Caller, origin: Origin
) -> None:
    """What one has taken the other leaves."""
    await webhooks.create(settings(receiver), caller=system, origin=origin)
    for number in range(30):
        await alerts.report(replace(SIGNAL, cause=f"disk:{number}"))
    assert sum(await asyncio.gather(*(webhooks.deliver_due() for _ in range(4)))) == 30
    assert len({message.headers["webhook-id"] for message in receiver.received}) == len(receiver.received) == 30


async def test_for_a_day_after_a_rotation_both_secrets_sign(
    webhooks: WebhookService, receiver: Receiver, clock: Time, system: Caller, origin: Origin
) -> None:
    """Then only the new one."""
    old = await webhooks.create(settings(receiver), caller=system, origin=origin)
    new = await webhooks.rotate(old.id, caller=system, origin=origin)
    assert old.secret != new.secret
    for _ in range(2):
        await webhooks.send_test(old.id)
        await webhooks.deliver_due()
        clock.passed += timedelta(hours=25)
    assert old.secret is not None
    assert new.secret is not None
    assert [message.signed_with(old.secret) for message in receiver.received] == [True, False]
    assert all(message.signed_with(new.secret) for message in receiver.received)


async def test_neither_secret_nor_path_is_stored_or_shown(
    webhooks: WebhookService, database: Database, receiver: Receiver, system: Caller, origin: Origin
) -> None:
    """Of the URL people and the audit log see the host alone."""
    made = await webhooks.create(settings(receiver), caller=system, origin=origin)
    (listed,) = await webhooks.list_all()
    assert (listed.secret, listed.url) == (None, f"{receiver.url}/…")
    async with database.connection() as conn:
        cursor = await conn.execute(
            "SELECT new_values::text AS text FROM audit_logs WHERE resource_id = %s", (made.id,)
        )
        told = "".join([row["text"] for row in await cursor.fetchall()])
    assert "pager" in told
    assert "secret-path" not in told
    assert made.secret is not None
    assert made.secret not in told


async def test_what_cannot_be_is_refused(
    webhooks: WebhookService,
    alerts: AlertService,
    database: Database,
    receiver: Receiver,
    system: Caller,
    origin: Origin,
) -> None:
    """A name that is taken, a webhook that is gone, an app without a key, a private address where none is allowed."""
    made = await webhooks.create(settings(receiver), caller=system, origin=origin)
    with pytest.raises(Conflict):
        await webhooks.create(settings(receiver), caller=system, origin=origin)
    await webhooks.delete(made.id, caller=system, origin=origin)
    with pytest.raises(NotFound):
        await webhooks.send_test(made.id)
    with pytest.raises(NotFound):
        await webhooks.rotate(UUID(int=0), caller=system, origin=origin)
    without = WebhookService(database, alerts, utc_now, signing_key=None, allow_private=True)
    with pytest.raises(Conflict, match="WEBHOOK_SIGNING_KEY"):
        await without.create(settings(receiver), caller=system, origin=origin)
    public = WebhookService(database, alerts, utc_now, signing_key=KEY, allow_private=False)
    with pytest.raises(InvalidContent):
        await public.create(settings(receiver), caller=system, origin=origin)
