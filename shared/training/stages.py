"""The stages of a job: prepare, slices, evaluate, register. Each is one durable activity and runs at least once.

Every stage can be repeated at any point and by several workers at a time: ids are derived from the job's, blobs are
written again with the same bytes, and rows change only from the state that the stage expects. What cannot work is a
DomainError and fails the job at once; anything else is noted and raised, so that the orchestration tries again.
"""

import asyncio
import os
import tempfile
import threading
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, Final, NotRequired, TypedDict
from uuid import UUID

from shared.audit import service as audit
from shared.audit.model import Origin
from shared.datasets.model import data_path
from shared.features.history.backfill import SLICE_ROWS, load_dataset_slice
from shared.features.history.store import HistoryStore
from shared.features.plan import FeaturePlan
from shared.platform.blobs import BlobMissing, BlobStore
from shared.platform.clock import Clock
from shared.platform.database import Database
from shared.platform.errors import Conflict, DomainError, NotFound, Unavailable
from shared.platform.telemetry import get_logger
from shared.training import repository
from shared.training.algorithms import Trainer, algorithm, parse
from shared.training.artifact_store import read_metadata, write_artifact
from shared.training.artifacts import PLAN, PROFILE
from shared.training.building import build_artifact
from shared.training.model import (
    FeatureSetSource,
    JobStatus,
    TrainedModel,
    TrainingJob,
    job_prefix,
    model_id_of,
    model_prefix,
)
from shared.training.progress import TrainingProgress
from shared.training.slices import LiveRuns, SliceLimits, run_slice
from shared.training.split import temporal_split
from shared.training.training_set import TrainingSet, check_features
from shared.training.worker_cache import PreparedCache, TableCache

STAGE_FAILED: Final = "training_stage_failed"
JOB_FAILED: Final = "training_job_failed"
JOB_COMPLETED: Final = "training_job_completed"

_REPORT_SECONDS: Final = 2.0
_BOOSTING_SHARE: Final = 0.9  # of a job's progress; then come evaluation and registration
_EVALUATED_SHARE: Final = 0.97
_log = get_logger("training")


class StageResult(TypedDict):
    """What an activity tells the orchestrator: the job's status, and whether what it repeats (boosting, loading
    history) has ended; if not, ``next_row`` says where loading history goes on.
    """

    status: str
    finished: bool
    next_row: NotRequired[int]


_Stage = Callable[Concatenate["TrainingStages", UUID, ...], Awaitable[StageResult]]


def _stage(method: _Stage) -> _Stage:
    """Decide what an exception means: the job's end, or another attempt."""

    @wraps(method)
    async def guarded(self: "TrainingStages", job_id: UUID, *arguments: int) -> StageResult:
        try:
            return await method(self, job_id, *arguments)
        except DomainError as error:
            if isinstance(error, Unavailable):
                await self.note(job_id, method.__name__)
                raise
            return await self.fail(job_id, error.message, traceback.format_exc())
        except Exception:
            await self.note(job_id, method.__name__)
            raise

    return guarded


class TrainingStages:
    """What activities call. Holds the worker's caches."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        clock: Clock,
        *,
        limits: SliceLimits | None = None,
        tables: TableCache | None = None,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock
        self._limits = limits or SliceLimits()
        self._tables = tables or TableCache()
        self._prepared = PreparedCache()
        self._runs = LiveRuns()
        self._table_building = asyncio.Lock()

    @_stage
    async def prepare(self, job_id: UUID) -> StageResult:
        """QUEUED to RUNNING; the data is fetched, split and checked; the run stands at round 0."""
        async with self._database.transaction() as conn:
            job = await repository.start_job(conn, job_id, self._clock())
        if job is None:
            return await self._ended(job_id)
        source, plan, _ = await self._source(job)
        data = await self._training_set(job, source, plan)
        warnings = await asyncio.to_thread(check_features, data)
        fitted = plan.config.train_fraction
        if job.train_test_split < fitted:
            warnings.append(
                f"the features were fitted on the first {fitted:.0%} of the rows, the model is on "
                f"{job.train_test_split:.0%}: some test rows have had a part in making the features"
            )
        hyperparameters = parse(job.algorithm, job.hyperparameters)
        try:
            progress = await self._progress(job)
        except BlobMissing:
            entry = algorithm(job.algorithm)
            progress = TrainingProgress(
                total_rounds=entry.total_rounds(hyperparameters),
                patience=entry.patience(hyperparameters),
                threads=_threads(),
            )
            await self._blobs.upload_bytes(_progress_path(job_id, 0), progress.to_json())
        about = {
            "split": data.split.to_json(),
            "unlabelled_rows": data.table.unlabelled_rows,
            "warnings": warnings,
            "threads": progress.threads,
        }
        await self._report(job_id, progress, more=about)
        return StageResult(status=job.status.value, finished=progress.finished)

    @_stage
    async def train_slice(self, job_id: UUID) -> StageResult:
        """Some rounds from the last checkpoint."""
        job = await self._running(job_id)
        if job is None:
            return await self._ended(job_id)
        progress = await self._progress(job)
        if progress.finished:
            return StageResult(status=job.status.value, finished=True)
        source, plan, _ = await self._source(job)
        data = await self._training_set(job, source, plan)
        trainer = self._runs.take(job_id, progress.checkpoint_sha256)
        checkpoint = None
        if trainer is None and progress.rounds:
            checkpoint = await self._blobs.read_bytes(_checkpoint_path(job_id, progress.rounds))

        def start() -> Trainer:
            return trainer or self._start(job, data, progress, checkpoint)

        written = await self._run_slice(job_id, start, progress)
        if not await self._report(job_id, progress):
            return await self._ended(job_id)
        await self._blobs.upload_bytes(_checkpoint_path(job_id, progress.rounds), written)
        await self._blobs.upload_bytes(_progress_path(job_id, progress.rounds), progress.to_json())
        async with self._database.transaction() as conn:
            advanced = await repository.advance_checkpoint(conn, job_id, progress.rounds)
        if not advanced:
            return await self._ended(job_id)
        return StageResult(status=JobStatus.RUNNING.value, finished=progress.finished)

    def _start(
        self, job: TrainingJob, data: TrainingSet, progress: TrainingProgress, checkpoint: bytes | None
    ) -> Trainer:
        entry, hyperparameters = algorithm(job.algorithm), parse(job.algorithm, job.hyperparameters)
        split, threads = data.split, progress.threads
        key = (job.feature_set_id, data.table.feature_names, split.fit_end, split.train_end)
        prepared = self._prepared.get(
            (*key, entry.matrix_key(hyperparameters, threads)),
            lambda: entry.prepare(data, hyperparameters, threads),
        )
        return entry.start(data, prepared, hyperparameters, threads, checkpoint)

    async def _run_slice(self, job_id: UUID, start: Callable[[], Trainer], progress: TrainingProgress) -> bytes:
        """Boost in a thread; meanwhile tell the job how it goes, and stop soon after it was cancelled."""
        stop = threading.Event()
        latest: list[TrainingProgress] = []

        def work() -> bytes:
            trainer = start()
            written = run_slice(trainer, progress, self._limits, stop, latest.append)
            assert progress.checkpoint_sha256 is not None
            self._runs.put(job_id, progress.checkpoint_sha256, trainer)
            return written

        running = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            while not running.done():
                await asyncio.wait({running}, timeout=_REPORT_SECONDS)
                if latest and not running.done() and not await self._still_runs(job_id, latest[-1]):
                    stop.set()
                latest.clear()
        finally:
            stop.set()
        return await running

    @_stage
    async def evaluate(self, job_id: UUID) -> StageResult:
        """The finished run becomes a model: threshold, figures on the test part, files in Blob."""
        job = await self._running(job_id)
        if job is None:
            return await self._ended(job_id)
        progress = await self._progress(job)
        if not progress.finished:
            raise Conflict(f"boosting stands at round {progress.rounds} of {progress.total_rounds}")
        self._runs.drop(job_id)
        source, plan, plan_json = await self._source(job)
        data = await self._training_set(job, source, plan)
        profile = await self._blobs.read_bytes(source.profile_path)
        checkpoint = await self._blobs.read_bytes(_checkpoint_path(job_id, progress.rounds))
        artifact = await asyncio.to_thread(
            build_artifact, job, source, data, progress, checkpoint, {PLAN: plan_json, PROFILE: profile}
        )
        await write_artifact(self._blobs, model_id_of(job_id), artifact)
        if not await self._report(job_id, progress, _EVALUATED_SHARE):
            return await self._ended(job_id)
        return StageResult(status=job.status.value, finished=True)

    @_stage
    async def load_history(self, job_id: UUID, first_row: int) -> StageResult:
        """The events of the training data, from ``first_row`` on, are in the store that scoring reads.

        Done before the model is registered, so that no model can be promoted that does not know yesterday.
        """
        job = await self._running(job_id)
        if job is None:
            return await self._ended(job_id)
        source, plan, _ = await self._source(job)
        layout = plan.layout
        if layout is None:
            return StageResult(status=job.status.value, finished=True)
        with tempfile.TemporaryDirectory(prefix="history-") as folder:
            local = Path(folder, "data.parquet")
            await self._blobs.download_file(data_path(source.dataset_id), local)
            done = await load_dataset_slice(
                self._database,
                HistoryStore(self._database, self._clock),
                plan,
                layout,
                local,
                source=str(source.dataset_id),
                first_row=first_row,
            )
        if done.rows < SLICE_ROWS:
            return StageResult(status=job.status.value, finished=True)
        return StageResult(status=job.status.value, finished=False, next_row=first_row + done.rows)

    @_stage
    async def register(self, job_id: UUID) -> StageResult:
        """The model's row and the job's end, in one transaction."""
        model_id = model_id_of(job_id)
        job = await self._running(job_id)
        if job is None:
            return await self._ended(job_id)
        metadata, size, sha256 = await read_metadata(self._blobs, model_id)
        model = TrainedModel(
            id=model_id,
            name=job.name,
            description=f"{job.algorithm} on feature set {job.feature_set_id}",
            algorithm=job.algorithm,
            hyperparameters=job.hyperparameters,
            feature_set_id=job.feature_set_id,
            training_job_id=job_id,
            storage_path=model_prefix(model_id),
            model_size_bytes=size,
            metrics=metadata.metrics,
            feature_names=metadata.feature_names,
            feature_importance=metadata.feature_importance,
            threshold=metadata.threshold,
            artifact_sha256=sha256,
            created_by=job.created_by,
        )
        async with self._database.transaction() as conn:
            current = await repository.get_job(conn, job_id, lock=True)
            if current is not None and current.status is JobStatus.RUNNING:
                now = self._clock()
                number = await repository.insert_model(conn, model, now)
                await repository.complete_job(conn, job_id, now, model_id=model_id, final_metrics=metadata.metrics)
                await audit.record(
                    conn,
                    Origin(request_id=job.orchestration_id or str(job_id)),
                    None,
                    action="CREATE",
                    resource_type="model",
                    resource_id=model_id,
                    new={"name": job.name, "version": number, "training_job_id": str(job_id)},
                )
        return await self._ended(job_id)

    async def fail(self, job_id: UUID, message: str, trace: str | None = None) -> StageResult:
        """End a job that cannot go on; one that has ended stays as it is."""
        async with self._database.transaction() as conn:
            failed = await repository.fail_job(conn, job_id, self._clock(), message, trace)
        if failed is not None:
            _log.warning(JOB_FAILED, job_id=str(job_id), reason=message)
        return await self._ended(job_id)

    async def note(self, job_id: UUID, stage: str) -> None:
        """Keep the present exception's traceback with the job, as far as the database can be reached."""
        _log.exception(STAGE_FAILED, job_id=str(job_id), stage=stage)
        try:
            async with self._database.transaction() as conn:
                await repository.note_traceback(conn, job_id, traceback.format_exc())
        except Unavailable:
            return

    async def _ended(self, job_id: UUID) -> StageResult:
        """Tidy up after a job that is over: its checkpoints go, and the files of a model that was never registered."""
        async with self._database.connection() as conn:
            job = await repository.get_job(conn, job_id)
        if job is None:
            raise NotFound("no training job has this id", target="job_id")
        self._runs.drop(job_id)
        if job.status.final:
            await self._delete(job_prefix(job_id))
            if job.status is JobStatus.COMPLETED:
                _log.info(JOB_COMPLETED, job_id=str(job_id), model_id=str(job.model_id))
            else:
                await self._delete(model_prefix(model_id_of(job_id)))
        return StageResult(status=job.status.value, finished=True)

    async def _delete(self, prefix: str) -> None:
        with suppress(BlobMissing):  # another worker tidies the same job
            await self._blobs.delete_prefix(prefix)

    async def _running(self, job_id: UUID) -> TrainingJob | None:
        async with self._database.connection() as conn:
            job = await repository.get_job(conn, job_id)
        return job if job is not None and job.status is JobStatus.RUNNING else None

    async def _still_runs(self, job_id: UUID, progress: TrainingProgress) -> bool:
        try:
            return await self._report(job_id, progress)
        except Unavailable:  # a database that is away for a moment is no reason to stop
            return True

    async def _report(
        self,
        job_id: UUID,
        progress: TrainingProgress,
        share: float | None = None,
        more: dict[str, Any] | None = None,
    ) -> bool:
        async with self._database.transaction() as conn:
            return await repository.report_progress(
                conn,
                job_id,
                rounds=progress.rounds,
                progress=_BOOSTING_SHARE * progress.fraction if share is None else share,
                metrics={**progress.shown(), **(more or {})},
            )

    async def _progress(self, job: TrainingJob) -> TrainingProgress:
        return TrainingProgress.from_json(await self._blobs.read_bytes(_progress_path(job.id, job.checkpoint_round)))

    async def _source(self, job: TrainingJob) -> tuple[FeatureSetSource, FeaturePlan, bytes]:
        async with self._database.connection() as conn:
            source = await repository.get_feature_set(conn, job.feature_set_id)
        assert source is not None  # the job's foreign key
        plan_json = await self._blobs.read_bytes(source.plan_path)
        return source, await asyncio.to_thread(FeaturePlan.from_json, plan_json), plan_json

    async def _training_set(self, job: TrainingJob, source: FeatureSetSource, plan: FeaturePlan) -> TrainingSet:
        async with self._table_building:
            table = await asyncio.to_thread(self._tables.find, source.id, plan.feature_names)
            if table is None:
                with self._tables.scratch() as scratch:
                    parquet = Path(scratch, "features.parquet")
                    await self._blobs.download_file(source.features_path, parquet)
                    table = await asyncio.to_thread(self._tables.build, source.id, plan.feature_names, parquet)
        split = await asyncio.to_thread(temporal_split, table.labels, table.times, job.train_test_split)
        return TrainingSet(table, split)


def _progress_path(job_id: UUID, rounds: int) -> str:
    return f"{job_prefix(job_id)}progress-{rounds:05d}.json"


def _checkpoint_path(job_id: UUID, rounds: int) -> str:
    return f"{job_prefix(job_id)}checkpoint-{rounds:05d}.ubj"


def _threads() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
