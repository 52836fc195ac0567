"""Performance of what was predicted, on a real database."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from psycopg.types.json import Jsonb

from shared.alerts.rule_service import RuleService
from shared.alerts.rules import RuleSettings
from shared.audit.model import Origin
from shared.monitoring.level import Level
from shared.monitoring.performance_service import PerformanceService
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.platform.errors import Conflict
from shared.registry.rules import NewBaseline, Operator
from shared.training.artifacts import load_artifact
from shared.users.model import Caller
from tests.fixtures.artifacts import packed_model
from tests.fixtures.monitoring import GENDER, Monitored, some_transactions

NOW = datetime.now(UTC).replace(minute=30, second=0, microsecond=0)


@pytest.fixture
async def monitored(database: Database, blobs: BlobStore) -> Monitored:
    """A model that flags what is paid by bank, and has promised a recall and precision of 0.9."""
    model = Monitored(database, blobs)
    model.artifact = packed_model(groups=(GENDER,), model_id=model.model_id, threshold=0.1)
    model.loaded = load_artifact(model.artifact.files, model.artifact.sha256)
    await model.register()
    async with database.connection() as conn:
        promised = Jsonb({"recall": 0.9, "precision": 0.9, "auc_roc": 0.9})
        await conn.execute("UPDATE ml_models SET metrics = %s", (promised,))
    return model


def performance_of(monitored: Monitored, **given: Any) -> PerformanceService:
    return PerformanceService(
        monitored.database,
        monitored.registry,
        monitored.references,
        monitored.windows,
        monitored.folding(now=NOW),
        monitored.alerts,
        RuleService(monitored.database, utc_now),
        utc_now,
        **{"window": timedelta(days=5), "maturity": timedelta(0), **given},
    )


async def predict(monitored: Monitored, rows: int, *, found: float) -> None:
    """Labelled predictions, one in ten of them fraud; of the frauds this share was paid by bank, and is flagged."""
    rng = np.random.default_rng(2)
    transactions, labels = some_transactions(rng, rows), rng.random(rows) < 0.1
    for each, fraud in zip(transactions, labels, strict=True):
        each["kind"] = "bank" if fraud and rng.random() < found else "card"
    moments = [NOW - timedelta(hours=3, seconds=int(s)) for s in rng.integers(0, 300_000, rows)]
    made = await monitored.predict(transactions, moments)
    async with monitored.database.connection() as conn:
        for identifier, fraud in zip(made, labels, strict=True):
            await conn.execute(
                "UPDATE predictions SET actual_label = %s, labeled_at = created_at + interval '36 hours' WHERE id = %s",
                (bool(fraud), identifier),
            )
        await conn.execute(
            "INSERT INTO prediction_labels (prediction_id, prediction_created_at, model_id, is_fraud, labeled_at,"
            " source) SELECT id, created_at, model_id, actual_label, labeled_at, 'test' FROM predictions"
        )


async def test_figures_are_those_of_the_rows(monitored: Monitored) -> None:
    """Recall and precision as plain counting has them, labels after a day and a half, latency as stored."""
    await predict(monitored, 1200, found=0.8)
    await monitored.folding(now=NOW).fold_all()
    shown = await performance_of(monitored).look(monitored.model_id)
    async with monitored.database.connection() as conn:
        cursor = await conn.execute(
            "SELECT count(*) FILTER (WHERE actual_label) AS frauds,"
            " avg(is_fraud::int) FILTER (WHERE actual_label) AS recall FROM predictions"
        )
        plain = await cursor.fetchone()
    assert plain is not None
    figures = {each.metric: each for each in shown.figures}
    assert (shown.labelled, shown.frauds) == (1200, plain["frauds"])
    assert figures["recall"].value == pytest.approx(float(plain["recall"]))
    assert figures["precision"].value == 1
    assert [(point.days, point.share) for point in shown.maturity] == [(1, 1.0)]
    assert 7 <= (shown.latency_ms["p99"] or 0) <= 9
    assert sum(week.rows for week in shown.weeks) == 1200
    assert all(week.week.weekday() == 0 for week in shown.weeks)


async def test_a_model_that_does_worse_is_told_until_it_does_not(
    monitored: Monitored, system: Caller, origin: Origin
) -> None:
    """Stored as concept drift, one alert, and rules see the figures."""
    service = performance_of(monitored)
    rules = RuleService(monitored.database, utc_now)
    rule = RuleSettings(name="recall", metric="recall", operator="lt", threshold=0.7, auto_retrain=True)
    await rules.create(rule, caller=system, origin=origin)
    await predict(monitored, 1500, found=0.4)
    for _ in range(2):
        assert await service.check() == 1
    async with monitored.database.connection() as conn:
        cursor = await conn.execute(
            "SELECT metric_name, status, threshold_used FROM drift_metrics WHERE drift_type = 'CONCEPT'"
        )
        stored = {row["metric_name"]: row for row in await cursor.fetchall()}
    assert stored["recall"]["status"] == "CRITICAL"
    assert stored["recall"]["threshold_used"] == pytest.approx(0.855)
    assert stored["precision"]["status"] == "OK"
    alerts, _ = await monitored.alerts.list_page()
    kinds = {alert.alert_type: alert for alert in alerts}
    assert kinds["PERFORMANCE"].occurrences == 2
    assert kinds["RULE"].retraining_requested


async def test_few_labels_are_no_alert(monitored: Monitored) -> None:
    """Figures are shown, with how little they rest on, and nothing is concluded."""
    await predict(monitored, 60, found=0.0)
    assert await performance_of(monitored).check() == 1
    shown = await performance_of(monitored).look()
    assert (shown.enough, shown.status) == (False, Level.OK)
    assert (await monitored.alerts.list_page())[1] == 0


async def test_immature_weeks_are_not_judged(monitored: Monitored) -> None:
    """What is younger than the maturity is estimated only, and said to be so."""
    await predict(monitored, 600, found=0.1)
    await monitored.folding(now=NOW).fold_all()
    shown = await performance_of(monitored, maturity=timedelta(days=20)).look()
    assert (shown.labelled, shown.estimated_rows) == (0, 600)
    assert not any(week.mature for week in shown.weeks if week.rows)
    assert {each.metric for each in shown.estimated} == {"precision", "recall", "f1_score", "fpr", "auc_roc"}


async def test_slow_answers_are_an_alert(monitored: Monitored) -> None:
    """By the 99th percentile of the last day."""
    await predict(monitored, 60, found=0.5)
    await performance_of(monitored, latency_limit_ms=5).check()
    alerts, _ = await monitored.alerts.list_page()
    assert [alert.alert_type for alert in alerts] == ["LATENCY"]


async def test_a_model_without_predictions_says_so(monitored: Monitored) -> None:
    """There is nothing to show, and the timer passes it over."""
    with pytest.raises(Conflict):
        await performance_of(monitored).look()
    assert await performance_of(monitored).check() == 0


async def test_requests_that_fail_are_an_alert(monitored: Monitored) -> None:
    """Of the last day, and only where there are enough of them."""
    await predict(monitored, 60, found=0.5)
    async with monitored.database.connection() as conn:
        await conn.execute("INSERT INTO scoring_outcomes VALUES (date_trunc('hour', now()), 50, 10)")
    service = performance_of(monitored)
    await service.check()
    assert (await monitored.alerts.list_page())[1] == 0
    async with monitored.database.connection() as conn:
        await conn.execute("UPDATE scoring_outcomes SET requests = 500")
    await service.check()
    alerts, _ = await monitored.alerts.list_page()
    assert [(alert.alert_type, (alert.details or {})["error_rate"]) for alert in alerts] == [("ERROR_RATE", 0.02)]


@pytest.mark.parametrize(("threshold", "expected"), [(0.05, "OK"), (0.55, "WARNING"), (0.99, "CRITICAL")])
async def test_active_baselines_are_held_against_the_figures(
    monitored: Monitored, system: Caller, origin: Origin, threshold: float, expected: str
) -> None:
    """Kept; not kept by the figure, though by an end of its interval; kept by neither end."""
    async with monitored.database.connection() as conn:
        await conn.execute("UPDATE ml_models SET metrics = jsonb_build_object('recall', 0.01)")
    rule = NewBaseline(metric="recall", operator=Operator.GTE, threshold=threshold)
    await monitored.registry.set_baselines(monitored.model_id, [rule], caller=system, origin=origin)
    await predict(monitored, 1200, found=0.5)
    await performance_of(monitored).check()
    recall = next(each for each in (await performance_of(monitored).look()).figures if each.metric == "recall")
    assert recall.baseline is not None
    assert recall.value is not None
    assert (recall.baseline.holds, recall.status.value) == (recall.value >= threshold, expected)
    alerts, _ = await monitored.alerts.list_page()
    assert [alert.alert_type for alert in alerts] == ([] if expected == "OK" else ["PERFORMANCE"])
