"""What one model scored becomes history of the next: before it serves, by the timer, and never twice."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import polars as pl
import pytest
from psycopg.types.json import Jsonb

from shared.alerts.service import AlertService
from shared.audit.model import Origin
from shared.features.batch import transform
from shared.features.config import FeatureConfig, HistoryFeature
from shared.features.history.backfill import load_dataset_slice
from shared.features.history.store import HistoryStore
from shared.features.plan import FeaturePlan
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.registry.lifecycle import ModelStatus
from shared.registry.model import PromotionRequest
from shared.registry.promotion import PromotionService
from shared.registry.service import RegistryService
from shared.scoring.identifiers import prediction_id
from shared.scoring.service import ScoringService
from shared.training.artifact_store import write_artifact
from shared.users.model import Caller
from tests.fixtures.artifacts import packed_model
from tests.integration.test_history_scoring import as_request, transactions

STAGING, PRODUCTION = ModelStatus.STAGING, ModelStatus.PRODUCTION


def config(*entities: tuple[str, ...], column: str | None = "amount") -> FeatureConfig:
    """Counts and sums of these entities; another layout for other entities or no column."""
    functions = [("count", None)] + ([("sum", column)] if column else [])
    return FeatureConfig(
        groups=("behavioural",),
        time_column="time",
        id_column="order_id",
        amount_column="amount",
        label_column="is_fraud",
        history=tuple(
            HistoryFeature(entity=entity, function=function, window=window, column=of)
            for entity in entities
            for window in ("1h", "30d")
            for function, of in functions
        ),
    )


CHAMPION = config(("card",), column=None)
CANDIDATE = config(("shop",), ("card", "shop"))


class Models:
    """A registry, scoring, and models with plans of one's choice."""

    def __init__(self, database: Database, blobs: BlobStore, origin: Origin, caller: Caller) -> None:
        self.database = database
        self.registry = RegistryService(database)
        self.promotions = PromotionService(database, blobs)
        self.scoring = ScoringService(database, blobs, self.registry, AlertService(database, utc_now), utc_now)
        self.plans: dict[UUID, FeaturePlan] = {}
        self.blobs = blobs
        self._origin = origin
        self._caller = caller

    async def trained(self, features: FeatureConfig, *targets: ModelStatus) -> UUID:
        """A new model, promoted step by step to the last of ``targets``."""
        model_id = uuid4()
        artifact = packed_model(transactions(), features, model_id=model_id)
        self.plans[model_id] = FeaturePlan.from_json(artifact.files["plan.json"])
        await write_artifact(self.blobs, model_id, artifact)
        async with self.database.connection() as conn:
            await conn.execute(
                "INSERT INTO ml_models (id, name, version, algorithm, hyperparameters, storage_path, metrics, "
                "threshold, artifact_sha256) VALUES (%s, 'fraud', %s, 'xgboost', '{}', %s, %s, 0.25, %s)",
                (model_id, model_id.hex, f"models/{model_id}/", Jsonb({"auc_roc": 0.9}), artifact.sha256),
            )
        return await self.promote(model_id, *targets)

    async def promote(self, model_id: UUID, *targets: ModelStatus) -> UUID:
        """Step by step."""
        for target in targets:
            request = PromotionRequest(target_status=target, reason="a test")
            await self.promotions.promote(model_id, request, caller=self._caller, origin=self._origin)
        return model_id

    async def score(self, frame: pl.DataFrame, *, without_id: bool = False) -> list[UUID]:
        """Score the rows one after the other; the models that did."""
        used = []
        for row in frame.to_dicts():
            request = {name: value for name, value in as_request(row).items() if not without_id or name != "order_id"}
            used.append((await self.scoring.score(request, model_id=None, explain=False)).model.id)
        return used

    async def vector(self, model_id: UUID, row: dict[str, Any]) -> np.ndarray[Any, Any]:
        """The features that ``model_id``, in production, saw of this transaction."""
        answer = await self.scoring.score(as_request(row), model_id=None, explain=False)
        assert answer.model.id == model_id
        prediction, _, _ = await self.scoring.get(answer.prediction.id)
        values = prediction.input_features["features"]
        return np.array([np.nan if (value := values[name]) is None else value
                         for name in self.plans[model_id].feature_names], np.float32)  # fmt: skip

    async def events(self, model_id: UUID) -> int:
        """Rows in the history of a model's layout."""
        layout = self.plans[model_id].layout
        assert layout is not None
        async with self.database.connection() as conn:
            cursor = await conn.execute(
                "SELECT count(*) AS n FROM entity_events "
                "WHERE layout = (SELECT id FROM history_layouts WHERE fingerprint = %s)",
                [layout.fingerprint],
            )
            row = await cursor.fetchone()
        assert row is not None
        return int(row["n"])


@pytest.fixture
def models(database: Database, blobs: BlobStore, origin: Origin, system: Caller) -> Models:
    """Nothing registered yet."""
    return Models(database, blobs, origin, system)


async def test_a_promoted_candidate_knows_what_its_predecessor_scored(models: Models, tmp_path: Path) -> None:
    """Trained on the first rows, waiting while others are scored: from its first vector on it equals batch."""
    frame = transactions()
    champion = await models.trained(CHAMPION, STAGING, PRODUCTION)
    await models.score(frame[:30])
    candidate = await models.trained(CANDIDATE)
    plan = models.plans[candidate]
    assert plan.layout is not None
    frame[:20].write_parquet(tmp_path / "data.parquet")
    store = HistoryStore(models.database, utc_now)
    await load_dataset_slice(
        models.database, store, plan, plan.layout, tmp_path / "data.parquet", source="first rows", first_row=0
    )
    await models.promote(candidate, STAGING)
    assert set(await models.score(frame[30:60])) == {champion}
    await models.promote(candidate, PRODUCTION)
    expected = transform(plan, frame.lazy()).collect().to_numpy()
    for row, features in zip(frame[60:].to_dicts(), expected[60:], strict=True):
        np.testing.assert_array_equal(await models.vector(candidate, row), features)


async def test_a_rollback_returns_to_a_model_that_knows_what_happened_since(models: Models) -> None:
    """The timer keeps the history of the model before the present one, so that going back loses nothing."""
    frame = transactions()
    champion = await models.trained(CHAMPION, STAGING, PRODUCTION)
    await models.score(frame[:20])
    await models.trained(CANDIDATE, STAGING, PRODUCTION)
    await models.score(frame[20:40])
    before = await models.events(champion)
    assert await models.scoring.top_up_history() > 0
    assert await models.events(champion) == before + 20 - frame[20:40]["card"].null_count()


async def test_what_is_there_is_not_added_again(models: Models) -> None:
    """A second run adds nothing, and neither does a model of the same layout; also for transactions without an id."""
    frame = transactions().filter(pl.col("card").is_not_null())
    await models.trained(CHAMPION, STAGING, PRODUCTION)
    await models.score(frame[:10])
    await models.score(frame[10:15], without_id=True)
    twin = await models.trained(CHAMPION, STAGING)
    candidate = await models.trained(CANDIDATE, STAGING)
    assert await models.events(twin) == 15
    assert await models.scoring.top_up_history() == 30
    assert await models.scoring.top_up_history() == 0
    assert (await models.events(twin), await models.events(candidate)) == (15, 30)


async def test_two_workers_at_once_add_each_event_once(models: Models) -> None:
    """More predictions than a slice holds, topped up by two workers: each is added by one of them."""
    rows, start = 1_201, utc_now() - timedelta(hours=2)
    champion = await models.trained(CHAMPION, STAGING, PRODUCTION)
    async with models.database.connection() as conn:
        cursor = conn.cursor()
        await cursor.executemany(
            "INSERT INTO predictions (id, model_id, input_features, fraud_score, is_fraud, created_at) "
            "VALUES (%s, %s, %s, 0.1, false, %s)",
            [
                (
                    prediction_id(at := start + timedelta(seconds=number)),
                    champion,
                    Jsonb({"transaction": {"time": at.isoformat(), "card": "a", "shop": f"s{number % 9}", "amount": 1.5,
                                           "order_id": f"o{number}"}}),
                    at,
                )
                for number in range(rows)
            ],
        )  # fmt: skip
    candidate = await models.trained(CANDIDATE, STAGING)
    workers = [
        ScoringService(models.database, models.blobs, models.registry, AlertService(models.database, utc_now), utc_now)
        for _ in range(2)
    ]
    assert sum(await asyncio.gather(*(worker.top_up_history() for worker in workers))) == 2 * rows
    assert await models.events(candidate) == 2 * rows
    async with models.database.connection() as conn:
        cursor_of_states = await conn.execute("SELECT complete_until FROM history_layouts")
        states = [row["complete_until"] for row in await cursor_of_states.fetchall()]
    assert states
    assert all(utc_now() - timedelta(minutes=2) < state <= utc_now() for state in states)


async def test_known_labels_come_along(models: Models) -> None:
    """A prediction whose label is known becomes an event with that label, known since then."""
    frame = transactions()
    await models.trained(CHAMPION, STAGING, PRODUCTION)
    await models.score(frame[:3])
    known_at = utc_now() - timedelta(minutes=5)
    async with models.database.connection() as conn:
        await conn.execute(
            "UPDATE predictions SET actual_label = true, labeled_at = %s WHERE transaction_id = 'order-1'", [known_at]
        )
    await models.trained(CANDIDATE, STAGING)
    await models.scoring.top_up_history()
    async with models.database.connection() as conn:
        cursor = await conn.execute(
            "SELECT known_at FROM entity_events AS e JOIN history_layouts AS l ON l.id = e.layout "
            "WHERE l.columns -> 'entities' @> '[[\"shop\"]]' AND label = 1"
        )
        found = [row["known_at"] for row in await cursor.fetchall()]
    assert found
    assert set(found) == {known_at}


async def test_a_transaction_that_does_not_fit_is_left_out(models: Models) -> None:
    """What the candidate could not score, for a value of another type, is not part of its history; the rest is."""
    frame = transactions().filter(pl.col("card").is_not_null())
    await models.trained(CHAMPION, STAGING, PRODUCTION)
    await models.score(frame[:2])
    odd = {**as_request(frame.to_dicts()[2]), "shop": 17}
    await models.scoring.score(odd, model_id=None, explain=False)
    candidate = await models.trained(CANDIDATE, STAGING)
    await models.scoring.top_up_history()
    assert await models.events(candidate) == 4


async def test_a_model_that_cannot_be_read_does_not_hold_up_the_others(models: Models) -> None:
    """One in STAGING whose files are gone is passed over; those behind it are topped up."""
    await models.trained(CHAMPION, STAGING, PRODUCTION)
    await models.score(transactions()[:5])
    lost = await models.trained(config(("shop",)), STAGING)
    await models.blobs.delete_prefix(f"models/{lost}/")
    candidate = await models.trained(CANDIDATE, STAGING)
    assert await models.scoring.top_up_history() > 0
    assert await models.events(candidate) > 0


async def test_a_promotion_does_not_wait_for_long(models: Models) -> None:
    """While something holds up the history, the promoted model serves all the same, and is completed afterwards."""
    frame = transactions().filter(pl.col("card").is_not_null())
    await models.trained(CHAMPION, STAGING, PRODUCTION)
    await models.score(frame[:10])
    candidate = await models.trained(CANDIDATE, STAGING)
    await models.scoring.top_up_history()
    async with models.database.transaction() as conn:
        await conn.execute("SELECT FROM history_layouts FOR UPDATE")
        await models.promote(candidate, PRODUCTION)
        async with asyncio.timeout(4):
            assert await models.score(frame[10:11]) == [candidate]
    await models.scoring.top_up_history()
    assert await models.events(candidate) == 22
