"""Stages that fit: prepare the data, and slices of rounds from one checkpoint to the next."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final
from uuid import UUID

from shared.platform.blobs import BlobMissing
from shared.training import repository
from shared.training.algorithms import Trainer, algorithm, parse
from shared.training.job_stages import JobStages, StageResult, checkpoint_path, progress_path, stage, usable_threads
from shared.training.model import JobStatus, TrainingJob
from shared.training.progress import TrainingProgress
from shared.training.slices import SliceLimits, run_slice
from shared.training.training_set import TrainingSet, check_features

_REPORT_SECONDS: Final = 2.0
_Work = Callable[[threading.Event, Callable[[TrainingProgress], None]], bytes]


class FittingStages(JobStages):
    """From QUEUED to the last round."""

    @stage
    async def prepare(self, job_id: UUID) -> StageResult:
        """The data is fetched, split and checked; the run stands at round 0."""
        job = await self._running(job_id)
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
        entry, hyperparameters = algorithm(job.algorithm), parse(job.algorithm, job.hyperparameters)
        warnings += entry.warnings(data, hyperparameters)
        if self._cluster is not None and self._cluster.trains(job.algorithm):
            warnings.append("trained on a Dask cluster: training again gives a model that differs within rounding")
        try:
            progress = await self._progress(job)
        except BlobMissing:
            progress = TrainingProgress(
                total_rounds=entry.total_rounds(hyperparameters),
                patience=entry.patience(hyperparameters),
                threads=usable_threads(),
            )
            await self._blobs.upload_bytes(progress_path(job_id, 0), progress.to_json())
        about = {
            "split": data.split.to_json(),
            "unlabelled_rows": data.table.unlabelled_rows,
            "warnings": warnings,
            "threads": progress.threads,
        }
        await self._report(job_id, progress, more=about)
        searched = job.search is None or job.search.winner is not None
        return StageResult(status=job.status.value, finished=progress.finished, searched=searched)

    @stage
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
        written = await self._boost(job, data, progress, lambda latest: self._still_runs(job_id, latest))
        if not await self._report(job_id, progress):
            return await self._ended(job_id)
        await self._blobs.upload_bytes(checkpoint_path(job_id, progress.rounds), written)
        await self._blobs.upload_bytes(progress_path(job_id, progress.rounds), progress.to_json())
        async with self._database.transaction() as conn:
            advanced = await repository.advance_checkpoint(conn, job_id, progress.rounds)
        if not advanced:
            return await self._ended(job_id)
        return StageResult(status=JobStatus.RUNNING.value, finished=progress.finished)

    async def _boost(
        self,
        job: TrainingJob,
        data: TrainingSet,
        progress: TrainingProgress,
        still_wanted: Callable[[TrainingProgress], Awaitable[bool]],
        *,
        limits: SliceLimits | None = None,
        trial: int | None = None,
        folder: str = "",
    ) -> bytes:
        """One slice from the last checkpoint of a run, which this worker may have in memory; returns the next.

        :param job: with the hyperparameters of the run.
        :param trial: which trial of the job's search the run is, if it is one.
        :param folder: where its checkpoints lie among the job's files.
        """
        run = (job.id, trial)
        hyperparameters = parse(job.algorithm, job.hyperparameters)
        held = self._runs.take(run, progress.checkpoint_sha256)
        checkpoint = None
        if held is None and progress.rounds:
            checkpoint = await self._blobs.read_bytes(checkpoint_path(job.id, progress.rounds, folder))
        limits = limits or self._limits
        if self._cluster is not None and self._cluster.trains(job.algorithm) and trial is None:
            on_cluster = partial(self._cluster.run_slice, job.id, data, hyperparameters, progress, checkpoint, limits)
            return await _watched(on_cluster, still_wanted)

        def work(stop: threading.Event, report: Callable[[TrainingProgress], None]) -> bytes:
            trainer = held or self._start(job, data, progress, checkpoint)
            written = run_slice(trainer, progress, limits, stop, report)
            assert progress.checkpoint_sha256 is not None
            self._runs.put(run, progress.checkpoint_sha256, trainer)
            return written

        return await _watched(work, still_wanted)

    def _start(
        self, job: TrainingJob, data: TrainingSet, progress: TrainingProgress, checkpoint: bytes | None
    ) -> Trainer:
        entry, hyperparameters = algorithm(job.algorithm), parse(job.algorithm, job.hyperparameters)
        split, threads = data.split, progress.threads
        key = (job.feature_set_id, data.table.feature_names, split.rows, split.fit_end, split.train_end)
        prepared = self._prepared.get(
            (*key, entry.matrix_key(hyperparameters, threads)),
            lambda: entry.prepare(data, hyperparameters, threads),
        )
        return entry.start(data, prepared, hyperparameters, threads, checkpoint)


async def _watched(work: _Work, still_wanted: Callable[[TrainingProgress], Awaitable[bool]]) -> bytes:
    """Run a slice in a thread; meanwhile say how it goes, and stop it soon after it is no longer wanted."""
    stop = threading.Event()
    latest: list[TrainingProgress] = []
    running = asyncio.ensure_future(asyncio.to_thread(work, stop, latest.append))
    try:
        while not running.done():
            await asyncio.wait({running}, timeout=_REPORT_SECONDS)
            if latest and not running.done() and not await still_wanted(latest[-1]):
                stop.set()
            latest.clear()
    finally:
        stop.set()
    return await running
