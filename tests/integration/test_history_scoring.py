"""Scoring with a model that looks at the past: what it sees is what the batch executor saw."""

import asyncio
import random
from datetime import timedelta
from typing import Any
from uuid import uuid4

import numpy as np
import polars as pl
import pytest
from psycopg.types.json import Jsonb

from shared.alerts.service import AlertService
from shared.features.batch import transform
from shared.features.config import FeatureConfig, HistoryFeature
from shared.features.history.backfill import backfill, dataset_events
from shared.features.history.store import HistoryStore
from shared.features.plan import FeaturePlan
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.platform.errors import Conflict
from shared.registry.service import RegistryService
from shared.scoring.prepared import Answer
from shared.scoring.service import ScoringService
from shared.training.artifact_store import write_artifact
from tests.fixtures.artifacts import packed_model

ROWS = 80
CONFIG = FeatureConfig(
    groups=("behavioural",),
    time_column="time",
    id_column="order_id",
    amount_column="amount",
    label_column="is_fraud",
    history=tuple(
        HistoryFeature(entity=entity, function=function, window=window, column=column)
        for entity in [("card",), ("shop",), ("card", "shop")]
        for window in ["1h", "30d"]
        for function, column in [("count", None), ("sum", "amount"), ("std", "amount"), ("distinct", "kind")]
    ),
    history_limit=10,
)


def transactions() -> pl.DataFrame:
    """A day and a half of transactions in order of time, some at the same moment, some cards missing."""
    draws = random.Random(3)
    start = utc_now().replace(microsecond=0) - timedelta(hours=36)
    minutes = sorted(draws.randrange(36 * 12) * 5 for _ in range(ROWS))
    return pl.DataFrame(
        {
            "order_id": [f"order-{row}" for row in range(ROWS)],
            "time": pl.Series([start + timedelta(minutes=minute) for minute in minutes]).cast(pl.Datetime("us", "UTC")),
            "card": [draws.choice(["a", "b", "c", None]) for _ in range(ROWS)],
            "shop": [draws.choice(["x", "y"]) for _ in range(ROWS)],
            "kind": [draws.choice(["gift", "cash", "bank"]) for _ in range(ROWS)],
            "amount": [draws.randrange(1, 50_000) / 100 for _ in range(ROWS)],
            "is_fraud": [int(row % 9 == 0) for row in range(ROWS)],
        }
    )


class Served:
    """A model in production with its plan, and scoring."""

    def __init__(self, database: Database, blobs: BlobStore, frame: pl.DataFrame) -> None:
        self.database = database
        self.blobs = blobs
        self.artifact = packed_model(frame, CONFIG)
        self.plan = FeaturePlan.model_validate_json(self.artifact.files["plan.json"])
        self.scoring = self.worker()

    def worker(self, duplicate_window: timedelta = timedelta(0)) -> ScoringService:
        """Scoring as a worker of its own has it."""
        registry, alerts = RegistryService(self.database), AlertService(self.database, utc_now)
        return ScoringService(self.database, self.blobs, registry, alerts, utc_now, duplicate_window=duplicate_window)

    async def promote(self) -> None:
        """Put the model in production."""
        model_id = uuid4()
        await write_artifact(self.blobs, model_id, self.artifact)
        async with self.database.connection() as conn:
            await conn.execute(
                "INSERT INTO ml_models (id, name, version, algorithm, status, hyperparameters, storage_path, metrics, "
                "threshold, artifact_sha256) "
                "VALUES (%s, 'fraud', '1', 'xgboost', 'PRODUCTION', '{}', %s, %s, 0.25, %s)",
                (model_id, f"models/{model_id}/", Jsonb({"auc_roc": 0.9}), self.artifact.sha256),
            )

    async def vector(self, transaction: dict[str, Any]) -> np.ndarray[Any, Any]:
        """Score, and the features that were stored with the prediction."""
        answer = await self.scoring.score(transaction, model_id=None, explain=False)
        prediction, _, _ = await self.scoring.get(answer.prediction.id)
        values = prediction.input_features["features"]
        row = [np.nan if values[name] is None else values[name] for name in self.plan.feature_names]
        return np.array(row, np.float32)


def as_request(row: dict[str, Any]) -> dict[str, Any]:
    """A row as a caller sends it."""
    return {**{name: value for name, value in row.items() if name != "is_fraud"}, "time": row["time"].isoformat()}


@pytest.fixture
async def served(database: Database, blobs: BlobStore) -> Served:
    """A model with history features in production."""
    served = Served(database, blobs, transactions())
    await served.promote()
    return served


async def test_scored_one_after_the_other_equals_batch(served: Served) -> None:
    """Every feature of every transaction is bit for bit what the batch executor makes of the file."""
    frame = transactions()
    expected = transform(served.plan, frame.lazy()).collect().to_numpy()
    assert np.isfinite(expected).mean() > 0.5
    for row, features in zip(frame.to_dicts(), expected, strict=True):
        np.testing.assert_array_equal(await served.vector(as_request(row)), features)


async def test_backfilled_and_scored_equals_batch(served: Served) -> None:
    """Half the file backfilled, the other half scored: no difference to scoring all of it, not for repeats either."""
    frame = transactions()
    expected = transform(served.plan, frame.lazy()).collect().to_numpy()
    half = ROWS // 2
    assert served.plan.layout is not None
    store = HistoryStore(served.database, utc_now)
    chunks = dataset_events(served.plan, served.plan.layout, frame[:half].lazy(), rows=15)
    await backfill(served.database, store, served.plan.layout, chunks, source="half")
    for row, features in zip(frame.to_dicts()[half:], expected[half:], strict=True):
        np.testing.assert_array_equal(await served.vector(as_request(row)), features)
        np.testing.assert_array_equal(await served.vector(as_request(row)), features)


async def test_a_refused_transaction_leaves_its_neighbours_their_history(served: Served) -> None:
    """In one batch with transactions that do not fit, the others are scored, and only they become history."""
    rows = [as_request(row) for row in transactions().to_dicts()[:12]]
    requests: list[dict[str, Any]] = [{**row, "time": "soon"} if n % 3 == 0 else row for n, row in enumerate(rows)]
    answers = await asyncio.gather(
        *(served.scoring.score(request, model_id=None, explain=False) for request in requests), return_exceptions=True
    )
    assert [isinstance(answer, Exception) for answer in answers] == [n % 3 == 0 for n in range(12)]
    assert await remembered(served.database) == 8


async def test_concurrent_repeats_are_remembered_once(served: Served) -> None:
    """Twenty calls with one transaction at the same time are one event."""
    row = as_request(transactions().to_dicts()[0])
    answers = await asyncio.gather(*(served.scoring.score(row, model_id=None, explain=False) for _ in range(20)))
    assert len({answer.prediction.id for answer in answers}) == 20
    assert await remembered(served.database) == 1


async def test_a_month_without_a_partition_is_made_on_the_way(served: Served) -> None:
    """A transaction of two months ago is scored and remembered though its month was not there."""
    row = {**transactions().to_dicts()[0], "time": utc_now() - timedelta(days=62)}
    await served.vector(as_request(row))
    assert await remembered(served.database) == 1


async def test_what_is_older_than_the_retention_is_scored_and_not_remembered(served: Served) -> None:
    """With a retention of a day, a transaction of the day before yesterday leaves no event and one of today does."""
    scoring = ScoringService(
        served.database,
        served.blobs,
        RegistryService(served.database),
        AlertService(served.database, utc_now),
        utc_now,
        history_retention=timedelta(days=1),
    )
    row = transactions().to_dicts()[0]
    for age in (timedelta(days=2), timedelta(hours=2)):
        await scoring.score(as_request({**row, "time": utc_now() - age}), model_id=None, explain=False)
    assert await remembered(served.database) == 1


async def remembered(database: Database) -> int:
    """Transactions in history, whichever shop they are of."""
    async with database.connection() as conn:
        cursor = await conn.execute("SELECT count(*) AS n FROM entity_events WHERE entity = %s", [1])
        row = await cursor.fetchone()
    assert row is not None
    return int(row["n"])


async def test_a_transaction_that_is_sent_again_is_not_history_again(served: Served) -> None:
    """Neither it nor another one under its id: history keeps what was scored, and so does what comes later see it."""
    worker = served.worker(timedelta(hours=1))
    rows = [as_request(row) for row in transactions().to_dicts()[:6]]
    first = [await worker.score(row, model_id=None, explain=False) for row in rows]
    before = await remembered(served.database)
    later = [{**row, "time": (utc_now() - timedelta(minutes=1)).isoformat(), "shop": "z"} for row in rows]
    again = await asyncio.gather(
        *(worker.score(row, model_id=None, explain=False) for row in [*rows, *later]), return_exceptions=True
    )
    assert [answer.prediction.id for answer in again[:6] if isinstance(answer, Answer)] == [
        answer.prediction.id for answer in first
    ]
    assert [type(refusal) for refusal in again[6:]] == [Conflict] * 6
    assert await remembered(served.database) == before
