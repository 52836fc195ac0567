"""What the stages of a job share: how they end, fail, report, and find the job's data.

Every stage is one durable activity and runs at least once. It can be repeated at any point and by several workers at
a time: ids are derived from the job's, blobs are written again with the same bytes, and rows change only from the
state that the stage expects. What cannot work is a DomainError and fails the job at once; anything else is noted and
raised, so that the orchestration tries again.
"""

import asyncio
import os
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, Final, NotRequired, TypedDict, TypeVar
from uuid import UUID

from shared.alerts.jobs import report_failed
from shared.features.history.store import RETENTION, HistoryStore
from shared.features.plan import FeaturePlan
from shared.platform.blobs import BlobMissing, BlobStore
from shared.platform.clock import Clock
from shared.platform.database import Database
from shared.platform.errors import DomainError, NotFound, Unavailable
from shared.platform.telemetry import get_logger
from shared.training import repository
from shared.training.algorithms import algorithm
from shared.training.model import (
    FeatureSetSource,
    JobStatus,
    TrainingJob,
    UntrainableData,
    job_prefix,
    model_id_of,
    model_prefix,
)
from shared.training.progress import TrainingProgress
from shared.training.slices import LiveRuns, SliceLimits
from shared.training.split import temporal_split
from shared.training.training_set import TrainingSet
from shared.training.worker_cache import PreparedCache, TableCache

if TYPE_CHECKING:
    from shared.training.cluster import Cluster

STAGE_FAILED: Final = "training_stage_failed"
JOB_FAILED: Final = "training_job_failed"
JOB_COMPLETED: Final = "training_job_completed"

FITTING_SHARE: Final = 0.9  # of a job's progress; then come evaluation and registration
_log = get_logger("training")


class StageResult(TypedDict):
    """What an activity tells the orchestrator: the job's status, and whether what it repeats (searching, boosting,
    loading history) has ended; if not, ``lanes`` says which trials come next, ``next_row`` where loading history goes
    on. ``searched`` is false where a search for hyperparameters comes before boosting.
    """

    status: str
    finished: bool
    searched: NotRequired[bool]
    lanes: NotRequired[list[list[int]]]
    next_row: NotRequired[int]


_StagesT = TypeVar("_StagesT", bound="JobStages")
_Stage = Callable[Concatenate[_StagesT, UUID, ...], Awaitable[StageResult]]


def stage(method: _Stage[_StagesT]) -> _Stage[_StagesT]:
    """Decide what an exception means: the job's end, or another attempt."""

    @wraps(method)
    async def guarded(self: _StagesT, job_id: UUID, *arguments: Any) -> StageResult:
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


class JobStages:
    """Base of the stages. Holds the worker's caches."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        clock: Clock,
        *,
        limits: SliceLimits | None = None,
        tables: TableCache | None = None,
        history_retention: timedelta = RETENTION,
        cluster: "Cluster | None" = None,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock
        self._limits = limits or SliceLimits()
        self._tables = tables or TableCache()
        self._cluster = cluster
        self._prepared = PreparedCache()
        self._runs = LiveRuns()
        self._table_building = asyncio.Lock()
        self._history = HistoryStore(database, clock, retention=history_retention)

    async def fail(self, job_id: UUID, message: str, trace: str | None = None) -> StageResult:
        """End a job that cannot go on; one that has ended stays as it is."""
        async with self._database.transaction() as conn:
            failed = await repository.fail_job(conn, job_id, self._clock(), message, trace)
            if failed is not None:
                await report_failed(conn, "training job", job_id, failed.name, message, self._clock())
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
                if self._cluster is not None and self._cluster.trains(job.algorithm):
                    with suppress(Unavailable):  # a cluster that is away holds no rows
                        await asyncio.to_thread(self._cluster.forget, job_id)
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
                progress=FITTING_SHARE * progress.fraction if share is None else share,
                metrics={**progress.shown(), **(more or {})},
            )

    async def _progress(self, job: TrainingJob) -> TrainingProgress:
        return TrainingProgress.from_json(await self._blobs.read_bytes(progress_path(job.id, job.checkpoint_round)))

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
                    parquet = scratch / "features.parquet"
                    await self._blobs.download_file(source.features_path, parquet)
                    table = await asyncio.to_thread(self._tables.build, source.id, plan.feature_names, parquet)
        if not table.labelled and algorithm(job.algorithm).needs_labels:
            raise UntrainableData("no row has a label", target="feature_set_id")
        split = await asyncio.to_thread(temporal_split, table.labels, table.times, job.train_test_split)
        return TrainingSet(table, split)


def progress_path(job_id: UUID, rounds: int, folder: str = "") -> str:
    return f"{job_prefix(job_id)}{folder}progress-{rounds:05d}.json"


def checkpoint_path(job_id: UUID, rounds: int, folder: str = "") -> str:
    return f"{job_prefix(job_id)}{folder}checkpoint-{rounds:05d}.ubj"


def usable_threads() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
