"""Rules on a real database."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from shared.alerts.model import Alert, AlertStatus
from shared.alerts.rule_service import RuleService
from shared.alerts.rules import Observation, RuleSettings
from shared.alerts.service import AlertService
from shared.audit.model import Origin
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.platform.errors import Conflict, InvalidContent, NotFound
from shared.users.model import Caller

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def rules(database: Database) -> RuleService:
    return RuleService(database, utc_now)


@pytest.fixture
def alerts(database: Database) -> AlertService:
    return AlertService(database, utc_now)


@pytest.fixture
async def model_id(database: Database) -> UUID:
    identifier = uuid4()
    async with database.connection() as conn:
        await conn.execute(
            "INSERT INTO ml_models (id, name, version, algorithm, hyperparameters, storage_path, metrics, status)"
            " VALUES (%s, 'm', '1.0', 'xgboost', '{}', 'models/m', '{}', 'TRAINED')",
            (identifier,),
        )
    return identifier


def settings(**given: object) -> RuleSettings:
    return RuleSettings.model_validate(
        {"name": "psi of any feature", "metric": "psi", "operator": "gte", "threshold": 0.25, **given}
    )


def window(model_id: UUID, number: int, value: float, subject: str | None = "amount") -> Observation:
    return Observation("psi", value, model_id, START + timedelta(hours=number), subject)


async def _alerts(alerts: AlertService) -> list[Alert]:
    found, _ = await alerts.list_page()
    return found


async def test_a_broken_rule_is_one_alert_for_each_subject(
    rules: RuleService, alerts: AlertService, model_id: UUID, system: Caller, origin: Origin
) -> None:
    """Windows refresh it; another feature has its own."""
    rule = await rules.create(settings(auto_retrain=True), caller=system, origin=origin)
    for number in range(3):
        await rules.observe([window(model_id, number, 0.3), window(model_id, number, 0.4, "country")])
    found = await _alerts(alerts)
    assert sorted((alert.details or {})["subject"] for alert in found) == ["amount", "country"]
    assert {(alert.occurrences, alert.rule_id, alert.retraining_requested) for alert in found} == {(3, rule.id, True)}


async def test_a_rule_may_want_several_windows_in_a_row(
    rules: RuleService, alerts: AlertService, model_id: UUID, system: Caller, origin: Origin
) -> None:
    """One that is kept in between begins the count anew, and as many quiet ones resolve the alert."""
    await rules.create(settings(windows=2), caller=system, origin=origin)
    for number, value in enumerate([0.3, 0.1, 0.3]):
        await rules.observe([window(model_id, number, value)])
    assert await _alerts(alerts) == []
    await rules.observe([window(model_id, 3, 0.3)])
    await rules.observe([window(model_id, 4, 0.1)])
    (alert,) = await _alerts(alerts)
    assert (alert.status, alert.quiet_windows) == (AlertStatus.ACTIVE, 1)
    await rules.observe([window(model_id, 5, 0.1)])
    (alert,) = await _alerts(alerts)
    assert alert.status is AlertStatus.RESOLVED


async def test_a_window_counts_once(
    rules: RuleService, alerts: AlertService, model_id: UUID, system: Caller, origin: Origin
) -> None:
    """Told again, or by two workers at once, it changes nothing; nor does one that lies before the last."""
    await rules.create(settings(windows=2), caller=system, origin=origin)
    await asyncio.gather(*(rules.observe([window(model_id, 1, 0.3)]) for _ in range(8)))
    await rules.observe([window(model_id, 0, 0.3)])
    assert await _alerts(alerts) == []
    await rules.observe([window(model_id, 2, 0.3)])
    assert len(await _alerts(alerts)) == 1


async def test_a_rule_cools_down_after_its_alert_was_closed(
    rules: RuleService, alerts: AlertService, model_id: UUID, system: Caller, origin: Origin
) -> None:
    """No second alert within the time, though the rule is still broken."""
    await rules.create(settings(cool_down_minutes=60), caller=system, origin=origin)
    await rules.observe([window(model_id, 1, 0.3)])
    (alert,) = await _alerts(alerts)
    await alerts.close(alert.id, AlertStatus.DISMISSED, "known", caller=system, origin=origin)
    await rules.observe([window(model_id, 2, 0.3)])
    assert len(await _alerts(alerts)) == 1
    later = RuleService(rules._database, lambda: utc_now() + timedelta(hours=2))
    await later.observe([window(model_id, 3, 0.3)])
    assert [found.status for found in await _alerts(alerts)] == [AlertStatus.ACTIVE, AlertStatus.DISMISSED]


async def test_rules_that_are_switched_off_or_deleted_watch_nothing(
    rules: RuleService, alerts: AlertService, model_id: UUID, system: Caller, origin: Origin
) -> None:
    """An alert that a deleted rule has raised stays."""
    rule = await rules.create(settings(), caller=system, origin=origin)
    await rules.observe([window(model_id, 1, 0.3)])
    await rules.replace(rule.id, settings(is_active=False), caller=system, origin=origin)
    await rules.observe([window(model_id, 2, 0.3, "country")])
    await rules.delete(rule.id, caller=system, origin=origin)
    (alert,) = await _alerts(alerts)
    assert (alert.status, alert.rule_id) == (AlertStatus.ACTIVE, None)
    with pytest.raises(NotFound):
        await rules.get(rule.id)


async def test_a_name_is_given_once(rules: RuleService, system: Caller, origin: Origin) -> None:
    """Making and renaming alike."""
    await rules.create(settings(), caller=system, origin=origin)
    other = await rules.create(settings(name="other"), caller=system, origin=origin)
    with pytest.raises(Conflict):
        await rules.create(settings(), caller=system, origin=origin)
    with pytest.raises(Conflict):
        await rules.replace(other.id, settings(), caller=system, origin=origin)
    assert (await rules.list_page(metric="psi", model_id=None, is_active=True, limit=10, offset=0))[1] == 2


async def test_a_rule_for_no_model_is_refused(rules: RuleService, system: Caller, origin: Origin) -> None:
    """With the field's name, and nothing is kept."""
    with pytest.raises(InvalidContent) as refused:
        await rules.create(settings(model_id=uuid4()), caller=system, origin=origin)
    assert refused.value.target == "model_id"
    assert (await rules.list_page(metric=None, model_id=None, is_active=None, limit=10, offset=0))[1] == 0


async def test_changes_of_rules_are_audited(
    rules: RuleService, database: Database, system: Caller, origin: Origin
) -> None:
    """With old and new settings."""
    rule = await rules.create(settings(), caller=system, origin=origin)
    await rules.replace(rule.id, settings(threshold=0.5), caller=system, origin=origin)
    await rules.delete(rule.id, caller=system, origin=origin)
    async with database.connection() as conn:
        cursor = await conn.execute(
            "SELECT action, old_values ->> 'threshold' AS old, new_values ->> 'threshold' AS new FROM audit_logs"
            " WHERE resource_id = %s ORDER BY created_at",
            (rule.id,),
        )
        entries = [tuple(row.values()) for row in await cursor.fetchall()]
    assert entries == [("CREATE", None, "0.25"), ("UPDATE", "0.25", "0.5"), ("DELETE", "0.5", None)]
