"""Training jobs on a real database and a real blob store."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import polars as pl
import pytest
from pydantic import ValidationError

from shared.audit.model import Origin
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Database, Row
from shared.platform.errors import Conflict, InvalidContent, NotFound
from shared.platform.listing import Page
from shared.training.artifact_store import read_artifact, write_artifact
from shared.training.artifacts import load_artifact, read_profile, verify_artifact
from shared.training.model import JobFilter, JobStatus, TrainingJob, job_prefix, model_id_of, model_prefix
from shared.training.service import TrainingService
from shared.training.slices import SliceLimits
from shared.training.stages import TrainingStages
from shared.training.worker_cache import TableCache
from shared.users.model import Caller
from tests.fixtures.artifacts import packed_model
from tests.fixtures.training import make_feature_set, started, training_request


@pytest.fixture
def service(database: Database, blobs: BlobStore) -> TrainingService:
    return TrainingService(database, blobs, utc_now)


@pytest.fixture
def worker(database: Database, blobs: BlobStore, tmp_path: Path) -> Callable[..., TrainingStages]:
    """Makes workers that share nothing but the database and the blob store."""

    def make(rounds: int | None = None) -> TrainingStages:
        limits = SliceLimits(seconds=60, rounds=rounds)
        return TrainingStages(database, blobs, utc_now, limits=limits, tables=TableCache(tmp_path / str(uuid4())))

    return make


@pytest.fixture
async def feature_set(database: Database, blobs: BlobStore, tmp_path: Path) -> UUID:
    return await make_feature_set(database, blobs, tmp_path)


async def _finish(stages: TrainingStages, job_id: UUID) -> None:
    """What the orchestration does with an admitted job, on one worker."""
    result = await stages.prepare(job_id)
    while not result["finished"]:
        result = await stages.train_slice(job_id)
    await stages.evaluate(job_id)
    await stages.register(job_id)


async def _models(database: Database) -> list[Row]:
    async with database.connection() as conn:
        return await (await conn.execute("SELECT * FROM ml_models ORDER BY version")).fetchall()


async def test_a_job_becomes_a_registered_and_verified_model(
    service: TrainingService,
    worker: Callable[..., TrainingStages],
    database: Database,
    blobs: BlobStore,
    feature_set: UUID,
    origin: Origin,
    system: Caller,
) -> None:
    """Row, files, metrics and audit agree; checkpoints are gone; the model scores what it never saw."""
    job = await service.create(training_request(feature_set), caller=system, origin=origin)
    assert (job.status, job.total_epochs, job.progress) == (JobStatus.QUEUED, 30, 0)
    assert job.hyperparameters["reg_lambda"] == 1.0
    await service.admit()
    await _finish(worker(rounds=8), job.id)

    done = await service.get(job.id)
    assert (done.status, done.progress, done.error_message) == (JobStatus.COMPLETED, 1, None)
    assert done.started_at is not None
    assert done.completed_at is not None
    assert done.metrics is not None
    assert done.metrics["split"]["ordered_by"] == "time"
    assert done.metrics["curves"]["validation"]["round"][-1] == done.current_epoch
    [model] = await _models(database)
    assert (model["id"], model["version"], model["status"]) == (model_id_of(job.id), "1.0", "TRAINED")
    assert done.model_id == model["id"]
    assert done.final_metrics == model["metrics"]
    assert model["metrics"]["auc_roc"] > 0.9
    assert set(model["feature_importance"]) == set(model["feature_names"])

    files = await read_artifact(blobs, model["id"])
    metadata, contents = verify_artifact(files, model["artifact_sha256"])
    assert set(contents) == {"model.ubj", "plan.json", "profile.json", "report.html"}
    assert sum(map(len, files.values())) == model["model_size_bytes"]
    assert metadata.threshold == model["threshold"]
    loaded = load_artifact(files, model["artifact_sha256"], version=model["version"])
    profile = read_profile(files, loaded.metadata)
    assert profile is not None
    assert profile.scores is not None
    assert profile.scores.total == loaded.metadata.metrics["rows"]
    confusion = loaded.metadata.metrics["confusion"]
    flagged = confusion["true_positives"] + confusion["false_positives"]
    assert sum(profile.scores.counts[profile.scores.flagged_from :]) == flagged
    assert list(loaded.plan.feature_names) == model["feature_names"]
    assert await blobs.delete_prefix(job_prefix(job.id)) == 0
    async with database.connection() as conn:
        actions = await (
            await conn.execute("SELECT action, resource_type FROM audit_logs ORDER BY created_at, resource_type DESC")
        ).fetchall()
    assert [(a["action"], a["resource_type"]) for a in actions] == [("CREATE", "training_job"), ("CREATE", "model")]


async def test_workers_that_die_after_any_stage_change_nothing(
    service: TrainingService,
    worker: Callable[..., TrainingStages],
    database: Database,
    blobs: BlobStore,
    feature_set: UUID,
    origin: Origin,
    system: Caller,
) -> None:
    """Every stage runs twice, each time on a new worker, and the one model equals that of a quiet run bit for bit."""
    quiet = await started(service, training_request(feature_set, name="quiet"), system, origin)
    await _finish(worker(), quiet.id)

    job = await started(service, training_request(feature_set, name="stormy"), system, origin)
    await worker().prepare(job.id)
    result = await worker().prepare(job.id)
    slices = 0
    while not result["finished"]:
        slices += 1
        result = await worker(rounds=3).train_slice(job.id)
    assert slices > 3
    for stage in ("train_slice", "evaluate", "evaluate", "register", "register", "evaluate", "prepare"):
        await getattr(worker(), stage)(job.id)

    assert [(m["name"], m["version"]) for m in await _models(database)] == [("quiet", "1.0"), ("stormy", "1.0")]
    models = [await blobs.read_bytes(model_prefix(model_id_of(j.id)) + "model.ubj") for j in (quiet, job)]
    assert models[0] == models[1]
    stormy = await service.get(job.id)
    assert stormy.status is JobStatus.COMPLETED
    verify_artifact(await read_artifact(blobs, model_id_of(job.id)), (await _models(database))[1]["artifact_sha256"])


async def test_a_late_worker_does_not_change_what_was_registered(blobs: BlobStore) -> None:
    """Its model may differ in what it says of itself, such as the seconds it took; the first one's files stay."""
    model_id = uuid4()
    early, late = (packed_model(model_id=model_id, training={"seconds": seconds}) for seconds in (1, 2))
    await write_artifact(blobs, model_id, early)
    await write_artifact(blobs, model_id, late)
    verify_artifact(await read_artifact(blobs, model_id), early.sha256)
    assert not await blobs.create_bytes(model_prefix(model_id) + "metadata.json", b"{}")
    verify_artifact(await read_artifact(blobs, model_id), early.sha256)


async def test_two_workers_on_one_job_at_a_time_make_one_model(
    service: TrainingService,
    worker: Callable[..., TrainingStages],
    database: Database,
    feature_set: UUID,
    origin: Origin,
    system: Caller,
) -> None:
    """A worker believed dead that goes on beside its replacement does no harm."""
    job = await started(service, training_request(feature_set), system, origin)
    await asyncio.gather(_finish(worker(rounds=4), job.id), _finish(worker(rounds=7), job.id))
    assert (await service.get(job.id)).status is JobStatus.COMPLETED
    assert len(await _models(database)) == 1


async def test_models_of_one_name_are_counted_up_even_when_made_together(
    service: TrainingService,
    worker: Callable[..., TrainingStages],
    database: Database,
    feature_set: UUID,
    origin: Origin,
    system: Caller,
) -> None:
    """Three jobs that register at once get three versions."""
    jobs = [
        await started(service, training_request(feature_set, hyperparameters={"n_estimators": 2}), system, origin)
        for _ in range(3)
    ]
    stages = worker()
    for job in jobs:
        await stages.prepare(job.id)
        await stages.train_slice(job.id)
        await stages.evaluate(job.id)
    await asyncio.gather(*(stages.register(job.id) for job in jobs))
    assert [model["version"] for model in await _models(database)] == ["1.0", "2.0", "3.0"]


async def test_cancelling_stops_a_slice_that_is_under_way(
    service: TrainingService,
    worker: Callable[..., TrainingStages],
    database: Database,
    blobs: BlobStore,
    feature_set: UUID,
    origin: Origin,
    system: Caller,
) -> None:
    """A run of ten thousand rounds ends within seconds of the request, and leaves no files."""
    endless = {"n_estimators": 10_000, "early_stopping_rounds": None, "learning_rate": 0.001}
    job = await started(service, training_request(feature_set, hyperparameters=endless), system, origin)
    stages = worker()
    await stages.prepare(job.id)
    slice_ = asyncio.ensure_future(stages.train_slice(job.id))
    running = await service.get(job.id)
    while not running.current_epoch:  # the database says so, no event does
        await asyncio.sleep(0.2)
        running = await service.get(job.id)
    assert 0 < running.progress < 0.9
    assert running.eta_seconds is not None
    await service.cancel(job.id, caller=system, origin=origin)
    result = await asyncio.wait_for(slice_, 15)
    assert result == {"status": "CANCELLED", "finished": True}
    assert await blobs.delete_prefix(job_prefix(job.id)) == 0
    assert await stages.evaluate(job.id) == {"status": "CANCELLED", "finished": True}
    assert await _models(database) == []
    assert (await service.cancel(job.id, caller=system, origin=origin)).status is JobStatus.CANCELLED


async def test_a_cancelled_model_is_never_registered(
    service: TrainingService,
    worker: Callable[..., TrainingStages],
    database: Database,
    blobs: BlobStore,
    feature_set: UUID,
    origin: Origin,
    system: Caller,
) -> None:
    """Cancelling between evaluation and registration removes the files that evaluation wrote."""
    job = await started(service, training_request(feature_set), system, origin)
    stages = worker()
    await stages.prepare(job.id)
    await stages.train_slice(job.id)
    await stages.evaluate(job.id)
    await service.cancel(job.id, caller=system, origin=origin)
    assert (await stages.register(job.id))["status"] == "CANCELLED"
    assert await _models(database) == []
    assert await blobs.delete_prefix(model_prefix(model_id_of(job.id))) == 0


async def test_a_finished_job_cannot_be_cancelled(
    service: TrainingService, worker: Callable[..., TrainingStages], feature_set: UUID, origin: Origin, system: Caller
) -> None:
    """COMPLETED is final; an unknown job is not found."""
    job = await started(service, training_request(feature_set, hyperparameters={"n_estimators": 1}), system, origin)
    await _finish(worker(), job.id)
    with pytest.raises(Conflict, match="COMPLETED"):
        await service.cancel(job.id, caller=system, origin=origin)
    with pytest.raises(NotFound):
        await service.cancel(uuid4(), caller=system, origin=origin)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.with_columns(pl.lit(None, dtype=pl.Int8).alias("__label")), "no row has a label"),
        (lambda f: f.with_columns(pl.lit(0, dtype=pl.Int8).alias("__label")), "all 3000 labelled rows are genuine"),
        (lambda f: f.head(2), "2 labelled rows are too few"),
        (
            lambda f: f.with_columns(pl.lit(float("nan"), dtype=pl.Float32).alias("amount")),
            "no value in the fitting part: amount",
        ),
    ],
)
async def test_data_that_cannot_be_learned_from_fails_the_job_with_the_reason(
    service: TrainingService,
    worker: Callable[..., TrainingStages],
    database: Database,
    blobs: BlobStore,
    tmp_path: Path,
    origin: Origin,
    system: Caller,
    change: Callable[[pl.DataFrame], pl.DataFrame],
    message: str,
) -> None:
    """No retry, no riddle: FAILED, and the sentence says why."""
    feature_set_id = await make_feature_set(database, blobs, tmp_path, change=change)
    job = await started(service, training_request(feature_set_id), system, origin)
    result = await worker().prepare(job.id)
    assert result == {"status": "FAILED", "finished": True}
    failed = await service.get(job.id)
    assert failed.error_message is not None
    assert message in failed.error_message
    assert failed.error_traceback is not None
    assert failed.completed_at is not None


async def test_the_unexpected_is_noted_and_raised_for_another_attempt(
    service: TrainingService,
    worker: Callable[..., TrainingStages],
    blobs: BlobStore,
    feature_set: UUID,
    origin: Origin,
    system: Caller,
) -> None:
    """A broken checkpoint alone does not fail the job; giving up does, and keeps the traceback."""
    job = await started(service, training_request(feature_set), system, origin)
    stages = worker()
    await stages.prepare(job.id)
    await blobs.upload_bytes(job_prefix(job.id) + "progress-00000.json", b"{")
    with pytest.raises(ValidationError):
        await stages.train_slice(job.id)
    assert (await service.get(job.id)).status is JobStatus.RUNNING
    await stages.fail(job.id, "gave up")
    failed = await service.get(job.id)
    assert (failed.status, failed.error_message) == (JobStatus.FAILED, "gave up")
    assert failed.error_traceback is not None
    assert "ValidationError" in failed.error_traceback


async def test_requests_that_make_no_sense_are_refused(
    service: TrainingService, database: Database, blobs: BlobStore, tmp_path: Path, origin: Origin, system: Caller
) -> None:
    """An unknown or unfinished feature set and bad hyperparameters never become jobs."""
    with pytest.raises(InvalidContent) as unknown:
        await service.create(training_request(uuid4()), caller=system, origin=origin)
    assert unknown.value.details[0].field == "feature_set_id"
    unfinished = await make_feature_set(database, blobs, tmp_path, status="PROCESSING")
    with pytest.raises(Conflict, match="PROCESSING"):
        await service.create(training_request(unfinished), caller=system, origin=origin)
    with pytest.raises(InvalidContent, match="hyperparameters"):
        await service.create(training_request(unfinished, hyperparameters={"depth": 3}), caller=system, origin=origin)
    assert await service.list_page() == ([], 0)


async def test_jobs_are_listed_newest_first_without_curves(
    service: TrainingService,
    worker: Callable[..., TrainingStages],
    database: Database,
    blobs: BlobStore,
    feature_set: UUID,
    origin: Origin,
    system: Caller,
) -> None:
    """Filters and counts agree; the long parts are only in the job itself."""
    jobs: list[TrainingJob] = [
        await service.create(training_request(feature_set, name=name), caller=system, origin=origin) for name in "abc"
    ]
    assert await TrainingService(database, blobs, utc_now, concurrency=1).admit() == [jobs[0].orchestration_id]
    await worker().prepare(jobs[0].id)
    page, total = await service.list_page(JobFilter(feature_set_id=feature_set), Page(limit=2))
    assert ([job.name for job in page], total) == (["c", "b"], 3)
    [running], count = await service.list_page(JobFilter(status=JobStatus.RUNNING))
    assert (running.id, count) == (jobs[0].id, 1)
    assert running.metrics is not None
    assert "curves" not in running.metrics
    assert "split" in running.metrics
