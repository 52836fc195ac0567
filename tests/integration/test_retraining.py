"""Retraining on a real database and a real blob store."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import polars as pl
import pytest

from shared.alerts.model import Severity, Signal, Source
from shared.alerts.service import AlertService
from shared.audit.model import Origin
from shared.datasets.model import data_path
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.platform.errors import Conflict, NotFound
from shared.registry.lifecycle import ModelStatus
from shared.retraining.model import RetrainingRequest, RetrainingStatus
from shared.users.model import Caller
from tests.fixtures.retraining import Champion, MakeChampion, later


def asked(**given: object) -> RetrainingRequest:
    strategy = {"type": "append", "maturity_days": 0, **given.pop("data_strategy", {})}  # type: ignore[dict-item]
    return RetrainingRequest.model_validate({"reason": "a test", "data_strategy": strategy, "tolerance": 0.5, **given})


async def _rows(champion: Champion, blobs: BlobStore, job_id: UUID) -> pl.DataFrame:
    job = await champion.service.get(job_id)
    assert job.dataset_id is not None
    return pl.read_parquet(await blobs.read_bytes(data_path(job.dataset_id)))


async def test_a_model_is_trained_again_and_promoted(
    make_champion: MakeChampion, blobs: BlobStore, system: Caller, origin: Origin
) -> None:
    """New version of the dataset, features by the champion's plan, its hyperparameters, its baselines, the gate."""
    champion = await make_champion()
    await champion.score(later())
    job = await champion.service.trigger(asked(auto_promote=True), caller=system, origin=origin)
    await champion.run_to_the_end(job.id)
    done = await champion.service.get(job.id)
    assert (done.status, done.error_message) == (RetrainingStatus.PROMOTED, None)
    assert done.data is not None
    assert (done.data["rows"], done.data["new_rows"]) == (3000, 1000)
    production = await champion.registry.production()
    assert production.id == done.challenger_id != champion.model_id
    assert (production.name, production.version) == ("fraud", "2.0")
    before = await champion.registry.get(champion.model_id)
    assert (before.status, before.hyperparameters) == (ModelStatus.ARCHIVED, production.hyperparameters)
    assert [rule.metric for rule in await champion.registry.baselines(production.id)] == ["auc_roc"]
    assert done.dataset_id is not None
    version = await champion.datasets.get(done.dataset_id)
    assert (version.parent_id, version.version) == (champion.dataset_id, "1.1")
    assert done.verdict is not None
    assert done.verdict["comparison"]["later_than_champion"]
    assert {rule["name"] for rule in done.verdict["rules"]} >= {
        "average precision on the same rows",
        "baselines and champion rules",
    }


async def test_what_passes_may_wait_for_approval(make_champion: MakeChampion, system: Caller, origin: Origin) -> None:
    """Without auto_promote nothing goes live before somebody says so; saying it twice is a conflict."""
    champion = await make_champion()
    await champion.score(later())
    job = await champion.service.trigger(asked(), caller=system, origin=origin)
    await champion.run_to_the_end(job.id)
    waiting = await champion.service.get(job.id)
    assert waiting.status is RetrainingStatus.AWAITING_APPROVAL
    assert (await champion.registry.production()).id == champion.model_id
    done = await champion.service.approve(job.id, "looks right", caller=system, origin=origin)
    assert (done.status, done.decision_reason) == (RetrainingStatus.PROMOTED, "looks right")
    assert (await champion.registry.production()).id == waiting.challenger_id
    with pytest.raises(Conflict):
        await champion.service.approve(job.id, "again", caller=system, origin=origin)
    assert (await champion.service.stages.expire(job.id))["status"] == "PROMOTED"


async def test_what_nobody_approves_is_rejected(make_champion: MakeChampion, system: Caller, origin: Origin) -> None:
    """The champion goes on."""
    champion = await make_champion()
    await champion.score(later())
    job = await champion.service.trigger(asked(), caller=system, origin=origin)
    await champion.run_to_the_end(job.id)
    assert (await champion.service.stages.expire(job.id))["status"] == "REJECTED"
    assert (await champion.registry.production()).id == champion.model_id


async def test_a_challenger_that_is_worse_is_rejected(
    make_champion: MakeChampion, system: Caller, origin: Origin
) -> None:
    """Labels that are noise make a worse model; which rule failed is told, with its numbers."""
    champion = await make_champion()
    noise = later(1500).with_columns(is_fraud=(pl.int_range(1500) % 20 == 0).cast(pl.Int64))
    await champion.score(noise)
    strategy = {"type": "replace"}
    job = await champion.service.trigger(
        asked(data_strategy=strategy, auto_promote=True, tolerance=0.0), caller=system, origin=origin
    )
    await champion.run_to_the_end(job.id)
    done = await champion.service.get(job.id)
    assert done.status is RetrainingStatus.REJECTED
    assert done.verdict is not None
    assert not done.verdict["passed"]
    assert (await champion.registry.production()).id == champion.model_id


@pytest.mark.parametrize(
    ("strategy", "rows"),
    [
        ({"type": "append"}, 2900),
        ({"type": "replace", "days": 1}, 1000),
        ({"type": "sliding_window", "days": 2}, 2001),
    ],
)
async def test_strategies_choose_the_rows(
    make_champion: MakeChampion,
    blobs: BlobStore,
    system: Caller,
    origin: Origin,
    strategy: dict[str, object],
    rows: int,
) -> None:
    """What champion and predictions both have counts once, with the label that is known now; rows are in order of
    time."""
    champion = await make_champion()
    new = later().with_columns(
        transaction_id=pl.when(pl.int_range(1000) < 100)
        .then(pl.format("t{}", pl.int_range(1000)))
        .otherwise(pl.col("transaction_id"))
    )
    await champion.score(new)
    job = await champion.service.trigger(asked(data_strategy=strategy), caller=system, origin=origin)
    await champion.service.stages.assemble(job.id)
    found = await _rows(champion, blobs, job.id)
    assert len(found) == rows
    assert found["transaction_id"].n_unique() == rows
    assert found["transaction_time"].is_sorted()
    both = found.join(new, on="transaction_id")
    assert (both["is_fraud"] == both["is_fraud_right"]).all()
    assert (both["amount"] == both["amount_right"]).all()


async def test_weighted_trains_with_a_half_life(make_champion: MakeChampion, system: Caller, origin: Origin) -> None:
    """All rows stay, and the challenger's hyperparameters say how they weigh."""
    champion = await make_champion()
    await champion.score(later())
    strategy = {"type": "weighted", "half_life_days": 1.5}
    job = await champion.service.trigger(asked(data_strategy=strategy), caller=system, origin=origin)
    await champion.run_to_the_end(job.id)
    done = await champion.service.get(job.id)
    assert done.challenger_id is not None
    challenger = await champion.registry.get(done.challenger_id)
    assert challenger.hyperparameters["half_life_days"] == 1.5


async def test_unlabelled_predictions_count_only_when_asked(
    make_champion: MakeChampion, blobs: BlobStore, system: Caller, origin: Origin
) -> None:
    """By default they are left out; taken for genuine once mature."""
    champion = await make_champion()
    await champion.score(later(), labelled=0.5)
    job = await champion.service.trigger(
        asked(data_strategy={"type": "replace", "unlabelled": "genuine"}), caller=system, origin=origin
    )
    await champion.service.stages.assemble(job.id)
    assert len(await _rows(champion, blobs, job.id)) == 1000
    await champion.service.cancel(job.id, caller=system, origin=origin)
    job = await champion.service.trigger(asked(data_strategy={"type": "replace"}), caller=system, origin=origin)
    await champion.service.stages.assemble(job.id)
    assert 400 < len(await _rows(champion, blobs, job.id)) < 600


async def test_every_stage_may_run_twice(
    make_champion: MakeChampion, database: Database, system: Caller, origin: Origin
) -> None:
    """One dataset version, one feature set, one training job, one model, one promotion."""
    champion = await make_champion()
    await champion.score(later())
    job = await champion.service.trigger(asked(auto_promote=True), caller=system, origin=origin)
    first = await champion.service.stages.assemble(job.id)
    assert await champion.service.stages.assemble(job.id) == first
    await champion.run_to_the_end(job.id)
    for stage in (champion.service.stages.train, champion.service.stages.judge):
        assert (await stage(job.id))["status"] == "PROMOTED"
    async with database.connection() as conn:
        cursor = await conn.execute(
            "SELECT (SELECT count(*) FROM datasets) AS datasets, (SELECT count(*) FROM feature_sets) AS sets,"
            " (SELECT count(*) FROM training_jobs) AS jobs, (SELECT count(*) FROM ml_models) AS models"
        )
        counts = await cursor.fetchone()
    assert counts == {"datasets": 2, "sets": 2, "jobs": 2, "models": 2}


async def test_one_job_a_model_at_a_time(make_champion: MakeChampion, system: Caller, origin: Origin) -> None:
    """Of twenty that ask at once one is heard."""
    champion = await make_champion()
    await champion.score(later(400))
    outcomes = await asyncio.gather(
        *(champion.service.trigger(asked(), caller=system, origin=origin) for _ in range(20)), return_exceptions=True
    )
    assert sum(not isinstance(outcome, Exception) for outcome in outcomes) == 1
    assert all(isinstance(outcome, Conflict) for outcome in outcomes if isinstance(outcome, Exception))


async def test_too_few_labels_are_refused(make_champion: MakeChampion, system: Caller, origin: Origin) -> None:
    """With the numbers; and labels that are not mature do not count."""
    champion = await make_champion()
    with pytest.raises(Conflict, match="0 mature labels"):
        await champion.service.trigger(asked(), caller=system, origin=origin)
    await champion.score(later(400))
    with pytest.raises(Conflict, match="0 mature labels"):
        await champion.service.trigger(asked(data_strategy={"maturity_days": 30}), caller=system, origin=origin)
    with pytest.raises(NotFound):
        await champion.service.trigger(asked(model_id=str(uuid4())), caller=system, origin=origin)


async def test_an_alert_starts_one_job_within_the_limits(
    make_champion: MakeChampion, database: Database, system: Caller, origin: Origin
) -> None:
    """The alert names its job; another alert waits until the model has cooled down."""
    champion = await make_champion()
    alerts = AlertService(database, utc_now)
    await champion.score(later(400))
    async with database.connection() as conn:  # old enough for the default maturity
        await conn.execute("SELECT ensure_predictions_partitions((now() - interval '3 months')::date, 3)")
        await conn.execute("UPDATE predictions SET created_at = created_at - interval '31 days'")
        await conn.execute("UPDATE datasets SET created_at = created_at - interval '60 days'")

    async def noticed(number: int) -> UUID:
        signal = Signal(
            cause=f"drift:{number}",
            source=Source.DRIFT,
            alert_type="RULE",
            severity=Severity.CRITICAL,
            title="Amounts drift",
            description="",
            model_id=champion.model_id,
            retrain=True,
        )
        alert = await alerts.report(signal)
        assert alert is not None
        return alert.id

    first = await noticed(1)
    (job,) = await champion.service.start_asked_for(origin)
    assert (job.alert_id, job.champion_id) == (first, champion.model_id)
    alert = await alerts.get(first)
    assert (alert.triggered_retraining, alert.retraining_job_id) == (True, job.id)
    await noticed(2)
    assert await champion.service.start_asked_for(origin) == []
    await champion.service.cancel(job.id, caller=system, origin=origin)
    assert await champion.service.start_asked_for(origin) == []
    champion.service._clock = lambda: utc_now() + timedelta(hours=25)
    assert len(await champion.service.start_asked_for(origin)) == 1


async def test_a_stage_that_cannot_work_fails_the_job(
    make_champion: MakeChampion, database: Database, system: Caller, origin: Origin
) -> None:
    """With the reason, and an alert."""
    champion = await make_champion()
    await champion.score(later(400))
    job = await champion.service.trigger(asked(), caller=system, origin=origin)
    result = await champion.service.stages.assemble(job.id)
    await champion.features.stages.fail(UUID(result["order"]["feature_set_id"]), "the disk is full")
    assert (await champion.service.stages.train(job.id))["status"] == "FAILED"
    failed = await champion.service.get(job.id)
    assert failed.error_message == "the feature set is FAILED: the disk is full"
    found, _ = await AlertService(database, utc_now).list_page()
    assert f"retraining_job:{job.id}" in {alert.cause for alert in found}
