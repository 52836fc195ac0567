"""Scoring on a real database and a real blob store: what is served, what is stored, and what happens in between."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.types.json import Jsonb

from shared.alerts.model import Alert, AlertStatus, Severity, Source
from shared.alerts.service import AlertService
from shared.audit.model import Origin
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.platform.errors import Conflict, InvalidContent, Unavailable
from shared.registry.lifecycle import ModelStatus
from shared.registry.model import PromotionRequest
from shared.registry.promotion import PromotionService
from shared.registry.service import RegistryService
from shared.scoring.service import ScoringService
from shared.training.artifact_store import write_artifact
from shared.users.model import Caller
from tests.fixtures.artifacts import packed_model
from tests.fixtures.gate import Gate

TRANSACTION = {"transaction_id": "order-1", "amount": 12.5, "kind": "gift"}


class Platform:
    """A registry to move models in, a blob store behind a gate, and scoring on both."""

    def __init__(self, database: Database, blobs: BlobStore, gate: Gate, origin: Origin, caller: Caller) -> None:
        self.database = database
        self.blobs = blobs
        self.gate = gate
        self.now: datetime | None = None
        self.registry = RegistryService(database)
        self.promotions = PromotionService(database, blobs)
        self.alerts = AlertService(database, utc_now)
        self.scoring = ScoringService(database, blobs, self.registry, self.alerts, self.clock, deadline_seconds=4)
        self._origin = origin
        self._caller = caller

    def clock(self) -> datetime:
        """Now, or what a test says."""
        return self.now or utc_now()

    async def trained(self) -> UUID:
        """A registered model."""
        model_id = uuid4()
        artifact = packed_model(model_id=model_id)
        await write_artifact(self.blobs, model_id, artifact)
        async with self.database.connection() as conn:
            await conn.execute(
                "INSERT INTO ml_models (id, name, version, algorithm, hyperparameters, storage_path, metrics, "
                "threshold, artifact_sha256) VALUES (%s, 'fraud', %s, 'xgboost', '{}', %s, %s, 0.25, %s)",
                (model_id, model_id.hex, f"models/{model_id}/", Jsonb({"auc_roc": 0.9}), artifact.sha256),
            )
        return model_id

    async def move(self, model_id: UUID, *targets: ModelStatus) -> UUID:
        """Promote step by step."""
        for target in targets:
            request = PromotionRequest(target_status=target, reason="a test")
            await self.promotions.promote(model_id, request, caller=self._caller, origin=self._origin)
        return model_id

    async def promoted(self, *, lost: bool = False) -> UUID:
        """A new model in production; the files of a lost one have gone from Blob since."""
        model_id = await self.move(await self.trained(), ModelStatus.STAGING, ModelStatus.PRODUCTION)
        if lost:
            await self.blobs.delete_prefix(f"models/{model_id}/")
        return model_id

    async def score(self, model_id: UUID | None = None, **changes: Any) -> UUID:
        """Score a transaction; the id of the model that did."""
        answer = await self.scoring.score({**TRANSACTION, **changes}, model_id=model_id, explain=False)
        return answer.model.id

    async def becomes(self, model_id: UUID) -> None:
        """Return when this model scores."""
        for _ in range(500):
            if await self.score() == model_id:
                return
            await asyncio.sleep(0.02)
        raise AssertionError("another model still scores")

    async def alert(self, status: AlertStatus) -> Alert:
        """The only alert of this status."""
        found, total = await self.alerts.list_page(
            status=status, severity=None, source_type=None, model_id=None, limit=10, offset=0
        )
        assert total == 1
        return found[0]

    async def noticed_again(self, alert: Alert) -> None:
        """Return when the cause of an open alert was noticed once more."""
        for _ in range(500):
            if (await self.alert(AlertStatus.ACTIVE)).occurrences > alert.occurrences:
                return
            await asyncio.sleep(0.02)
        raise AssertionError("nobody noticed")

    async def stored(self) -> list[UUID]:
        """The models of the stored predictions."""
        async with self.database.connection() as conn:
            return [row["model_id"] async for row in await conn.execute("SELECT model_id FROM predictions")]


@pytest.fixture
async def platform(
    database: Database, blobs: BlobStore, blob_connection_string: str, origin: Origin, system: Caller
) -> AsyncIterator[Platform]:
    """A blob store that a test can silence."""
    found = re.search(r"BlobEndpoint=http://127\.0\.0\.1:(\d+)/", blob_connection_string)
    assert found is not None
    async with Gate(int(found[1])) as gate:
        through = blob_connection_string.replace(f":{found[1]}/", f":{gate.port}/", 1)
        store = BlobStore(container=blobs.container_name, connection_string=through, retries=0)
        yield Platform(database, store, gate, origin, system)
        await store.close()


async def test_without_a_model_in_production_nothing_is_scored(platform: Platform) -> None:
    """It is a conflict, and nothing is stored."""
    with pytest.raises(Conflict):
        await platform.score()
    assert await platform.stored() == []


async def test_a_promotion_takes_effect_with_the_next_request(platform: Platform) -> None:
    """And what is stored names the model that scored."""
    first = await platform.promoted()
    assert await platform.score() == first
    second = await platform.promoted()
    assert await platform.score() == second
    assert await platform.stored() == [first, second]


async def test_a_refused_transaction_is_not_stored_and_its_neighbours_are(platform: Platform) -> None:
    """In one batch, each caller gets the answer to its own."""
    live = await platform.promoted()
    results = await asyncio.gather(
        platform.score(), platform.score(amount="much"), platform.score(), return_exceptions=True
    )
    assert results[0] == results[2] == live
    assert isinstance(results[1], InvalidContent)
    assert results[1].details[0].field == "transaction.amount"
    assert await platform.stored() == [live, live]


async def test_a_month_without_partition_gets_one(platform: Platform) -> None:
    """The first prediction of a month makes it, even when many arrive at once."""
    live = await platform.promoted()
    platform.now = datetime(2031, 5, 31, 23, 59, 59, tzinfo=UTC)
    assert set(await asyncio.gather(*(platform.score() for _ in range(40)))) == {live}
    assert len(await platform.stored()) == 40


async def test_a_model_that_cannot_be_loaded_leaves_its_predecessor_serving(platform: Platform) -> None:
    """Under its own name; and once the files are there, the model in production serves."""
    first = await platform.promoted()
    await platform.score()
    second = await platform.promoted(lost=True)
    assert await platform.score() == first
    assert (await platform.scoring.readiness())["is_production"] is False
    await write_artifact(platform.blobs, second, packed_model(model_id=second))
    assert await platform.score() == first  # not tried again at once
    platform.now = utc_now() + timedelta(seconds=31)
    await platform.becomes(second)


@pytest.mark.parametrize("harm", ["lost", "truncated", "altered"])
async def test_files_that_cannot_be_served_raise_an_alert_until_they_can(platform: Platform, harm: str) -> None:
    """One alert, which names the model and the file and counts; it resolves itself when the model serves."""
    first = await platform.promoted()
    await platform.score()
    second = await platform.promoted()
    artifact = packed_model(model_id=second)
    path = f"models/{second}/model.ubj"
    if harm == "lost":
        await platform.blobs.delete_prefix(path)
    else:
        content = artifact.files["model.ubj"]
        harmed = content[:-1] if harm == "truncated" else content[:-1] + bytes([content[-1] ^ 1])
        await platform.blobs.upload_bytes(path, harmed)
    assert await platform.score() == first
    alert = await platform.alert(AlertStatus.ACTIVE)
    assert (alert.source_type, alert.severity, alert.model_id) == (Source.SYSTEM, Severity.CRITICAL, second)
    assert (alert.details or {})["file"] == "model.ubj"

    platform.now = utc_now() + timedelta(seconds=31)
    assert await platform.score() == first
    await platform.noticed_again(alert)

    await platform.blobs.upload_bytes(path, artifact.files["model.ubj"])
    platform.now += timedelta(seconds=31)
    await platform.becomes(second)
    assert (await platform.alert(AlertStatus.RESOLVED)).id == alert.id


async def test_silent_blob_storage_does_not_stop_scoring(platform: Platform) -> None:
    """After a promotion the predecessor goes on within the deadline, again when it is retried, and the new model takes
    over as soon as it could be read."""
    first = await platform.promoted()
    await platform.score()
    second = await platform.promoted()
    platform.gate.open.clear()
    assert await platform.score() == first
    platform.now = utc_now() + timedelta(seconds=31)
    begun = perf_counter()
    assert await platform.score() == first
    assert perf_counter() - begun < 1
    platform.gate.open.set()
    await platform.becomes(second)


async def test_a_named_model_that_cannot_be_loaded_keeps_nobody_waiting(platform: Platform) -> None:
    """Those who named it are told in time; meanwhile production scores as ever."""
    live = await platform.promoted()
    await platform.score()
    staged = await platform.move(await platform.trained(), ModelStatus.STAGING)
    platform.gate.open.clear()
    waiting = []
    for _ in range(4):
        waiting.append(asyncio.create_task(platform.score(staged)))
        await asyncio.sleep(0.05)
    begun = perf_counter()
    assert await platform.score() == live
    assert perf_counter() - begun < 1
    for result in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(result, Unavailable)


async def test_a_load_outlives_whoever_began_it(platform: Platform) -> None:
    """A readiness probe that gives up must not throw away what has been loaded so far."""
    live = await platform.promoted()
    platform.gate.open.clear()
    for _ in range(20):
        with suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                assert (await platform.scoring.readiness())["model_id"] == live
                return
        platform.gate.open.set()
        await asyncio.sleep(0.3)
        platform.gate.open.clear()
    raise AssertionError("each probe began anew")
