"""Drift from stored predictions to rows, alerts and answers."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from shared.monitoring.drift import DriftPolicy
from shared.monitoring.drift_service import DriftService
from shared.monitoring.level import Level
from shared.monitoring.model import DriftRequest, ReferenceKind, WindowStatus
from shared.platform.blobs import BlobStore
from shared.platform.database import Database, Row
from shared.platform.errors import Conflict, InvalidContent
from tests.fixtures.monitoring import KINDS, Monitored

START = datetime(2026, 3, 2, 0, tzinfo=UTC)  # a Monday
HOUR = timedelta(hours=1)


@pytest.fixture
async def monitored(database: Database, blobs: BlobStore) -> Monitored:
    """A registered model in production."""
    made = Monitored(database, blobs)
    await made.register()
    return made


def _service(monitored: Monitored, now: datetime, **changes: Any) -> DriftService:
    return DriftService(
        monitored.database,
        monitored.registry,
        monitored.references,
        monitored.windows,
        monitored.folding(now=now),
        monitored.alerts,
        None,
        lambda: now,
        **{"window_hours": (1,), "policy": DriftPolicy(min_rows=100), **changes},
    )


async def _hour(monitored: Monitored, number: int, *, rows: int = 400, scale: float = 1.0) -> None:
    """The transactions of one hour: like the reference, or with amounts ``scale`` times as large."""
    rng = np.random.default_rng(number)
    transactions = [
        {
            "amount": float(rng.uniform(1, 500)) * scale,
            "kind": str(rng.choice(KINDS)),
            "gender": str(rng.choice(["F", "M"])),
        }
        for _ in range(rows)
    ]
    await monitored.predict(transactions, [START + number * HOUR + i * HOUR / (rows + 1) for i in range(rows)])


async def _rows(monitored: Monitored, sql: str) -> list[Row]:
    async with monitored.database.connection() as conn:
        return await (await conn.execute(sql)).fetchall()


async def _open(monitored: Monitored) -> dict[str, str]:
    rows = await _rows(monitored, "SELECT alert_type, severity FROM alerts WHERE status = 'ACTIVE'")
    return {row["alert_type"]: row["severity"] for row in rows}


async def test_drift_becomes_rows_and_alerts_and_goes_again(monitored: Monitored) -> None:
    """An hour like the reference is OK; three of amounts ten times as large warn, then are critical; when they end the
    alerts are resolved. Each cause has one alert."""
    await _hour(monitored, 0)
    assert await _service(monitored, START + HOUR).check() == 1
    assert await _open(monitored) == {}
    for number, severity in ((1, "WARNING"), (2, "CRITICAL"), (3, "CRITICAL")):
        await _hour(monitored, number, scale=10)
        assert await _service(monitored, START + (number + 1) * HOUR).check() == 1
        assert await _open(monitored) == {"DATA_DRIFT": severity, "FEATURE_DRIFT": severity}
    assert (await _rows(monitored, "SELECT count(*) AS n FROM alerts"))[0]["n"] == 2
    await _hour(monitored, 4)
    await _service(monitored, START + 5 * HOUR).check()
    assert await _open(monitored) == {}
    stored = await _rows(
        monitored,
        "SELECT DISTINCT window_start, status FROM drift_metrics"
        " WHERE metric_name = 'drifted_share' AND drift_type = 'DATA' ORDER BY 1",
    )
    assert [row["status"] for row in stored] == ["OK", "WARNING", "CRITICAL", "CRITICAL", "OK"]
    features = await _rows(
        monitored,
        "SELECT * FROM drift_metrics WHERE feature_name = 'amount' AND metric_name = 'psi' ORDER BY window_end",
    )
    assert [row["status"] for row in features] == ["OK", "WARNING", "CRITICAL", "CRITICAL", "OK"]
    assert all((row["reference_count"], row["current_count"]) == (200, 400) for row in features)
    assert all(row["drift_type"] == "FEATURE" and row["threshold_used"] > 0 for row in features)


async def test_too_few_rows_neither_alert_nor_clear(monitored: Monitored) -> None:
    """A quiet hour says nothing of an alert that is open, and its row says why."""
    await _hour(monitored, 0, scale=10)
    await _service(monitored, START + HOUR).check()
    before = await _open(monitored)
    assert before
    await _hour(monitored, 1, rows=20)
    assert await _service(monitored, START + 2 * HOUR).check() == 1
    assert await _open(monitored) == before
    rows = await _rows(monitored, f"SELECT * FROM drift_metrics WHERE window_end = '{START + 2 * HOUR}'")
    assert [(row["metric_name"], row["metric_value"], row["threshold_used"]) for row in rows] == [("rows", 20.0, 100.0)]


async def test_downtime_is_caught_up_and_nothing_is_said_twice(monitored: Monitored) -> None:
    """Hours that nobody looked at are looked at later, once; only the newest one alerts."""
    await _hour(monitored, 0)
    await _service(monitored, START + HOUR).check()
    await _hour(monitored, 1, scale=10)
    for number in (2, 3):
        await _hour(monitored, number)
    late = _service(monitored, START + 4 * HOUR + HOUR / 2)
    assert await late.check() == 3
    assert await late.check() == 0
    assert await _open(monitored) == {}
    assert (await _rows(monitored, "SELECT count(DISTINCT window_end) AS n FROM drift_metrics"))[0]["n"] == 4


async def test_computing_again_replaces_what_was_said(monitored: Monitored) -> None:
    """The same window twice is one window, with the same figures; a window may be longer than the timer's."""
    await _hour(monitored, 0, scale=10)
    await _hour(monitored, 1)
    service = _service(monitored, START + 2 * HOUR)
    first = await service.compute(DriftRequest(window_hours=1, window_end=START + HOUR))
    again = await service.compute(DriftRequest(window_hours=1, window_end=START + HOUR))
    assert first.columns == again.columns
    assert first.status is WindowStatus.WARNING
    assert first.columns[0].name == "amount"
    both = await service.compute(DriftRequest(window_hours=2))
    assert (both.window_start, both.window_end, both.rows) == (START, START + 2 * HOUR, 800)
    counted = await _rows(monitored, "SELECT count(*) AS n FROM drift_metrics WHERE metric_name = 'rows'")
    assert counted[0]["n"] == 2


async def test_only_the_newest_window_of_a_known_length_alerts(monitored: Monitored) -> None:
    """A window of the past, or of a length that no timer would ever look at again, raises no alert that would stay."""
    await _hour(monitored, 0, scale=10)
    await _hour(monitored, 1, scale=10)
    service = _service(monitored, START + 2 * HOUR)
    for request in (
        DriftRequest(window_hours=1, window_end=START + HOUR),
        DriftRequest(window_hours=2),
    ):
        assert (await service.compute(request)).status is WindowStatus.WARNING
        assert await _open(monitored) == {}
    await service.compute(DriftRequest(window_hours=1))
    assert set(await _open(monitored)) == {"DATA_DRIFT", "FEATURE_DRIFT"}


async def test_what_cannot_be_looked_at_is_refused(monitored: Monitored) -> None:
    """A model without predictions, a window that does not end at a full hour, one that is not counted yet."""
    service = _service(monitored, START + 2 * HOUR)
    with pytest.raises(Conflict, match="no prediction of the model"):
        await service.compute(DriftRequest())
    await _hour(monitored, 0)
    with pytest.raises(InvalidContent):
        await service.compute(DriftRequest(window_end=START + HOUR / 2))
    with pytest.raises(Conflict, match="counted until"):
        await service.compute(DriftRequest(window_end=START + 48 * HOUR))


async def test_a_season_is_no_drift_against_the_same_hours_of_the_week(monitored: Monitored) -> None:
    """Large amounts every Monday at the same hour drift from training, and not from the Mondays before."""
    week = 24 * 7
    for number in (0, week, 2 * week):
        await _hour(monitored, number, scale=10)
    service = _service(monitored, START + (2 * week + 1) * HOUR)
    seasonal = await service.compute(DriftRequest(window_hours=1, reference=ReferenceKind.SAME_HOURS))
    assert (seasonal.status, seasonal.reference_rows) == (WindowStatus.OK, 800)
    assert seasonal.reference_window_start == START + 2 * week * HOUR - 4 * timedelta(days=7)
    against_training = await service.compute(DriftRequest(window_hours=1))
    assert against_training.status is WindowStatus.WARNING


async def test_series_are_ready_to_draw(monitored: Monitored) -> None:
    """A value for each window, in rising order, the most drifted column first, and pages of figures behind them."""
    await _hour(monitored, 0)
    await _hour(monitored, 1, scale=10)
    service = _service(monitored, START + 2 * HOUR)
    for end in (START + HOUR, START + 2 * HOUR):
        await service.compute(DriftRequest(window_hours=1, window_end=end))
    series = await service.series(None, "psi", HOUR, before=START + 9 * HOUR, limit=10)
    assert series.window_ends == [START + HOUR, START + 2 * HOUR]
    assert series.rows == [400, 400]
    assert series.columns[0].name == "amount"
    assert series.columns[0].statuses == [Level.OK, Level.WARNING]
    assert {line.name for line in series.columns} >= {"amount", "kind", "gender", "fraud_score", "is_fraud"}
    filters: dict[str, Any] = dict.fromkeys(("drift_type", "status", "metric", "feature", "length"))
    position, seen = (START + 99 * HOUR, monitored.model_id), []
    while page := await service.list_metrics(None, filters, before=position, limit=7):
        seen += [row.id for row in page]
        assert page[-1].window_end is not None
        position = page[-1].window_end, page[-1].id
    assert len(seen) == len(set(seen)) == (await _rows(monitored, "SELECT count(*) AS n FROM drift_metrics"))[0]["n"]
