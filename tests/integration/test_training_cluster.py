"""Training on a Dask cluster of two worker processes."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from distributed import Client, LocalCluster

from devhost.daemons import free_port
from shared.audit.model import Origin
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.platform.errors import Unavailable
from shared.training.algorithms.booster import load_booster
from shared.training.artifact_store import read_artifact, read_metadata
from shared.training.artifacts import verify_artifact
from shared.training.cluster import Cluster
from shared.training.job_stages import checkpoint_path
from shared.training.model import JobStatus, TrainingJob, job_prefix
from shared.training.service import TrainingService
from shared.training.slices import SliceLimits
from shared.training.stages import TrainingStages
from shared.training.worker_cache import TableCache
from shared.users.model import Caller
from tests.fixtures.training import make_feature_set, started, training_request, transactions

pytestmark = pytest.mark.slow

ROUNDS = {"n_estimators": 60, "learning_rate": 0.1, "max_depth": 4, "early_stopping_rounds": 10, "subsample": 0.8}


@pytest.fixture(scope="module")
def dask_cluster() -> Iterator[LocalCluster]:
    """A scheduler in this process and two workers in processes of their own."""
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0") as cluster:
        yield cluster


@pytest.fixture
def cluster(dask_cluster: LocalCluster) -> Cluster:
    """The cluster with both its workers."""
    with Client(dask_cluster.scheduler_address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
    return Cluster(dask_cluster.scheduler_address)


@pytest.fixture
def service(database: Database, blobs: BlobStore) -> TrainingService:
    return TrainingService(database, blobs, utc_now)


@pytest.fixture
async def job(
    service: TrainingService, database: Database, blobs: BlobStore, tmp_path: Path, origin: Origin, system: Caller
) -> TrainingJob:
    feature_set_id = await make_feature_set(database, blobs, tmp_path, frame=transactions(20_000))
    return await started(service, training_request(feature_set_id, hyperparameters=ROUNDS), system, origin)


@pytest.fixture
def worker(database: Database, blobs: BlobStore, tmp_path: Path) -> Callable[..., TrainingStages]:
    """Makes workers of the app."""

    def make(cluster: Cluster | None, rounds: int | None = None, seconds: float = 60) -> TrainingStages:
        limits = SliceLimits(seconds=seconds, rounds=rounds)
        tables = TableCache(tmp_path / str(uuid4()))
        return TrainingStages(database, blobs, utc_now, limits=limits, tables=tables, cluster=cluster)

    return make


def _published(dask_cluster: LocalCluster) -> list[str]:
    with Client(dask_cluster.scheduler_address, set_as_default=False) as client:
        return list(client.list_datasets())


def _wait_until_it_trains(dask_cluster: LocalCluster, job_id: UUID) -> None:
    """The rows are there, and the workers are busy."""
    deadline = time.monotonic() + 60
    with Client(dask_cluster.scheduler_address, set_as_default=False) as client:
        while time.monotonic() < deadline:
            busy = [key for keys in client.processing().values() for key in keys if "fn" in str(key)]
            if any(str(job_id) in name for name in client.list_datasets()) and len(busy) == 2:
                time.sleep(2)
                return
            time.sleep(0.1)
    raise AssertionError("it does not train")


async def _finish(stages: TrainingStages, job_id: UUID) -> int:
    result, slices = await stages.prepare(job_id), 0
    while not result["finished"]:
        result = await stages.train_slice(job_id)
        slices += 1
    await stages.evaluate(job_id)
    await stages.register(job_id)
    return slices


async def test_the_same_job_ends_in_a_model_as_good_as_one_machines(
    service: TrainingService,
    worker: Callable[..., TrainingStages],
    cluster: Cluster,
    dask_cluster: LocalCluster,
    blobs: BlobStore,
    job: TrainingJob,
    origin: Origin,
    system: Caller,
) -> None:
    """Slice by slice, on new app workers; curves, artifacts and registry as always; nothing is left behind."""
    alone = await started(service, training_request(job.feature_set_id, hyperparameters=ROUNDS), system, origin)
    await _finish(worker(None), alone.id)

    assert (await worker(cluster).prepare(job.id))["status"] == "RUNNING"
    result = await worker(cluster, rounds=7).train_slice(job.id)
    assert result == {"status": "RUNNING", "finished": False}
    assert any(str(job.id) in name for name in _published(dask_cluster))
    assert await _finish(worker(cluster, rounds=7), job.id) >= 1
    done, other = await service.get(job.id), await service.get(alone.id)
    assert done.status is JobStatus.COMPLETED
    assert done.final_metrics is not None
    assert other.final_metrics is not None
    assert done.final_metrics["auc_pr"] == pytest.approx(other.final_metrics["auc_pr"], abs=0.03)
    assert done.final_metrics["auc_roc"] == pytest.approx(other.final_metrics["auc_roc"], abs=0.01)
    assert done.metrics is not None
    assert len(done.metrics["curves"]["validation"]["aucpr"]) == done.current_epoch
    assert done.model_id is not None
    metadata, _, sha256 = await read_metadata(blobs, done.model_id)
    _, contents = verify_artifact(await read_artifact(blobs, done.model_id), sha256)
    assert any("Dask" in warning for warning in metadata.training["warnings"])
    assert load_booster(contents["model.ubj"]).num_boosted_rounds() == done.metrics["best_round"]
    assert _published(dask_cluster) == []
    assert await blobs.delete_prefix(job_prefix(job.id)) == 0


async def test_figures_of_the_validation_part_are_exact(
    worker: Callable[..., TrainingStages],
    cluster: Cluster,
    blobs: BlobStore,
    job: TrainingJob,
    service: TrainingService,
) -> None:
    """What the workers say of each round is what one machine says of the same trees."""
    stages = worker(cluster, rounds=6)
    await stages.prepare(job.id)
    await stages.train_slice(job.id)
    running = await service.get(job.id)
    assert running.metrics is not None
    checkpoint = await blobs.read_bytes(checkpoint_path(job.id, 6))
    source, plan, _ = await stages._source(running)
    data = await stages._training_set(running, source, plan)
    from shared.platform.xgboost_runtime import load_xgboost

    xgb = load_xgboost()
    validation = data.split.validation
    matrix = xgb.DMatrix(data.features(validation), data.labels(validation))
    for rounds in (1, 6):
        booster = load_booster(checkpoint)[:rounds]
        booster.set_param([("eval_metric", "aucpr"), ("eval_metric", "logloss")])
        text = booster.eval_set([(matrix, "v")])
        expected = {pair.split(":")[0].removeprefix("v-"): float(pair.split(":")[1]) for pair in text.split()[1:]}
        for name, value in expected.items():
            assert running.metrics["curves"]["validation"][name][rounds - 1] == pytest.approx(value, abs=1e-4)
    await asyncio.to_thread(cluster.forget, job.id)


async def test_the_workers_need_nothing_of_the_app(
    worker: Callable[..., TrainingStages], cluster: Cluster, dask_cluster: LocalCluster, job: TrainingJob
) -> None:
    """After a slice none of its modules is loaded there."""
    stages = worker(cluster, rounds=2)
    await stages.prepare(job.id)
    await stages.train_slice(job.id)

    def loaded() -> list[str]:
        import sys

        return [name for name in sys.modules if name.split(".")[0] in {"shared", "functions"}]

    with Client(dask_cluster.scheduler_address, set_as_default=False) as client:
        assert list(client.run(loaded).values()) == [[], []]
    await asyncio.to_thread(cluster.forget, job.id)


async def test_cancelling_stops_the_cluster(
    service: TrainingService,
    worker: Callable[..., TrainingStages],
    cluster: Cluster,
    dask_cluster: LocalCluster,
    database: Database,
    blobs: BlobStore,
    job: TrainingJob,
    origin: Origin,
    system: Caller,
) -> None:
    """A run of ten thousand rounds ends within seconds of the request, and the rows leave the workers."""
    endless = {"n_estimators": 10_000, "early_stopping_rounds": None, "learning_rate": 0.001}
    long = await started(service, training_request(job.feature_set_id, hyperparameters=endless), system, origin)
    stages = worker(cluster)
    await stages.prepare(long.id)
    running = asyncio.ensure_future(stages.train_slice(long.id))
    await asyncio.to_thread(_wait_until_it_trains, dask_cluster, long.id)
    assert not running.done()
    await service.cancel(long.id, caller=system, origin=origin)
    assert await asyncio.wait_for(running, 20) == {"status": "CANCELLED", "finished": True}
    assert _published(dask_cluster) == []
    assert await blobs.delete_prefix(job_prefix(long.id)) == 0


async def test_a_slice_ends_with_its_time(
    worker: Callable[..., TrainingStages], cluster: Cluster, service: TrainingService, job: TrainingJob
) -> None:
    """After the same round on all workers, with a checkpoint from which the next goes on."""
    stages = worker(cluster, seconds=0.0)
    await stages.prepare(job.id)
    for rounds in (1, 2):
        assert await stages.train_slice(job.id) == {"status": "RUNNING", "finished": False}
        assert (await service.get(job.id)).checkpoint_round == rounds
    await asyncio.to_thread(cluster.forget, job.id)


async def test_a_scheduler_that_is_away_is_tried_again_and_then_named(
    service: TrainingService, worker: Callable[..., TrainingStages], job: TrainingJob
) -> None:
    """The slice says which address did not answer; the job goes on once somebody answers there."""
    address = f"tcp://127.0.0.1:{free_port()}"
    stages = worker(Cluster(address))
    await stages.prepare(job.id)
    with pytest.raises(Unavailable, match=f"the Dask scheduler at {address} cannot be reached"):
        await stages.train_slice(job.id)
    assert (await service.get(job.id)).status is JobStatus.RUNNING
    await stages.fail(job.id, "gave up")
    assert (await service.get(job.id)).status is JobStatus.FAILED


async def test_a_worker_that_dies_costs_the_slice(
    service: TrainingService,
    worker: Callable[..., TrainingStages],
    cluster: Cluster,
    dask_cluster: LocalCluster,
    job: TrainingJob,
    origin: Origin,
    system: Caller,
) -> None:
    """The attempt ends with a reason instead of waiting for ever; the next one has all rows again."""
    long = {"n_estimators": 10_000, "early_stopping_rounds": None, "learning_rate": 0.001, "max_depth": 8}
    victim_job = await started(service, training_request(job.feature_set_id, hyperparameters=long), system, origin)
    stages = worker(cluster, rounds=10_000)
    await stages.prepare(victim_job.id)
    running = asyncio.ensure_future(stages.train_slice(victim_job.id))
    await asyncio.to_thread(_wait_until_it_trains, dask_cluster, victim_job.id)

    def kill_one() -> None:
        with Client(dask_cluster.scheduler_address, set_as_default=False) as client:
            process_id = next(iter(client.run(os.getpid).values()))
            os.kill(process_id, signal.SIGKILL)

    await asyncio.to_thread(kill_one)
    with pytest.raises(Unavailable, match="lost a worker"):
        await asyncio.wait_for(running, 60)
    assert (await service.get(victim_job.id)).status is JobStatus.RUNNING
    await service.cancel(victim_job.id, caller=system, origin=origin)

    def both_back() -> None:
        with Client(dask_cluster.scheduler_address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)

    await asyncio.to_thread(both_back)
    again = worker(cluster, rounds=5)
    await again.prepare(job.id)
    await again.train_slice(job.id)
    assert (await service.get(job.id)).checkpoint_round == 5
    await asyncio.to_thread(cluster.forget, job.id)
