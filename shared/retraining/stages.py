"""The stages of retraining: assemble, engineer and train (by their own orchestrations), judge, promote.

Each runs at least once: what it makes has an id that follows from the job's, and the row only moves from the state that
the stage expects. What cannot work fails the job at once; anything else is raised and tried again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, Final, NotRequired, TypedDict
from uuid import UUID

from shared.alerts.jobs import report_failed
from shared.audit.model import Origin
from shared.datasets.model import Dataset, NewVersion
from shared.datasets.service import DatasetService
from shared.features.model import FeatureSetRequest, FeatureSetStatus
from shared.features.plan import FeaturePlan
from shared.features.service import FeatureService
from shared.platform.blobs import BlobStore
from shared.platform.clock import Clock
from shared.platform.database import Database
from shared.platform.errors import Conflict, DomainError, NotFound, Unavailable
from shared.platform.scratch import scratch_folder
from shared.platform.telemetry import get_logger
from shared.registry.lifecycle import ModelStatus
from shared.registry.model import Model, PromotionRequest
from shared.registry.promotion import PromotionService
from shared.registry.rules import NewBaseline, NewChampionRule
from shared.registry.service import RegistryService
from shared.retraining import repository
from shared.retraining.assembly import Assembled, merge, write_part
from shared.retraining.judgement import judge
from shared.retraining.model import RetrainingJob, RetrainingStatus, Weighted, dataset_id_of
from shared.retraining.windows import window_of
from shared.training.model import JobStatus, TrainingRequest
from shared.training.service import TrainingService
from shared.users.model import Caller, Role

RETRAINING_FAILED: Final = "retraining_failed"

_log = get_logger("retraining")


class StageResult(TypedDict):
    """What a stage tells the orchestration. ``child``: the orchestration that does what follows, with its order."""

    status: str
    child: NotRequired[str]
    instance_id: NotRequired[str]
    order: NotRequired[dict[str, str]]
    approval_until: NotRequired[str]


_Stage = Callable[Concatenate["RetrainingStages", UUID, ...], Awaitable[StageResult]]


def _stage(run: _Stage) -> _Stage:
    """A refusal fails the job at once; what is away, and what nobody expected, is raised to be tried again."""

    @wraps(run)
    async def guarded(self: "RetrainingStages", job_id: UUID, *args: Any) -> StageResult:
        try:
            return await run(self, job_id, *args)
        except Unavailable:
            raise
        except DomainError as error:
            return await self.fail(job_id, error.message)

    return guarded


class RetrainingStages:
    """What activities call."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        clock: Clock,
        *,
        registry: RegistryService,
        promotions: PromotionService,
        datasets: DatasetService,
        features: FeatureService,
        training: TrainingService,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock
        self._registry = registry
        self._promotions = promotions
        self._datasets = datasets
        self._features = features
        self._training = training

    @_stage
    async def assemble(self, job_id: UUID) -> StageResult:
        """The champion's dataset and the labelled predictions become a new version of it, whose features are asked
        for by the champion's plan."""
        job = await self._moved(job_id, RetrainingStatus.ASSEMBLING)
        if job is None:
            return await self._present(job_id)
        champion = await self._registry.get(job.champion_id)
        assert champion.feature_set_id is not None  # it was asked for with one
        before = await self._datasets.get(await self._registry.dataset_of(champion.feature_set_id))
        dataset, data = await self._version(job, champion, before)
        feature_set_id = job.feature_set_id
        if feature_set_id is None:
            request = FeatureSetRequest(
                dataset_id=dataset.id,
                output_name=f"{champion.name} {champion.version} again"[:255],
                plan_of=champion.feature_set_id,
            )
            made = await self._features.request(request, caller=_system(job), origin=_origin(job))
            feature_set_id = made.id
        found = await self._features.get(feature_set_id)
        await self._moved(
            job_id, RetrainingStatus.ENGINEERING, dataset_id=dataset.id, feature_set_id=feature_set_id, data=data
        )
        assert found.orchestration_id is not None  # every set has one
        return StageResult(
            status=RetrainingStatus.ENGINEERING.value,
            child="engineer_features",
            instance_id=found.orchestration_id,
            order={"feature_set_id": str(feature_set_id)},
        )

    async def _version(
        self, job: RetrainingJob, champion: Model, before: Dataset
    ) -> tuple[Dataset, dict[str, Any] | None]:
        """The new version, and what it was made of where it was made now."""
        as_id = dataset_id_of(job.id)
        try:
            return await self._datasets.get(as_id), job.data
        except NotFound:
            pass
        strategy = job.options.data_strategy
        window = await window_of(champion, strategy, self._registry, self._datasets, job.created_at)
        config = FeaturePlan.from_json(await self._features.plan(_of(champion))).config
        with scratch_folder("retraining") as folder:
            known, target = folder / "champion.parquet", folder / "merged.parquet"
            await self._blobs.download_file(before.storage_path, known)
            parts = await self._export(window, before, known, config, folder)
            if not parts:
                raise Conflict("no prediction of the window has a label any more")
            assembled: Assembled = await asyncio.to_thread(merge, known, parts, config, strategy, target)
            description = f"{assembled.new_rows} scored transactions, {strategy.type}; retraining {job.id}"
            dataset = await self._datasets.add_version_from_file(
                before.id,
                NewVersion(description=description),
                target,
                as_id=as_id,
                caller=_system(job),
                origin=_origin(job),
            )
        data = {
            "since": window.since.isoformat(),
            "until": window.until.isoformat(),
            "strategy": strategy.type,
            "rows": assembled.rows,
            "new_rows": assembled.new_rows,
        }
        return dataset, data

    async def _export(
        self, window: repository.Window, before: Dataset, known: Path, config: Any, folder: Path
    ) -> list[Path]:
        import polars as pl

        types = pl.scan_parquet(known).collect_schema()
        parts: list[Path] = []
        async with self._database.transaction() as conn:
            async for transactions in repository.export(conn, window):
                part = folder / f"part-{len(parts):05d}.parquet"
                await asyncio.to_thread(write_part, transactions, before.schema_, types, config, part)
                parts.append(part)
        return parts

    @_stage
    async def train(self, job_id: UUID) -> StageResult:
        """The features are there: a training job like the champion's is asked for."""
        job = await self._moved(job_id, RetrainingStatus.TRAINING)
        if job is None:
            return await self._present(job_id)
        assert job.feature_set_id is not None  # this stage follows the one that makes it
        features = await self._features.get(job.feature_set_id)
        if features.status is not FeatureSetStatus.COMPLETED:
            raise Conflict(f"the feature set is {features.status.value}: {features.error_message or 'no reason given'}")
        training_job_id = job.training_job_id
        if training_job_id is None:
            champion = await self._registry.get(job.champion_id)
            request = await self._like(champion, job)
            training_job_id = (await self._training.create(request, caller=_system(job), origin=_origin(job))).id
            await self._moved(job_id, RetrainingStatus.TRAINING, training_job_id=training_job_id)
        training = await self._training.get(training_job_id)
        assert training.orchestration_id is not None  # every job has one
        return StageResult(
            status=RetrainingStatus.TRAINING.value,
            child="train_model",
            instance_id=training.orchestration_id,
            order={"job_id": str(training_job_id)},
        )

    async def _like(self, champion: Model, job: RetrainingJob) -> TrainingRequest:
        """What the champion was trained with, on the new feature set."""
        assert champion.training_job_id is not None  # it was asked for with one
        assert job.feature_set_id is not None  # this stage follows the one that makes it
        before = await self._training.get(champion.training_job_id)
        strategy, hyperparameters = job.options.data_strategy, dict(champion.hyperparameters)
        if isinstance(strategy, Weighted):
            hyperparameters["half_life_days"] = strategy.half_life_days
        return TrainingRequest(
            name=champion.name,
            feature_set_id=job.feature_set_id,
            algorithm=champion.algorithm,
            hyperparameters=hyperparameters,
            train_test_split=before.train_test_split,
            threshold_policy=before.threshold_policy,
            calibration=before.calibration,
            evaluation=before.evaluation,
        )

    @_stage
    async def judge(self, job_id: UUID) -> StageResult:
        """Champion and challenger on the same later rows, then the gate; what passes is promoted or waits."""
        job = await self._moved(job_id, RetrainingStatus.JUDGING)
        if job is None:
            return await self._present(job_id)
        assert job.training_job_id is not None  # this stage follows the one that makes it
        training = await self._training.get(job.training_job_id)
        if training.status is not JobStatus.COMPLETED or training.model_id is None:
            raise Conflict(f"training is {training.status.value}: {training.error_message or 'no reason given'}")
        champion, challenger = await self._registry.get(job.champion_id), await self._registry.get(training.model_id)
        await self._same_rules(job, champion, challenger)
        comparison = await self._training.stages.compare(
            training.id, (champion.id, champion.artifact_sha256), challenger.artifact_sha256
        )
        caller, origin = _system(job), _origin(job)
        if challenger.status is ModelStatus.TRAINED:
            staged = PromotionRequest(target_status=ModelStatus.STAGING, reason=f"retraining: {job.reason}"[:2000])
            await self._promotions.promote(challenger.id, staged, caller=caller, origin=origin)
        request = PromotionRequest(target_status=ModelStatus.PRODUCTION, reason=f"retraining: {job.reason}"[:2000])
        if challenger.status is ModelStatus.PRODUCTION:  # promoted by an attempt that did not live to tell
            return await self._ended(job_id, RetrainingStatus.PROMOTED)
        trial = await self._promotions.try_promotion(challenger.id, request, caller=caller)
        verdict = judge(comparison, trial.verdict.as_json(), job.options.tolerance)
        if not verdict["passed"]:
            await self._moved(job_id, RetrainingStatus.JUDGING, challenger_id=challenger.id, verdict=verdict)
            failed = ", ".join(rule["name"] for rule in verdict["rules"] if not rule["passed"])
            return await self._ended(job_id, RetrainingStatus.REJECTED, reason=f"does not hold: {failed}")
        if job.options.auto_promote and champion.status is ModelStatus.PRODUCTION:
            await self._moved(job_id, RetrainingStatus.JUDGING, challenger_id=challenger.id, verdict=verdict)
            await self._promotions.promote(challenger.id, request, caller=caller, origin=origin)
            return await self._ended(job_id, RetrainingStatus.PROMOTED, reason="passed, and was promoted at once")
        until = self._clock() + timedelta(hours=job.options.approval_hours)
        waiting = await self._moved(
            job_id,
            RetrainingStatus.AWAITING_APPROVAL,
            challenger_id=challenger.id,
            verdict=verdict,
            approval_until=until,
        )
        if waiting is None:
            return await self._present(job_id)
        return StageResult(status=waiting.status.value, approval_until=until.isoformat())

    async def _same_rules(self, job: RetrainingJob, champion: Model, challenger: Model) -> None:
        """The challenger must meet what the champion had to, unless it has rules of its own already."""
        caller, origin = _system(job), _origin(job)
        if not await self._registry.baselines(challenger.id):
            baselines = [
                NewBaseline.model_validate(each.model_dump(include=set(NewBaseline.model_fields)))
                for each in await self._registry.baselines(champion.id)
            ]
            if baselines:
                await self._registry.set_baselines(challenger.id, baselines, caller=caller, origin=origin)
        if not await self._registry.champion_rules(challenger.id):
            rules = [
                NewChampionRule.model_validate(each.model_dump(include=set(NewChampionRule.model_fields)))
                for each in await self._registry.champion_rules(champion.id)
            ]
            if rules:
                await self._registry.set_champion_rules(challenger.id, rules, caller=caller, origin=origin)

    async def expire(self, job_id: UUID) -> StageResult:
        """Nobody has approved in time; what was decided meanwhile stays."""
        return await self._ended(job_id, RetrainingStatus.REJECTED, reason="nobody approved in time")

    async def fail(self, job_id: UUID, message: str) -> StageResult:
        """End a job that cannot go on, and say so by an alert; one that has ended stays as it is."""
        async with self._database.transaction() as conn:
            failed = await repository.end(conn, job_id, RetrainingStatus.FAILED, self._clock(), error=message[:2000])
            if failed is not None:
                name = f"of model {failed.champion_id}"
                await report_failed(conn, "retraining job", job_id, name, message[:2000], self._clock())
        if failed is not None:
            _log.warning(RETRAINING_FAILED, job_id=str(job_id), reason=message)
        return await self._present(job_id)

    async def _ended(self, job_id: UUID, status: RetrainingStatus, reason: str | None = None) -> StageResult:
        async with self._database.transaction() as conn:
            await repository.end(conn, job_id, status, self._clock(), reason=reason)
        return await self._present(job_id)

    async def _moved(self, job_id: UUID, status: RetrainingStatus, **known: Any) -> RetrainingJob | None:
        async with self._database.transaction() as conn:
            return await repository.advance(conn, job_id, status, self._clock(), **known)

    async def _present(self, job_id: UUID) -> StageResult:
        async with self._database.connection() as conn:
            job = await repository.get(conn, job_id)
        if job is None:
            raise NotFound("no retraining job has this id", target="job_id")
        return StageResult(status=job.status.value)


def _of(champion: Model) -> UUID:
    assert champion.feature_set_id is not None  # it was asked for with one
    return champion.feature_set_id


def _system(job: RetrainingJob) -> Caller:
    """Who acts: the person that asked, through this job; nobody where an alert did."""
    return Caller(Role.SCIENTIST, user_id=job.created_by)


def _origin(job: RetrainingJob) -> Origin:
    return Origin(request_id=job.orchestration_id)
