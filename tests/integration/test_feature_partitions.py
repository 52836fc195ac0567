"""A dataset in parts on a real PostgreSQL and blob emulator: the orchestration's own steps, run as a host may."""

import random
from collections.abc import Awaitable, Callable
from typing import Any
from unittest.mock import Mock

import azure.durable_functions as df
import numpy as np
import polars as pl
import pytest

from devhost.sample_data import SampleConfig, generate
from functions.orchestrations.feature_engineering import engineer_features
from shared.audit.model import Origin
from shared.features.model import FeatureSet, FeatureSetFiles, FeatureSetRequest, FeatureSetStatus
from shared.features.service import FeatureService
from shared.features.stages import FeatureStages
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.users.model import Caller
from tests.fixtures.features import Upload, run_stages

_ROWS = 4_000
Call = tuple[str, dict[str, Any]]
After = Callable[[Call], Awaitable[None]]


@pytest.fixture
def stages(database: Database, blobs: BlobStore) -> FeatureStages:
    """Stages to which three thousand rows are many."""
    return FeatureStages(database, blobs, utc_now, rows_at_once=3_000)


@pytest.fixture
def sample() -> pl.DataFrame:
    """Transactions in no order."""
    return generate(SampleConfig(rows=_ROWS, seed=9, days=60, fraud_rate=0.03)).sample(fraction=1, shuffle=True, seed=1)


async def _run(stages: FeatureStages, feature_set: FeatureSet, *, deliveries: int, after: After) -> str:
    """Drive the orchestration to its end, each wave in random order and each activity delivered so many times."""
    context = Mock(spec=df.DurableOrchestrationContext)
    context.get_input.return_value = {"feature_set_id": str(feature_set.id)}
    context.call_activity_with_retry.side_effect = lambda name, retry, payload: (name, payload)
    context.task_all.side_effect = lambda calls: calls
    of_all = {
        "load_dataset": stages.load,
        "fit_features": stages.fit,
        "transform_features": stages.transform,
        "select_features": stages.select,
        "save_features": stages.save,
    }
    of_parts = {"compute_history": stages.history, "compute_range": stages.range_of_features}

    async def deliver(call: Call) -> Any:
        name, payload = call
        assert payload["feature_set_id"] == str(feature_set.id)
        for _ in range(deliveries):
            if name in of_parts:
                result = await of_parts[name](feature_set.id, payload["part"], payload["parts_done"])
            elif name == "join_ranges":
                result = await stages.join(feature_set.id, payload["parts_done"])
            else:
                result = await of_all[name](feature_set.id)
        await after(call)
        return result

    async def wave(calls: list[Call]) -> list[Any]:
        results: list[Any] = [None] * len(calls)
        for place in random.Random(5).sample(range(len(calls)), len(calls)):
            results[place] = await deliver(calls[place])
        return results

    steps = engineer_features._function.get_user_function().orchestrator_function(context)
    waiting = next(steps)
    while True:
        answer = await wave(waiting) if isinstance(waiting, list) else await deliver(waiting)
        try:
            waiting = steps.send(answer)
        except StopIteration as end:
            return str(end.value["status"])


async def _requested(service: FeatureService, sample: pl.DataFrame, upload: Upload, *who: Any) -> FeatureSet:
    caller, origin = who
    dataset = await upload(sample)
    return await service.request(
        FeatureSetRequest(dataset_id=dataset.id, output_name="parts"), caller=caller, origin=origin
    )


async def test_parts_twice_and_out_of_order_give_the_table_of_one_activity(
    feature_service: FeatureService,
    stages: FeatureStages,
    sample: pl.DataFrame,
    upload: Upload,
    blobs: BlobStore,
    system: Caller,
    origin: Origin,
) -> None:
    """Every bit, the plan and the selection are those of the simple way; the row tells how many parts are done."""
    whole = await run_stages(feature_service, (await _requested(feature_service, sample, upload, system, origin)).id)
    created = await _requested(feature_service, sample, upload, system, origin)
    seen: list[tuple[str, int | None, int | None]] = []

    async def look(call: Call) -> None:
        progress = (await feature_service.get(created.id)).progress
        assert progress is not None
        transform = progress.stages[2]
        seen.append((call[0], transform.parts_done, transform.parts))

    assert await _run(stages, created, deliveries=2, after=look) == "COMPLETED"
    done = await feature_service.get(created.id)
    tables = [pl.read_parquet(await blobs.read_bytes(FeatureSetFiles(found.id).features)) for found in (whole, done)]
    names = [feature["name"] for feature in whole.all_features or ()]
    one, other = (table.select(names).to_numpy().view(np.uint32) for table in tables)
    np.testing.assert_array_equal(one, other)
    assert tables[0].drop(names).equals(tables[1].drop(names))
    assert (done.content_hash, done.selected_features) == (whole.content_hash, whole.selected_features)

    total = seen[-1][2]
    assert total is not None
    assert [name for name, _, _ in seen].count("compute_range") == 3
    assert [name for name, _, _ in seen].count("compute_history") == total - 4
    assert ("transform_features", 0, total) in seen
    assert [entry[1] for entry in seen if entry[0] == "compute_range"] == [total - 4] * 3
    assert seen[-1] == ("save_features", total, total)
    assert not await blobs.delete_prefix(FeatureSetFiles(created.id).work)


async def test_a_refusal_in_a_part_ends_the_set_once(
    feature_service: FeatureService,
    stages: FeatureStages,
    sample: pl.DataFrame,
    upload: Upload,
    blobs: BlobStore,
    system: Caller,
    origin: Origin,
) -> None:
    """What no attempt can mend fails the set with its reason; the parts after it do nothing, and no file is left."""
    created = await _requested(feature_service, sample, upload, system, origin)
    files = FeatureSetFiles(created.id)
    seen = []

    async def lose(call: Call) -> None:
        seen.append((call[0], (await feature_service.get(created.id)).completed_at))
        if call[0] == "transform_features":
            await blobs.delete_prefix(files.work_bucket(0, 0))

    assert await _run(stages, created, deliveries=1, after=lose) == "FAILED"
    failed = await feature_service.get(created.id)
    assert failed.status is FeatureSetStatus.FAILED
    assert "no blob at" in (failed.error_message or "")
    assert failed.progress is not None
    assert failed.progress.stages[2].status is FeatureSetStatus.FAILED
    assert seen[-1][0] == "compute_history"
    assert {ended for _, ended in seen} == {None, failed.completed_at}
    assert not await blobs.delete_prefix(files.work)
