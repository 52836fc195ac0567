"""Scoring on a real database and a real blob store: what is served, what is stored, and what happens in between."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from time import perf_counter

import pytest

from shared.alerts.model import AlertStatus, Severity, Source
from shared.platform.clock import utc_now
from shared.platform.errors import Conflict, InvalidContent, Unavailable
from shared.registry.lifecycle import ModelStatus
from shared.training.artifact_store import write_artifact
from tests.fixtures.artifacts import packed_model
from tests.fixtures.scoring import Platform


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
    told = await platform.scoring.readiness()
    assert (told["model_id"], told["is_production"], told["production_id"]) == (first, False, second)
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
