"""Rollups: whatever happens in between, a window's counts are those of its raw rows."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from shared.audit.model import Origin
from shared.labels.model import LabelBatch, NewLabel
from shared.labels.service import LabelService
from shared.monitoring import repository
from shared.monitoring.rollup import SCORE_UNIT, Rollup
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.scoring.service import ScoringService
from shared.users.model import Caller
from tests.fixtures.monitoring import Monitored, some_transactions

START = datetime(2026, 1, 31, 20, tzinfo=UTC)
SPAN = (START, START + timedelta(hours=8))  # over the end of a month, so of a partition


@pytest.fixture
async def monitored(database: Database, blobs: BlobStore) -> Monitored:
    """A registered model without predictions."""
    made = Monitored(database, blobs)
    await made.register()
    return made


def _labels(monitored: Monitored) -> LabelService:
    scoring = ScoringService(monitored.database, monitored.blobs, monitored.registry, monitored.alerts, utc_now)
    return LabelService(monitored.database, scoring, utc_now)


def _moments(rng: np.random.Generator, rows: int) -> list[datetime]:
    return [START + timedelta(hours=8) * float(share) for share in rng.random(rows)]


async def _naive(monitored: Monitored) -> tuple[int, Counter[tuple[int, int]], Counter[bytes], float]:
    """Rows, rows by (column, code), labelled rows by (groups, score cell, label), sum of scores: from the raw rows."""
    reference = await monitored.reference()
    async with monitored.database.connection() as conn:
        rows = await (
            await conn.execute("SELECT * FROM predictions WHERE model_id = %s", (monitored.model_id,))
        ).fetchall()
    inputs = [row["input_features"] for row in rows]
    cells = reference.cells(inputs, np.array([row["fraud_score"] for row in rows]))
    counts = Counter((column, code) for row in cells for column, code in enumerate(row))
    tail = reference.layout.cells.tail
    labels = Counter(
        cell[tail:] + bytes([row["actual_label"]])
        for cell, row in zip(cells, rows, strict=True)
        if row["actual_label"] is not None
    )
    return len(rows), counts, labels, sum(row["fraud_score"] for row in rows)


async def _assert_exact(monitored: Monitored) -> None:
    reference = await monitored.reference()
    rows, counts, labels, scores = await _naive(monitored)
    window = await monitored.windows.counts(reference, [SPAN])
    cube = await monitored.windows.cube(reference, SPAN)
    expected = np.zeros(reference.layout.length, np.int64)
    for (column, code), number in counts.items():
        size = reference.layout.sizes[column]
        within = size - 1 if code == 255 else size - 2 if code == 254 else code
        expected[reference.layout.offsets[column] + within] += number
    assert window.rows == cube.rows == cube.cube.rows == rows
    assert (window.counts == expected).all()
    width = reference.layout.cells.groups + 2
    found = {bytes(key): int(n) for key, n in zip(cube.labels.codes(width), cube.labels.counts, strict=True)}
    assert found == dict(labels)
    assert float(cube.score_sums.sum()) * SCORE_UNIT == pytest.approx(scores, abs=rows * SCORE_UNIT)
    assert int(cube.latencies.sum()) == rows


@pytest.mark.parametrize("seed", range(4))
async def test_windows_are_exact_whatever_happens(
    monitored: Monitored, system: Caller, origin: Origin, seed: int
) -> None:
    """Folding between predictions, rows without cells, labels, corrections of them, the same label again, in any order:
    each time the sums of the hours are the counts of the raw rows."""
    rng = np.random.default_rng(seed)
    labels, known = _labels(monitored), list[UUID]()
    for step in range(12):
        action = rng.integers(0, 3) if known else 0
        if action == 0:
            rows = int(rng.integers(1, 60))
            # Folding goes by time: what is scored later is dated later.
            moments = [START + timedelta(minutes=40) * (step + float(share)) for share in sorted(rng.random(rows))]
            known += await monitored.predict(some_transactions(rng, rows), moments, with_cells=rng.random() < 0.7)
        elif action == 1:
            chosen = rng.choice(len(known), size=min(len(known), 25), replace=True)
            told = [NewLabel(prediction_id=known[i], is_fraud=bool(rng.random() < 0.4)) for i in chosen]
            await labels.record(LabelBatch(labels=told), caller=system, origin=origin)
        else:
            now = START + timedelta(minutes=40) * (step + float(rng.random()))  # others may be dated later by now
            await monitored.folding(now=now, rows_at_once=int(rng.integers(1, 50))).fold(monitored.model_id)
    await monitored.folding().fold(monitored.model_id)
    await _assert_exact(monitored)
    assert await monitored.folding().fold(monitored.model_id) == 0
    await _assert_exact(monitored)
    assert await monitored.folding().verify(monitored.model_id, hours=24 * 3650) == 0


async def test_a_crash_before_the_commit_counts_nothing_twice(
    monitored: Monitored, system: Caller, origin: Origin
) -> None:
    """Counts that were added in a transaction that died are as if they never were, and so is their cursor."""
    rng = np.random.default_rng(1)
    ids = await monitored.predict(some_transactions(rng, 50), _moments(rng, 50))
    await monitored.folding().fold(monitored.model_id)
    told = [NewLabel(prediction_id=each, is_fraud=True) for each in ids[:20]]
    await _labels(monitored).record(LabelBatch(labels=told), caller=system, origin=origin)
    reference = await monitored.reference()
    with pytest.raises(RuntimeError, match="killed"):
        await _die_while_folding(monitored, Rollup.empty(reference.layout))
    await monitored.folding().fold(monitored.model_id)
    await _assert_exact(monitored)


async def _die_while_folding(monitored: Monitored, rollup: Rollup) -> None:
    async with monitored.database.transaction() as conn:
        await repository.add_rollups(conn, monitored.model_id, {START: rollup}, in_place=True)
        await repository.move_cursor(conn, monitored.model_id, labels=10_000)
        raise RuntimeError("killed")


async def test_two_workers_count_once(monitored: Monitored, system: Caller, origin: Origin) -> None:
    """Folding in several workers at a time adds every prediction and label once."""
    rng = np.random.default_rng(2)
    ids = await monitored.predict(some_transactions(rng, 300), _moments(rng, 300))
    told = [NewLabel(prediction_id=each, is_fraud=bool(rng.random() < 0.5)) for each in ids]
    await _labels(monitored).record(LabelBatch(labels=told), caller=system, origin=origin)
    services = [monitored.folding(rows_at_once=40) for _ in range(4)]
    added = await asyncio.gather(*(service.fold(monitored.model_id) for service in services))
    assert sum(added) == 300
    await monitored.folding().fold(monitored.model_id)
    await _assert_exact(monitored)


async def test_a_transaction_that_is_still_open_is_waited_for(monitored: Monitored) -> None:
    """Rows written by a transaction that began before others committed are counted once it has committed."""
    rng = np.random.default_rng(3)
    now = utc_now().replace(microsecond=0)
    await monitored.predict(some_transactions(rng, 5), [now - timedelta(minutes=10)] * 5)
    async with monitored.database.transaction() as conn:
        await conn.execute("UPDATE ml_models SET description = 'written' WHERE id = %s", (monitored.model_id,))
        began = utc_now()
        await monitored.predict(some_transactions(rng, 5), [began + timedelta(milliseconds=5)] * 5)
        assert await monitored.folding().fold(monitored.model_id) == 5
    assert await monitored.folding().fold(monitored.model_id) == 5


async def test_rows_that_come_much_too_late_are_found(monitored: Monitored) -> None:
    """A row dated before the cursor is missed by folding, and found and counted by the recount."""
    rng = np.random.default_rng(4)
    await monitored.predict(some_transactions(rng, 40), _moments(rng, 40))
    await monitored.folding().fold(monitored.model_id)
    await monitored.predict(some_transactions(rng, 3), [START + timedelta(minutes=5)] * 3)
    assert await monitored.folding().fold(monitored.model_id) == 0
    hours = int((utc_now() - START) / timedelta(hours=1)) + 2
    assert await monitored.folding().verify(monitored.model_id, hours=hours) == 1
    await _assert_exact(monitored)


async def test_a_model_that_cannot_be_read_is_an_alert_and_holds_nobody_up(monitored: Monitored) -> None:
    """Its neighbours are folded; when its files are back it is folded, and the alert is resolved."""
    rng = np.random.default_rng(5)
    broken = Monitored(monitored.database, monitored.blobs)
    await broken.register("TRAINED")
    await broken.predict(some_transactions(rng, 5), _moments(rng, 5))
    await monitored.predict(some_transactions(rng, 7), _moments(rng, 7))
    path = f"models/{broken.model_id}/profile.json"
    content = await monitored.blobs.read_bytes(path)
    await monitored.blobs.upload_bytes(path, content[:-1])
    assert await monitored.folding().fold_all() == 7
    open_alerts = await _open_causes(monitored)
    assert open_alerts == [f"rollups:{broken.model_id}"]
    await monitored.blobs.upload_bytes(path, content)
    assert await monitored.folding().fold_all() == 5
    assert await _open_causes(monitored) == []


async def _open_causes(monitored: Monitored) -> list[Any]:
    async with monitored.database.connection() as conn:
        rows = await (await conn.execute("SELECT cause FROM alerts WHERE status = 'ACTIVE'")).fetchall()
    return [row["cause"] for row in rows]


async def test_what_scoring_stores_is_what_is_counted(monitored: Monitored) -> None:
    """The cells written while scoring are those that the stored input has, for unseen and missing values too."""
    scoring = ScoringService(monitored.database, monitored.blobs, monitored.registry, monitored.alerts, utc_now)
    rng = np.random.default_rng(6)
    for transaction in some_transactions(rng, 25):
        await scoring.score(transaction, model_id=None, explain=False)
    async with monitored.database.connection() as conn:
        rows = await (
            await conn.execute("SELECT input_features, fraud_score, cells FROM predictions ORDER BY created_at, id")
        ).fetchall()
    reference = await monitored.reference()
    made = reference.cells([row["input_features"] for row in rows], np.array([row["fraud_score"] for row in rows]))
    assert [row["cells"] for row in rows] == made
    later = utc_now() + timedelta(seconds=5)
    assert await monitored.folding(now=later).fold(monitored.model_id) == 25
