"""Bias of what was predicted, on a real database."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from shared.alerts.model import AlertFilter, AlertStatus
from shared.alerts.rule_service import RuleService
from shared.audit.model import Origin
from shared.monitoring.bias_model import AuditRequest, NewProtectedAttribute
from shared.monitoring.bias_service import BiasService
from shared.monitoring.level import Level
from shared.monitoring.report.bias_page import render_bias_report
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.platform.errors import Conflict, InvalidContent, NotFound
from shared.training.artifacts import load_artifact
from shared.users.model import Caller
from tests.fixtures.artifacts import packed_model
from tests.fixtures.monitoring import GENDER as GROUPS
from tests.fixtures.monitoring import Monitored, some_transactions

NOW = datetime.now(UTC).replace(minute=30, second=0, microsecond=0)
GENDER = NewProtectedAttribute(attribute_name="gender", column_name="gender", groups=["F", "M"])


@pytest.fixture
async def monitored(database: Database, blobs: BlobStore) -> Monitored:
    model = Monitored(database, blobs)
    model.artifact = packed_model(groups=(GROUPS,), model_id=model.model_id, threshold=0.1)
    model.loaded = load_artifact(model.artifact.files, model.artifact.sha256)
    await model.register()
    return model


def bias_of(monitored: Monitored, **given: Any) -> BiasService:
    return BiasService(
        monitored.database,
        monitored.registry,
        monitored.references,
        monitored.windows,
        monitored.folding(now=NOW),
        monitored.alerts,
        RuleService(monitored.database, utc_now),
        utc_now,
        **{"window": timedelta(days=2), "maturity": timedelta(0), **given},
    )


async def predict(monitored: Monitored, rows: int, *, unlike: bool) -> None:
    """Labelled predictions of the last day; where groups are treated unlike, women pay by bank more often."""
    rng = np.random.default_rng(2)
    transactions = some_transactions(rng, rows)
    for each in transactions:
        # This model flags what is paid by bank.
        often = 0.6 if unlike and each["gender"] == "F" else 0.2
        each["kind"] = "bank" if rng.random() < often else "card"
    moments = [NOW - timedelta(hours=3, seconds=int(s)) for s in rng.integers(0, 60_000, rows)]
    made = await monitored.predict(transactions, moments)
    async with monitored.database.connection() as conn:
        for identifier, fraud in zip(made, rng.random(rows) < 0.1, strict=True):
            await conn.execute(
                "UPDATE predictions SET actual_label = %s, labeled_at = now() WHERE id = %s", (bool(fraud), identifier)
            )
        await conn.execute(
            "INSERT INTO prediction_labels (prediction_id, prediction_created_at, model_id, is_fraud, labeled_at,"
            " source) SELECT id, created_at, model_id, actual_label, labeled_at, 'test' FROM predictions"
        )


async def test_a_gap_is_found_stored_and_told_until_it_is_gone(
    monitored: Monitored, system: Caller, origin: Origin
) -> None:
    """With the rate of each group and the rows behind it; one alert, refreshed."""
    service = bias_of(monitored)
    await service.register(GENDER, caller=system, origin=origin)
    await predict(monitored, 1500, unlike=True)
    for _ in range(2):
        assert await service.check() == 1
    found = await service.list_metrics(
        None, {"attribute": None, "metric": "demographic_parity_diff", "status": None},
        before=(datetime(9999, 1, 1, tzinfo=UTC), UUID(int=2**128 - 1)), limit=10,
    )  # fmt: skip
    (gap,) = found
    assert gap.status is Level.CRITICAL
    assert gap.interval_low is not None
    assert gap.threshold_used is not None
    assert gap.overall_value > gap.interval_low > gap.threshold_used
    assert gap.group_values["F"] > gap.group_values["M"]
    assert sum((gap.group_sizes or {}).values()) == 1500
    alerts, _ = await monitored.alerts.list_page(AlertFilter(status=AlertStatus.ACTIVE))
    assert [(alert.cause, alert.occurrences) for alert in alerts] == [(f"bias:{monitored.model_id}:gender", 2)]


async def test_alike_groups_are_no_alert(monitored: Monitored, system: Caller, origin: Origin) -> None:
    """Figures are stored all the same."""
    service = bias_of(monitored)
    await service.register(GENDER, caller=system, origin=origin)
    await predict(monitored, 1500, unlike=False)
    await service.check()
    found = await service.list_metrics(
        None, {"attribute": "gender", "metric": None, "status": None},
        before=(datetime(9999, 1, 1, tzinfo=UTC), UUID(int=2**128 - 1)), limit=10,
    )  # fmt: skip
    assert {each.status for each in found} == {Level.OK}
    assert {each.metric_name for each in found} >= {"demographic_parity_diff", "equalized_odds_diff", "fpr_diff"}
    _, total = await monitored.alerts.list_page()
    assert total == 0


async def test_an_audit_counts_what_the_rows_say(monitored: Monitored, system: Caller, origin: Origin) -> None:
    """Rates equal those of plain counting in the database; the page renders them; nothing is stored."""
    service = bias_of(monitored)
    await service.register(GENDER, caller=system, origin=origin)
    await predict(monitored, 800, unlike=True)
    await monitored.folding(now=NOW).fold_all()
    report = await service.audit(AuditRequest(model_id=monitored.model_id))
    (gender,) = report.attributes
    async with monitored.database.connection() as conn:
        cursor = await conn.execute(
            "SELECT input_features #>> '{transaction,gender}' AS gender, avg(is_fraud::int) AS flagged,"
            " avg(is_fraud::int) FILTER (WHERE NOT actual_label) AS fpr, count(*) AS rows FROM predictions GROUP BY 1"
        )
        plain = {row["gender"]: row for row in await cursor.fetchall()}
    for group in gender.rates:
        expected = plain[group["group"]]
        assert group["rows"] == expected["rows"]
        assert group["selection_rate"] == pytest.approx(float(expected["flagged"]))
        assert group["fpr"] == pytest.approx(float(expected["fpr"]))
    page = render_bias_report(report).decode()
    assert "Bias audit" in page
    assert "<script" not in page
    assert "equalized_odds_diff" in page
    async with monitored.database.connection() as conn:
        stored = await (await conn.execute("SELECT count(*) AS n FROM bias_metrics")).fetchone()
    assert stored == {"n": 0}


async def test_attributes_that_the_model_does_not_know_are_named(
    monitored: Monitored, system: Caller, origin: Origin
) -> None:
    """They cannot be counted, and the report says so."""
    service = bias_of(monitored)
    unknown = NewProtectedAttribute(attribute_name="faith", column_name="faith", groups=["a", "b"])
    await service.register(unknown, caller=system, origin=origin)
    await predict(monitored, 50, unlike=False)
    await monitored.folding(now=NOW).fold_all()
    report = await service.audit(AuditRequest())
    assert (report.attributes, report.unknown) == ([], ["faith"])
    assert "faith" in render_bias_report(report).decode()


async def test_registering_is_audited_and_names_are_given_once(
    monitored: Monitored, system: Caller, origin: Origin
) -> None:
    """Changes too; one that is switched off is not looked at."""
    service = bias_of(monitored)
    made = await service.register(GENDER, caller=system, origin=origin)
    with pytest.raises(Conflict):
        await service.register(GENDER, caller=system, origin=origin)
    changed = await service.replace(
        made.id,
        GENDER.model_copy(update={"thresholds": {"fpr_diff": 0.2}}),
        is_active=False,
        caller=system,
        origin=origin,
    )
    assert (changed.is_active, changed.limits()["fpr_diff"].at_most) == (False, 0.2)
    with pytest.raises(NotFound):
        await service.replace(UUID(int=0), GENDER, is_active=True, caller=system, origin=origin)
    async with monitored.database.connection() as conn:
        cursor = await conn.execute(
            "SELECT action FROM audit_logs WHERE resource_id = %s ORDER BY created_at", (made.id,)
        )
        assert [row["action"] for row in await cursor.fetchall()] == ["CREATE", "UPDATE"]


async def test_periods_that_make_no_sense_are_refused(monitored: Monitored) -> None:
    """Nothing counted yet, a period that has not come, one that is too long."""
    service = bias_of(monitored)
    with pytest.raises(Conflict):
        await service.audit(AuditRequest())
    await predict(monitored, 50, unlike=False)
    await monitored.folding(now=NOW).fold_all()
    hour = NOW.replace(minute=0)
    with pytest.raises(InvalidContent):
        await service.audit(AuditRequest(period_start=hour + timedelta(hours=5)))
    with pytest.raises(InvalidContent):
        await service.audit(AuditRequest(period_start=hour - timedelta(days=400)))
