"""Feature sets computed by a plan that was fitted elsewhere, on a real PostgreSQL and a real blob emulator."""

from typing import Any
from uuid import uuid4

import orjson
import polars as pl
import pytest

from devhost.sample_data import SampleConfig, generate
from shared.audit.model import Origin
from shared.datasets.model import Dataset
from shared.features import repository
from shared.features.batch import transform
from shared.features.model import FeatureSet, FeatureSetFiles, FeatureSetRequest, FeatureSetStatus, Progress
from shared.features.plan import FeaturePlan
from shared.features.service import FeatureService
from shared.monitoring.profile import ReferenceProfile
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.platform.errors import Conflict, InvalidContent
from shared.users.model import Caller
from tests.fixtures.features import Upload, run_stages

CONFIG: dict[str, Any] = {"groups": ["transaction", "temporal"], "selection": {"max_features": 12}}


def _sample(seed: int, rows: int = 1_500) -> pl.DataFrame:
    return generate(SampleConfig(rows=rows, seed=seed, days=60, fraud_rate=0.05))


class Requests:
    """Asks for feature sets as one caller."""

    def __init__(self, feature_service: FeatureService, caller: Caller, origin: Origin) -> None:
        self.feature_service = feature_service
        self._caller = caller
        self._origin = origin

    async def __call__(self, dataset: Dataset, **what: Any) -> FeatureSet:
        request = FeatureSetRequest.model_validate({"dataset_id": dataset.id, "output_name": "set", **what})
        return await self.feature_service.request(request, caller=self._caller, origin=self._origin)

    async def completed(self, dataset: Dataset, **what: Any) -> FeatureSet:
        done = await run_stages(self.feature_service, (await self(dataset, **what)).id)
        assert done.status is FeatureSetStatus.COMPLETED, done.error_message
        return done


@pytest.fixture
def ask(feature_service: FeatureService, system: Caller, origin: Origin) -> Requests:
    """How the tests ask for feature sets."""
    return Requests(feature_service, system, origin)


async def test_the_plan_of_a_set_is_run_on_another_dataset_as_it_is(
    ask: Requests, upload: Upload, blobs: BlobStore
) -> None:
    """Same features, order and hash, nothing fitted again; table, profile and ranking are of the new rows."""
    first = await ask.completed(await upload(_sample(1)), config=CONFIG)
    frame = _sample(2, rows=2_000)
    again = await ask.completed(await upload(frame), plan_of=first.id)

    assert (again.plan_given, again.plan_of) == (True, first.id)
    assert again.content_hash == first.content_hash
    files, before = FeatureSetFiles(again.id), FeatureSetFiles(first.id)
    document = await blobs.read_bytes(files.plan)
    assert document == await blobs.read_bytes(before.plan)
    plan = FeaturePlan.from_json(document)
    names = [feature["name"] for feature in again.selected_features or ()]
    assert names == list(plan.feature_names) == [feature["name"] for feature in first.selected_features or ()]
    assert [feature["name"] for feature in again.all_features or ()] == names

    table = pl.read_parquet(await blobs.read_bytes(files.features))
    expected = transform(plan, frame.sort("transaction_time", maintain_order=True).lazy()).collect()
    assert table.select(plan.feature_names).equals(expected)
    profile = ReferenceProfile.from_json(await blobs.read_bytes(files.profile))
    assert profile.rows == pytest.approx(1_600, abs=2)
    report = again.selection_report or {}
    assert report["plan"] == {"given": True, "plan_of": str(first.id), "absent_columns": []}
    assert (first.selection_report or {})["plan"] == {"given": False}
    assert {entry["name"] for entry in report["ranking"]} == set(names)
    assert all(entry["selected"] for entry in report["ranking"])
    assert all(feature["score"] is not None for feature in again.selected_features or ())


async def test_a_plan_document_goes_out_and_comes_in_the_same(
    ask: Requests, upload: Upload, feature_service: FeatureService
) -> None:
    """What the API shows of a set is what it takes; the hash is computed and equal for the equal plan."""
    dataset = await upload(_sample(1))
    first = await ask.completed(dataset, config=CONFIG)
    document = orjson.loads(orjson.dumps(await feature_service.plan(first.id)))
    again = await ask.completed(await upload(_sample(3)), plan=document)
    assert (again.plan_given, again.plan_of) == (True, None)
    assert again.content_hash == first.content_hash == FeaturePlan.from_json(document).content_hash
    document["features"] = document["features"][:3]
    fewer = await ask.completed(dataset, plan=document)
    assert fewer.selected_feature_count == 3
    assert fewer.content_hash != first.content_hash


async def test_rows_to_score_need_no_labels(
    ask: Requests, upload: Upload, feature_service: FeatureService, blobs: BlobStore
) -> None:
    """Without labels there is a table and a profile and no ranking, and the report says what is absent."""
    first = await ask.completed(await upload(_sample(1)), config=CONFIG)
    unlabelled = _sample(2).drop("is_fraud", "label_known_at", "gender")
    again = await ask.completed(await upload(unlabelled), plan_of=first.id)
    report = again.selection_report or {}
    assert report["plan"]["absent_columns"] == ["is_fraud", "label_known_at", "gender"]
    assert report["ranking"] == []
    assert "labels" in report["unranked"]
    assert {feature["score"] for feature in again.selected_features or ()} == {None}
    files = FeatureSetFiles(again.id)
    assert not await blobs.exists(files.ranking)
    table = pl.read_parquet(await blobs.read_bytes(files.features))
    assert table["__label"].null_count() == table.height == 1_500
    assert "__protected_gender" not in table.columns
    preview = await feature_service.preview(again.id, 3)
    assert [row["label"] for row in preview["rows"]] == [None] * 3


async def test_a_plan_that_looks_at_past_labels_needs_them(ask: Requests, upload: Upload) -> None:
    """Whoever gives such a plan for unlabelled rows is told at once which columns it lacks."""
    history = [{"entity": ["merchant_id"], "function": "fraud_rate", "window": "30d"}]
    first = await ask.completed(await upload(_sample(1)), config={"history": history, "selection": {"enabled": False}})
    with pytest.raises(InvalidContent) as refusal:
        await ask(await upload(_sample(2).drop("is_fraud")), plan_of=first.id)
    assert [detail.field for detail in refusal.value.details] == ["is_fraud"]


async def test_a_dataset_that_does_not_fit_is_refused_at_once(
    ask: Requests, upload: Upload, feature_service: FeatureService
) -> None:
    """With every column that is missing or of another type, before anything is stored."""
    first = await ask.completed(await upload(_sample(1)), config=CONFIG | {"selection": {"enabled": False}})
    strange = _sample(2).drop("country").with_columns(amount=pl.col("amount").cast(pl.String))
    with pytest.raises(InvalidContent) as refusal:
        await ask(await upload(strange), plan_of=first.id)
    assert refusal.value.target == "plan_of"
    assert {detail.field for detail in refusal.value.details} == {"country", "amount"}
    _, total = await feature_service.list_page()
    assert total == 1


async def test_a_plan_that_is_not_there_or_not_ready_is_named(
    ask: Requests, upload: Upload, feature_service: FeatureService
) -> None:
    """No such set, or one that has not been computed yet."""
    dataset = await upload(_sample(1))
    with pytest.raises(InvalidContent, match="no feature set has this id") as refusal:
        await ask(dataset, plan_of=uuid4())
    assert refusal.value.target == "plan_of"
    pending = await ask(dataset, config=CONFIG)
    with pytest.raises(Conflict, match="PENDING"):
        await ask(dataset, plan_of=pending.id)
    with pytest.raises(Conflict, match="PENDING"):
        await feature_service.plan(pending.id)


async def test_a_completed_set_never_changes(
    ask: Requests, upload: Upload, feature_service: FeatureService, database: Database, blobs: BlobStore
) -> None:
    """No stage, no late failure, no second result and no reuse of its plan alters its row or its files."""
    dataset = await upload(_sample(1))
    done = await ask.completed(dataset, config=CONFIG)
    files = FeatureSetFiles(done.id)
    paths = (files.features, files.plan, files.profile, files.ranking, files.preview)
    before = [await blobs.read_bytes(path) for path in paths]
    stages = feature_service.stages
    for stage in (stages.load, stages.fit, stages.transform, stages.select, stages.save):
        assert await stage(done.id) == {"status": "COMPLETED"}
    await stages.fail(done.id, "too late")
    async with database.transaction() as conn:
        other = await repository.complete(
            conn,
            done.id,
            Progress(),
            all_features=[],
            selected_features=[],
            selection_report={},
            content_hash="another",
            now=utc_now(),
        )
    assert other is None
    await ask.completed(dataset, plan_of=done.id)
    assert await feature_service.get(done.id) == done
    assert [await blobs.read_bytes(path) for path in paths] == before


@pytest.mark.parametrize(
    ("change", "field", "told"),
    [
        ({"is_fraud": pl.int_range(pl.len()) % 5}, "config.label_column", "values such as 4 are neither 0"),
        ({"is_fraud": pl.lit(0)}, "config.label_column", "every label is genuine"),
        ({"is_fraud": pl.lit("perhaps")}, "config.label_column", "'perhaps' are neither 0"),
        ({"transaction_time": pl.lit(None, pl.Datetime("us", "UTC"))}, "config.time_column", "holds no time"),
    ],
)
async def test_what_the_statistics_tell_is_refused_at_once(
    ask: Requests, upload: Upload, change: dict[str, pl.Expr], field: str, told: str
) -> None:
    """Labels and times that are of no use need no job to find out."""
    dataset = await upload(_sample(1, rows=300).with_columns(**change))
    with pytest.raises(InvalidContent, match=told) as refusal:
        await ask(dataset, config={"label_column": "is_fraud", "time_column": "transaction_time"})
    assert refusal.value.target == field


async def test_history_of_a_wrong_column_is_refused_at_once(ask: Requests, upload: Upload) -> None:
    """Sums of words, histories of amounts and columns that are not there, all in one answer."""
    history = [
        {"entity": ["customer_id"], "function": "sum", "column": "country", "window": "24h"},
        {"entity": ["amount"], "function": "count", "window": "24h"},
        {"entity": ["nobody"], "function": "count", "window": "24h"},
    ]
    with pytest.raises(InvalidContent) as refusal:
        await ask(await upload(_sample(1, rows=300)), config={"history": history})
    told = " ".join(detail.message for detail in refusal.value.details)
    assert {detail.field for detail in refusal.value.details} == {"config.history"}
    assert all(f"'{name}'" in told for name in ("country", "amount", "nobody"))


async def test_elimination_is_reported_and_drawn(ask: Requests, upload: Upload, blobs: BlobStore) -> None:
    """The curve is in the report, its picture lies beside the ranking, and other test rows give the same."""
    elimination = {"step": 0.5, "min_features": 4}
    config = {"groups": ["transaction", "temporal"], "selection": {"recursive_elimination": elimination}}
    frame = _sample(1, rows=2_500).sort("transaction_time")
    done = await ask.completed(await upload(frame), config=config)
    report = done.selection_report or {}
    curve = report["recursive_elimination"]
    assert curve["kept"] == done.selected_feature_count
    assert curve["rounds"][-1]["features"] == 4
    assert curve["fitting_rows"] + curve["judging_rows"] == report["sample"]["rows"] <= report["training_rows"]
    assert (await blobs.read_bytes(FeatureSetFiles(done.id).elimination)).startswith(b"<svg")
    later = pl.int_range(pl.len()) >= 0.85 * frame.height
    changed = frame.with_columns(pl.when(later).then(1 - pl.col("is_fraud")).otherwise("is_fraud").alias("is_fraud"))
    changed = changed.with_columns(amount=pl.when(later).then(1.0).otherwise("amount"))
    assert (await ask.completed(await upload(changed), config=config)).selection_report == report
