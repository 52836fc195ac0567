"""Stages of a search: who is tried next, and a slice of work on some trials."""

import asyncio
import math
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import numpy as np

from shared.platform.database import Connection
from shared.platform.errors import DomainError, Unavailable
from shared.platform.telemetry import get_logger
from shared.training import repository
from shared.training.algorithms import algorithm, parse
from shared.training.evaluation import ScoreCurve, brier_score, log_loss
from shared.training.fitting_stages import FittingStages
from shared.training.job_stages import FITTING_SHARE, StageResult, checkpoint_path, progress_path, stage
from shared.training.model import JobStatus, TrainingJob, UntrainableData, job_prefix
from shared.training.progress import TrainingProgress
from shared.training.search import MOST_ATTEMPTS, Search, SearchMetric, Trial
from shared.training.slices import SliceLimits
from shared.training.training_set import TrainingSet

TRIAL_FAILED: Final = "training_trial_failed"

_TRIALS: Final = "trials/"
_LEAST_ROWS: Final = 1_000
_LEAST_FRAUDS: Final = 10
_RECALL_AT: Final = {"recall_at_fpr_0_1pct": 0.001, "recall_at_fpr_1pct": 0.01, "recall_at_fpr_5pct": 0.05}
_log = get_logger("training")


class SearchStages(FittingStages):
    """Between preparing the data and the first round of the job's own model."""

    @stage
    async def advance_search(self, job_id: UUID) -> StageResult:
        """Who is tried next. When all is known, the job takes the winner's hyperparameters and stands at round 0."""
        async with self._database.transaction() as conn:
            job = await repository.get_job(conn, job_id, lock=True)
            if job is not None and job.status is JobStatus.RUNNING:
                job = await self._advanced(conn, job)
        if job is None or job.status is not JobStatus.RUNNING:
            return await self._ended(job_id)
        search = job.search
        if search is not None and search.winner is None:
            return StageResult(status=job.status.value, finished=False, lanes=search.lanes())
        if search is not None:
            await self._blobs.upload_bytes(progress_path(job_id, 0), _new_progress(job, search.fraction).to_json())
            await self._delete(job_prefix(job_id) + _TRIALS)
        return StageResult(status=job.status.value, finished=True)

    async def _advanced(self, conn: Connection, job: TrainingJob) -> TrainingJob:
        """The job with what follows from its trials on record.

        :raises UntrainableData: no trial works.
        """
        if job.search is None or job.search.winner is not None:
            return job
        search = job.search.advanced()
        if search.failed:
            raise UntrainableData(f"no trial could be trained: {search.trials[0].reason}", target="search")
        search = search.model_copy(update={"started_at": search.started_at or self._clock()})
        await self._report_search(conn, job.id, search)
        if search.winner is not None:
            winner = search.trials[search.winner]
            hyperparameters = {**job.hyperparameters, **winner.hyperparameters}
            await repository.choose_hyperparameters(conn, job.id, hyperparameters, winner.total_rounds)
        advanced = await repository.get_job(conn, job.id)
        assert advanced is not None  # locked
        return advanced

    @stage
    async def run_trials(self, job_id: UUID, numbers: list[int]) -> StageResult:
        """Work on these trials of the present rung, one after the other, for about as long as one slice."""
        started = time.monotonic()
        for number in numbers:
            left = self._limits.seconds - (time.monotonic() - started)
            if left > 0 and not await self._run_trial(job_id, number, replace(self._limits, seconds=left)):
                return await self._ended(job_id)
        return StageResult(status=JobStatus.RUNNING.value, finished=True)

    async def _run_trial(self, job_id: UUID, number: int, limits: SliceLimits) -> bool:
        """Bring one trial further; whether the job still runs. What the trial dies of is its own affair, what storage
        and database do is not.
        """
        job = await self._running(job_id)
        if job is None or job.search is None:
            return False
        trial = job.search.trials[number]
        if not trial.waits or trial.rung != job.search.rung:
            return True
        if trial.attempts >= MOST_ATTEMPTS:
            reason = trial.reason or f"its worker ended {trial.attempts} times"
            return await self._save(job_id, trial.model_copy(update={"status": "FAILED", "reason": reason}))
        begun = trial.model_copy(update={"status": "RUNNING", "attempts": trial.attempts + 1})
        if not await self._save(job_id, begun):
            return False
        try:
            further = await self._further(job, job.search, begun, limits)
        except Unavailable:
            with suppress(Unavailable):
                await self._save(job_id, trial)
            raise
        except DomainError as error:
            further = begun.model_copy(update={"status": "FAILED", "reason": error.message})
        except Exception as error:  # noqa: BLE001  # one trial's end is not the job's
            _log.exception(TRIAL_FAILED, job_id=str(job_id), trial=number, attempt=begun.attempts)
            further = begun.model_copy(update={"reason": f"{type(error).__name__}: {error}"[:500]})
        return await self._save(job_id, further)

    async def _further(self, job: TrainingJob, search: Search, trial: Trial, limits: SliceLimits) -> Trial:
        """The trial after another slice, judged if it has had what its rung gives."""
        source, plan, _ = await self._source(job)
        whole = await self._training_set(job, source, plan)
        data = whole if search.resource == "rounds" else await asyncio.to_thread(_latest_rows, whole, search.share)
        folder = f"{_TRIALS}{trial.number}/" + ("" if search.resource == "rounds" else f"{trial.rung}/")
        own = job.model_copy(update={"hyperparameters": {**job.hyperparameters, **trial.hyperparameters}})
        progress = _new_progress(own, 0.0)
        if trial.rounds:
            progress = TrainingProgress.from_json(
                await self._blobs.read_bytes(progress_path(job.id, trial.rounds, folder))
            )
        earlier, budget = progress.seconds, search.budget(trial)
        if progress.rounds < budget and not progress.finished:

            async def still_wanted(_: TrainingProgress) -> bool:
                try:
                    return await self._running(job.id) is not None
                except Unavailable:
                    return True

            most = min(limits.rounds or budget, budget - progress.rounds)
            written = await self._boost(
                own,
                data,
                progress,
                still_wanted,
                limits=replace(limits, rounds=most),
                trial=trial.number,
                folder=folder,
            )
            await self._blobs.upload_bytes(checkpoint_path(job.id, progress.rounds, folder), written)
            await self._blobs.upload_bytes(progress_path(job.id, progress.rounds, folder), progress.to_json())
        else:
            written = await self._blobs.read_bytes(checkpoint_path(job.id, progress.rounds, folder))
        changes: dict[str, Any] = {
            "rounds": progress.rounds,
            "seconds": round(trial.seconds + progress.seconds - earlier, 3),
            "attempts": 0 if progress.rounds > trial.rounds else trial.attempts,
            "reason": None,
        }
        if progress.rounds >= budget or progress.finished:
            score = await asyncio.to_thread(_judge, own, data, progress, written, search.metric)
            changes |= {"scores": [*trial.scores, score], "attempts": 0}
        return trial.model_copy(update=changes)

    async def _save(self, job_id: UUID, trial: Trial) -> bool:
        """Put the trial on record, unless more is known of it; whether the job still runs."""
        async with self._database.transaction() as conn:
            job = await repository.get_job(conn, job_id, lock=True)
            if job is None or job.status is not JobStatus.RUNNING or job.search is None:
                return False
            await self._report_search(conn, job_id, job.search.with_trial(trial))
        return True

    async def _report_search(self, conn: Connection, job_id: UUID, search: Search) -> None:
        done, eta = search.fraction, None
        if done and search.started_at is not None:
            eta = round((self._clock() - search.started_at).total_seconds() * (1 - done) / done, 1)
        metrics = {"search": search.model_dump(mode="json"), "eta_seconds": eta}
        await repository.report_progress(conn, job_id, rounds=0, progress=FITTING_SHARE * done, metrics=metrics)


def _new_progress(job: TrainingJob, searched: float) -> TrainingProgress:
    entry, hyperparameters = algorithm(job.algorithm), parse(job.algorithm, job.hyperparameters)
    return TrainingProgress(
        total_rounds=entry.total_rounds(hyperparameters),
        patience=entry.patience(hyperparameters),
        threads=(job.metrics or {})["threads"],
        searched=searched,
    )


def _judge(
    job: TrainingJob, data: TrainingSet, progress: TrainingProgress, checkpoint: bytes, metric: SearchMetric
) -> float:
    """The metric on the validation part, turned so that higher is better.

    :raises UntrainableData: it is undefined there.
    """
    entry = algorithm(job.algorithm)
    model = entry.load(entry.finish(data, parse(job.algorithm, job.hyperparameters), progress, checkpoint))
    scores, labels = model.predict(data.features(data.split.validation)), data.labels(data.split.validation)
    curve = ScoreCurve.of(scores, labels)
    if metric in _RECALL_AT:
        value = curve.recall_at_fpr(_RECALL_AT[metric])
    elif metric in ("log_loss", "brier"):
        value = -(log_loss if metric == "log_loss" else brier_score)(scores, labels)
    else:
        value = curve.auc_pr() if metric == "auc_pr" else curve.auc_roc()
    if value is None or not math.isfinite(value):
        raise UntrainableData(f"{metric} is not defined on the validation part", target="search.metric")
    return float(value)


def _latest_rows(data: TrainingSet, share: float) -> TrainingSet:
    """The same data with only the latest ``share`` of the fitting part: at least 1,000 rows and 10 frauds of it, if it
    has so many.
    """
    table, split = data.table, data.split
    first = split.fit_end - max(math.ceil(share * split.fit_end), min(_LEAST_ROWS, split.fit_end))
    frauds = np.flatnonzero(data.labels(split.fit))
    first = min(first, int(frauds[-min(_LEAST_FRAUDS, len(frauds))]))
    times = None if table.times is None else table.times[first:]
    kept = replace(table, features=table.features[first:], labels=table.labels[first:], times=times)
    shifted = {name: getattr(split, name) - first for name in ("rows", "fit_end", "train_end")}
    return TrainingSet(kept, replace(split, **shifted))
