"""Feature engineering on a real PostgreSQL and a real blob emulator, stage by stage."""

from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import numpy as np
import orjson
import polars as pl
import pytest

from devhost.sample_data import SampleConfig, generate
from shared.audit.model import Origin
from shared.datasets.model import Dataset
from shared.features.config import FeatureConfig
from shared.features.model import FeatureSet, FeatureSetFiles, FeatureSetRequest, FeatureSetStatus, Stage
from shared.features.online import compile_plan
from shared.features.plan import FeaturePlan
from shared.features.service import FeatureService
from shared.monitoring.profile import ReferenceProfile
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.errors import Conflict, InvalidContent, NotFound
from shared.users.model import Caller
from tests.fixtures.features import Upload, run_stages


def _sample(rows: int = 4_000) -> pl.DataFrame:
    return generate(SampleConfig(rows=rows, seed=7, days=60, fraud_rate=0.03))


async def _request(
    feature_service: FeatureService, dataset: Dataset, system: Caller, origin: Origin, **config: object
) -> FeatureSet:
    request = FeatureSetRequest(dataset_id=dataset.id, output_name="first", config=FeatureConfig.model_validate(config))
    return await feature_service.request(request, caller=system, origin=origin)


async def test_all_stages_end_in_a_completed_set(
    feature_service: FeatureService, upload: Upload, blobs: BlobStore, system: Caller, origin: Origin
) -> None:
    """Row, plan, profile, picture and preview agree with each other, and nothing of the work is left."""
    created = await _request(feature_service, await upload(_sample()), system, origin)
    assert created.status is FeatureSetStatus.PENDING
    assert created.config is not None
    assert created.config.time_column == "transaction_time"

    done = await run_stages(feature_service, created.id)
    assert done.status is FeatureSetStatus.COMPLETED, done.error_message
    assert done.progress is not None
    assert [entry.status for entry in done.progress.stages] == ["COMPLETED"] * len(Stage)
    assert done.progress.fraction == 1.0
    assert done.input_rows == 4_000
    assert done.processing_time_seconds is not None

    files = FeatureSetFiles(created.id)
    plan = FeaturePlan.from_json(await blobs.read_bytes(files.plan))
    profile = ReferenceProfile.from_json(await blobs.read_bytes(files.profile))
    names = [feature["name"] for feature in done.selected_features or []]
    assert names == list(plan.feature_names) == [feature.name for feature in profile.features]
    assert done.content_hash == plan.content_hash
    assert done.feature_count == len(done.all_features or [])
    assert done.selected_feature_count == len(names) > 10
    assert plan.fit.rows == profile.rows == pytest.approx(3_200, abs=2)
    assert {each.name for each in profile.categories} == {c for c, form in plan.reads() if form == "category"}
    assert all(sum(each.counts) + each.missing == profile.rows for each in profile.categories)
    assert (await blobs.read_bytes(files.ranking)).startswith(b"<svg")
    assert not await blobs.exists(files.work_plan)


async def test_the_table_is_in_order_and_equals_online_vectors(
    feature_service: FeatureService, upload: Upload, blobs: BlobStore, system: Caller, origin: Origin
) -> None:
    """A shuffled dataset becomes a table in order of time whose rows are the vectors that scoring would build."""
    frame = _sample()
    dataset = await upload(frame.sample(fraction=1, shuffle=True, seed=1))
    created = await _request(feature_service, dataset, system, origin, groups=["transaction", "temporal"])
    done = await run_stages(feature_service, created.id)
    files = FeatureSetFiles(done.id)
    table = pl.read_parquet(await blobs.read_bytes(files.features))
    assert table["__time"].is_sorted()
    assert table.schema["__time"] == pl.Datetime("us", "UTC")
    assert table.schema["__label"] == pl.Int8
    assert table["__label"].sum() == frame["is_fraud"].sum()
    assert table["__protected_gender"].null_count() == frame["gender"].null_count()

    plan = FeaturePlan.from_json(await blobs.read_bytes(files.plan))
    online = compile_plan(plan)
    by_id = {row["transaction_id"]: row for row in frame.iter_rows(named=True)}
    some = table.gather_every(37)
    vectors = np.stack([online.vector(by_id[identifier]) for identifier in some["__id"]])
    np.testing.assert_array_equal(some.select(plan.feature_names).to_numpy(), vectors)


async def test_history_is_computed_when_asked_for(
    feature_service: FeatureService, upload: Upload, blobs: BlobStore, system: Caller, origin: Origin
) -> None:
    """History features are ranked, chosen and described like all others, and the plan says what events must carry."""
    created = await _request(
        feature_service, await upload(_sample()), system, origin, groups=["transaction", "temporal", "behavioural"]
    )
    done = await run_stages(feature_service, created.id)
    assert done.status is FeatureSetStatus.COMPLETED, done.error_message
    groups = [feature["group"] for feature in done.all_features or ()]
    assert groups.count("behavioural") == 40
    plan = FeaturePlan.from_json(await blobs.read_bytes(FeatureSetFiles(done.id).plan))
    assert plan.layout is not None
    assert ("customer_id",) in plan.layout.entities
    assert plan.layout.numbers == (("amount", 2),)
    assert plan.layout.uses_labels


async def test_no_feature_reads_a_protected_or_label_derived_column(
    feature_service: FeatureService, upload: Upload, system: Caller, origin: Origin
) -> None:
    """Nothing inferred from names lets gender, birth date, the label or the time it became known into a feature."""
    created = await _request(feature_service, await upload(_sample(1_500)), system, origin)
    done = await run_stages(feature_service, created.id)
    assert done.config is not None
    assert set(done.config.protected_columns or ()) == {"gender", "birth_date"}
    assert done.config.excluded_columns == ("label_known_at",)
    told = " ".join(feature["description"] for feature in done.all_features or [])
    for column in ("gender", "birth_date", "label_known_at", "is_fraud", "transaction_id"):
        assert column not in told


async def test_every_stage_may_run_twice(
    feature_service: FeatureService, upload: Upload, blobs: BlobStore, system: Caller, origin: Origin
) -> None:
    """An activity that is delivered again leaves the same files and the same row."""
    created = await _request(feature_service, await upload(_sample(1_500)), system, origin)
    stages = feature_service.stages
    for stage in (stages.load, stages.fit, stages.transform, stages.select):
        await stage(created.id)
        assert await stage(created.id) == {"status": "PROCESSING"}
    assert await stages.save(created.id) == {"status": "COMPLETED"}
    once = await feature_service.get(created.id)
    for stage in (stages.load, stages.transform, stages.save):
        assert await stage(created.id) == {"status": "COMPLETED"}
    assert await stages.fail(created.id, "too late") == {"status": "COMPLETED"}
    assert await feature_service.get(created.id) == once


async def test_labels_that_are_no_labels_fail_the_set(
    feature_service: FeatureService, upload: Upload, blobs: BlobStore, system: Caller, origin: Origin
) -> None:
    """What statistics do not show is found when the rows are read: the set ends as FAILED and says why."""
    frame = _sample(1_000).with_columns(is_fraud=(pl.int_range(1_000) % 5) / 4)
    created = await _request(feature_service, await upload(frame), system, origin)
    done = await run_stages(feature_service, created.id)
    assert done.status is FeatureSetStatus.FAILED
    assert "600 values of 'is_fraud' are neither 0" in (done.error_message or "")
    assert done.progress is not None
    assert done.progress.stages[0].status == "FAILED"


async def test_one_class_in_the_training_part_fails_the_set(
    feature_service: FeatureService, upload: Upload, system: Caller, origin: Origin
) -> None:
    """Fraud that only occurs after the training part ends cannot be learnt from."""
    frame = _sample(1_000).sort("transaction_time")
    frame = frame.with_columns(is_fraud=(pl.int_range(1_000) >= 950).cast(pl.Int8))
    done = await run_stages(feature_service, (await _request(feature_service, await upload(frame), system, origin)).id)
    assert done.status is FeatureSetStatus.FAILED
    assert "has 0 fraudulent" in (done.error_message or "")


async def test_a_dataset_without_times_keeps_its_order(
    feature_service: FeatureService, upload: Upload, blobs: BlobStore, system: Caller, origin: Origin
) -> None:
    """Without a time column the training part is the first rows and the table is in file order."""
    frame = _sample(1_500).select("transaction_id", "amount", "items", "country", "is_fraud")
    done = await run_stages(feature_service, (await _request(feature_service, await upload(frame), system, origin)).id)
    assert done.status is FeatureSetStatus.COMPLETED, done.error_message
    files = FeatureSetFiles(done.id)
    table = pl.read_parquet(await blobs.read_bytes(files.features))
    assert table["__id"].to_list() == frame["transaction_id"].to_list()
    assert table["__time"].null_count() == 1_500
    assert FeaturePlan.from_json(await blobs.read_bytes(files.plan)).fit.rows == 1_200


async def test_preview_describes_every_feature(
    feature_service: FeatureService, upload: Upload, system: Caller, origin: Origin
) -> None:
    """As many rows as asked for, and for each feature what it means, its range and whether it was selected."""
    created = await _request(feature_service, await upload(_sample(1_500)), system, origin)
    with pytest.raises(Conflict):
        await feature_service.preview(created.id, 5)
    done = await run_stages(feature_service, created.id)
    preview = await feature_service.preview(created.id, 5)
    assert len(preview["rows"]) == 5
    assert {feature["name"] for feature in preview["features"]} == {f["name"] for f in done.all_features or []}
    assert sum(feature["selected"] for feature in preview["features"]) == done.selected_feature_count
    amount = next(feature for feature in preview["features"] if feature["name"] == "amount")
    assert amount["minimum"] <= preview["rows"][0]["features"]["amount"] <= amount["maximum"]
    orjson.dumps(preview)


async def test_unknown_datasets_and_sets_are_named(
    feature_service: FeatureService, system: Caller, origin: Origin
) -> None:
    """A dataset that is not there is bad content of the request; a set that is not there is not found."""
    with pytest.raises(InvalidContent) as refusal:
        await feature_service.request(
            FeatureSetRequest(dataset_id=uuid4(), output_name="x"), caller=system, origin=origin
        )
    assert refusal.value.target == "dataset_id"
    with pytest.raises(NotFound):
        await feature_service.get(uuid4())


@pytest.mark.data
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # aiohttp's opinion of 4 MB blocks
@pytest.mark.skipif(not Path("../shared/data/handbook.parquet").exists(), reason="the real datasets are not here")
async def test_a_real_dataset_goes_through(
    feature_service: FeatureService, upload: Upload, system: Caller, origin: Origin
) -> None:
    """Two hundred thousand rows of the handbook's data are computed, and its scenario column is no feature."""
    frame = pl.read_parquet("../shared/data/handbook.parquet").head(200_000)
    begun = utc_now()
    done = await run_stages(feature_service, (await _request(feature_service, await upload(frame), system, origin)).id)
    assert done.status is FeatureSetStatus.COMPLETED, done.error_message
    assert utc_now() - begun < timedelta(seconds=60)
    assert not any("SCENARIO" in feature["name"] for feature in done.all_features or [])
