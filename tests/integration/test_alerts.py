"""Alerts on a real database."""

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest

from shared.alerts.model import Alert, AlertFilter, AlertStatus, Severity, Signal, Source
from shared.alerts.service import AlertService
from shared.audit.model import Origin
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.platform.errors import Conflict, NotFound
from shared.training.service import TrainingService
from shared.users.model import Caller

SIGNAL = Signal(
    cause="disk:7",
    source=Source.SYSTEM,
    alert_type="DISK",
    severity=Severity.WARNING,
    title="The disk fills up",
    description="90 % of it is used.",
    details={"used": 0.9},
)


@pytest.fixture
def alerts(database: Database) -> AlertService:
    return AlertService(database, utc_now)


async def _all(alerts: AlertService, status: AlertStatus | None = None) -> list[Alert]:
    found, total = await alerts.list_page(AlertFilter(status=status))
    assert total == len(found)
    return found


async def test_one_cause_is_one_alert(alerts: AlertService) -> None:
    """Twenty workers that notice the same thing at once leave one alert that says how often."""
    await asyncio.gather(*(alerts.report(SIGNAL) for _ in range(20)))
    (alert,) = await _all(alerts)
    assert (alert.status, alert.occurrences) == (AlertStatus.ACTIVE, 20)
    assert alert.last_seen_at is not None
    assert alert.last_seen_at >= alert.created_at


async def test_an_open_alert_follows_its_cause(alerts: AlertService) -> None:
    """Severity rises and does not fall, the words are those of the last signal."""
    for severity in (Severity.WARNING, Severity.CRITICAL, Severity.INFO):
        await alerts.report(replace(SIGNAL, severity=severity, description=f"now {severity.value}"))
    (alert,) = await _all(alerts)
    assert (alert.severity, alert.description) == (Severity.CRITICAL, "now INFO")


async def test_an_acknowledged_alert_is_refreshed_and_stays_acknowledged(
    alerts: AlertService, system: Caller, origin: Origin
) -> None:
    """Somebody looks after it already, so nobody is called again."""
    await alerts.report(SIGNAL)
    (alert,) = await _all(alerts)
    await alerts.acknowledge(alert.id, caller=system, origin=origin)
    await alerts.report(SIGNAL)
    (again,) = await _all(alerts)
    assert (again.id, again.status, again.occurrences) == (alert.id, AlertStatus.ACKNOWLEDGED, 2)


async def test_a_cause_that_comes_back_opens_a_new_alert(alerts: AlertService, system: Caller, origin: Origin) -> None:
    """What was resolved stays resolved, with its notes."""
    await alerts.report(SIGNAL)
    (alert,) = await _all(alerts)
    await alerts.close(alert.id, AlertStatus.RESOLVED, "cleaned up", caller=system, origin=origin)
    await alerts.report(SIGNAL)
    assert len(await _all(alerts, AlertStatus.ACTIVE)) == 1
    (resolved,) = await _all(alerts, AlertStatus.RESOLVED)
    assert (resolved.id, resolved.resolution_notes) == (alert.id, "cleaned up")


async def test_a_cause_that_is_gone_resolves_its_alert(alerts: AlertService) -> None:
    """And only that one; where nothing is open nothing happens."""
    other = replace(SIGNAL, cause="disk:8")
    await alerts.report(SIGNAL)
    await alerts.report(other)
    for _ in range(2):
        await alerts.clear(SIGNAL.cause)
    assert {alert.cause: alert.status for alert in await _all(alerts)} == {
        SIGNAL.cause: AlertStatus.RESOLVED,
        other.cause: AlertStatus.ACTIVE,
    }


async def test_a_settled_alert_cannot_be_settled_again(alerts: AlertService, system: Caller, origin: Origin) -> None:
    """It is a conflict, and its notes stay."""
    await alerts.report(SIGNAL)
    (alert,) = await _all(alerts)
    await alerts.close(alert.id, AlertStatus.DISMISSED, "a test", caller=system, origin=origin)
    with pytest.raises(Conflict, match="the alert is DISMISSED; it stays so"):
        await alerts.close(alert.id, AlertStatus.RESOLVED, "again", caller=system, origin=origin)
    assert (await alerts.get(alert.id)).resolution_notes == "a test"


async def test_every_decision_is_audited(
    alerts: AlertService, database: Database, system: Caller, origin: Origin
) -> None:
    """In the transaction that made it."""
    await alerts.report(SIGNAL)
    (alert,) = await _all(alerts)
    await alerts.acknowledge(alert.id, caller=system, origin=origin)
    await alerts.close(alert.id, AlertStatus.RESOLVED, "cleaned up", caller=system, origin=origin)
    async with database.connection() as conn:
        cursor = await conn.execute(
            "SELECT old_values, new_values FROM audit_logs WHERE resource_id = %s ORDER BY created_at", (alert.id,)
        )
        steps = [(row["old_values"]["status"], row["new_values"]["status"]) for row in await cursor.fetchall()]
    assert steps == [("ACTIVE", "ACKNOWLEDGED"), ("ACKNOWLEDGED", "RESOLVED")]


async def test_an_unknown_alert_is_not_found(alerts: AlertService, system: Caller, origin: Origin) -> None:
    """Reading and settling alike."""
    with pytest.raises(NotFound):
        await alerts.get(uuid4())
    with pytest.raises(NotFound):
        await alerts.acknowledge(uuid4(), caller=system, origin=origin)


async def test_a_job_that_fails_is_an_alert(database: Database, blobs: BlobStore, alerts: AlertService) -> None:
    """Raised with the end of the job, once, with the reason that the job keeps."""
    dataset_id, set_id, job_id = uuid4(), uuid4(), uuid4()
    async with database.connection() as conn:
        await conn.execute(
            "INSERT INTO datasets (id, name, storage_path, status) VALUES (%s, 'd', 'p', 'ACTIVE')", (dataset_id,)
        )
        await conn.execute(
            "INSERT INTO feature_sets (id, dataset_id, name, config, status) VALUES (%s, %s, 's', '{}', 'COMPLETED')",
            (set_id, dataset_id),
        )
        await conn.execute(
            "INSERT INTO training_jobs (id, name, feature_set_id, algorithm, hyperparameters, status, threshold_policy)"
            " VALUES (%s, 'nightly', %s, 'xgboost', '{}', 'RUNNING', jsonb_build_object('type', 'max_f1'))",
            (job_id, set_id),
        )
    training = TrainingService(database, blobs, utc_now)
    for _ in range(2):
        await training.stages.fail(job_id, "labels must be 0 or 1")
    (alert,) = await _all(alerts)
    assert (alert.title, alert.description) == ("The training job nightly failed", "labels must be 0 or 1")
    assert alert.occurrences == 1
