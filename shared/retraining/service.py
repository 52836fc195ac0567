"""Retraining as people see it: asked for, looked at, approved. What runs it is in ``stages``."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final
from uuid import UUID, uuid4

from shared.audit import service as audit
from shared.audit.model import Origin
from shared.datasets.service import DatasetService
from shared.features.service import FeatureService
from shared.platform.blobs import BlobStore
from shared.platform.clock import Clock
from shared.platform.database import Connection, Database
from shared.platform.errors import Conflict, DomainError, NotFound
from shared.platform.telemetry import get_logger
from shared.registry.lifecycle import ModelStatus
from shared.registry.model import Model, PromotionRequest
from shared.registry.promotion import PromotionService
from shared.registry.service import RegistryService
from shared.retraining import repository
from shared.retraining.model import (
    Append,
    RetrainingJob,
    RetrainingLimits,
    RetrainingOptions,
    RetrainingRequest,
    RetrainingStatus,
)
from shared.retraining.stages import RetrainingStages
from shared.retraining.windows import window_of
from shared.training.service import TrainingService
from shared.users.model import Caller, Role

RETRAINING_HELD: Final = "retraining_held"

_WEEK: Final = timedelta(days=7)
_log = get_logger("retraining")


class RetrainingService:
    """Use cases of retraining."""

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
        limits: RetrainingLimits,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock
        self._registry = registry
        self._promotions = promotions
        self._datasets = datasets
        self._features = features
        self._training = training
        self._limits = limits

    @cached_property
    def stages(self) -> RetrainingStages:
        """What the orchestration's activities call."""
        return RetrainingStages(
            self._database,
            self._blobs,
            self._clock,
            registry=self._registry,
            promotions=self._promotions,
            datasets=self._datasets,
            features=self._features,
            training=self._training,
        )

    async def trigger(
        self, request: RetrainingRequest, *, caller: Caller, origin: Origin, alert_id: UUID | None = None
    ) -> RetrainingJob:
        """A job to train a model again; the caller of this starts its orchestration.

        :param alert_id: the alert that asks for it; then cool-down and weekly budget hold too.
        :raises NotFound: there is no such model, or none in production.
        :raises Conflict: the model was not trained here, is being trained again already, has too few new labels, or
            the limits say no.
        """
        if request.model_id is None:
            champion = await self._registry.production()
        else:
            champion = await self._registry.get(request.model_id)
        if champion.feature_set_id is None or champion.training_job_id is None:
            raise Conflict("the model was not trained here, so how is not known", target="model_id")
        options = RetrainingOptions.model_validate(request.model_dump(exclude={"model_id", "reason"}))
        window = await window_of(champion, options.data_strategy, self._registry, self._datasets, self._clock())
        async with self._database.connection() as conn:
            if alert_id is not None:
                await self._require_rest(conn, champion)
            labelled, frauds = await repository.count_labels(conn, window)
        if labelled < self._limits.minimum_labels or frauds < self._limits.minimum_frauds:
            raise Conflict(
                f"{labelled} mature labels and {frauds} frauds since {window.since:%Y-%m-%d}; "
                f"{self._limits.minimum_labels} and {self._limits.minimum_frauds} are needed",
                target="data_strategy",
            )
        job_id = uuid4()
        async with self._database.transaction() as conn:
            job = await repository.insert(
                conn,
                job_id,
                champion.id,
                options,
                reason=request.reason,
                alert_id=alert_id,
                created_by=caller.user_id,
                now=self._clock(),
            )
            if job is None:
                raise Conflict("the model is being trained again already", target="model_id")
            if alert_id is not None:
                await repository.tell_alert(conn, alert_id, job_id)
            await audit.record(
                conn,
                origin,
                caller,
                action="RETRAIN",
                resource_type="model",
                resource_id=champion.id,
                new={"retraining_job_id": str(job_id), **options.model_dump(mode="json")},
                metadata={"reason": request.reason, "alert_id": None if alert_id is None else str(alert_id)},
                made=job_id,
            )
        return job

    async def _require_rest(self, conn: Connection, champion: Model) -> None:
        now = self._clock()
        last_ended, of_alerts = await repository.recent(conn, champion.id, now - _WEEK)
        if last_ended is not None and now - last_ended < self._limits.cool_down:
            raise Conflict(f"the model was trained again at {last_ended:%Y-%m-%d %H:%M} UTC: it cools down")
        if of_alerts >= self._limits.weekly_budget:
            raise Conflict(f"alerts have started {of_alerts} jobs within a week: the budget is spent")

    async def start_asked_for(self, origin: Origin) -> list[RetrainingJob]:
        """Jobs for the alerts that want one and may have it; the caller starts their orchestrations. What the limits
        hold back stays asked for as long as the alert is open."""
        async with self._database.connection() as conn:
            asking = await repository.asking_alerts(conn)
        started = []
        for alert in asking:
            request = RetrainingRequest(
                model_id=alert.model_id,
                reason=f"alert: {alert.title}",
                data_strategy=Append(maturity_days=self._limits.maturity_days),
            )
            try:
                started.append(
                    await self.trigger(request, caller=Caller(Role.SCIENTIST), origin=origin, alert_id=alert.id)
                )
            except DomainError as error:
                _log.info(RETRAINING_HELD, alert_id=str(alert.id), reason=error.message)
        return started

    async def get(self, job_id: UUID) -> RetrainingJob:
        """One job.

        :raises NotFound: there is none with this id.
        """
        async with self._database.connection() as conn:
            return _found(await repository.get(conn, job_id))

    async def list_page(
        self, *, status: RetrainingStatus | None, model_id: UUID | None, limit: int, offset: int
    ) -> tuple[list[RetrainingJob], int]:
        """One page of jobs, newest first, and how many the filters leave."""
        filters: dict[str, Any] = {"status": status, "model_id": model_id}
        async with self._database.connection() as conn:
            return await repository.list_page(conn, filters, limit=limit, offset=offset)

    async def unfinished(self, before: datetime) -> Sequence[tuple[UUID, str]]:
        """Ids and orchestrations of jobs that were asked for before ``before`` and have not ended."""
        async with self._database.connection() as conn:
            return await repository.list_unfinished(conn, before)

    async def approve(self, job_id: UUID, reason: str, *, caller: Caller, origin: Origin) -> RetrainingJob:
        """Put the challenger that waits into production, through the gate once more.

        :raises NotFound: there is no such job.
        :raises Conflict: nothing waits, or the gate refuses now.
        """
        job = await self._awaiting(job_id)
        assert job.challenger_id is not None  # it waits
        request = PromotionRequest(target_status=ModelStatus.PRODUCTION, reason=reason)
        challenger = await self._registry.get(job.challenger_id)
        if challenger.status is not ModelStatus.PRODUCTION:  # what was cut off behind the promotion goes on here
            await self._promotions.promote(job.challenger_id, request, caller=caller, origin=origin)
        return await self._decide(job_id, RetrainingStatus.PROMOTED, reason, caller, origin)

    async def reject(self, job_id: UUID, reason: str, *, caller: Caller, origin: Origin) -> RetrainingJob:
        """Leave the challenger that waits where it is.

        :raises NotFound: there is no such job.
        :raises Conflict: nothing waits.
        """
        await self._awaiting(job_id)
        return await self._decide(job_id, RetrainingStatus.REJECTED, reason, caller, origin)

    async def cancel(self, job_id: UUID, *, caller: Caller, origin: Origin) -> RetrainingJob:
        """End a job that has not ended. Training that runs for it ends with it.

        :raises NotFound: there is no such job.
        :raises Conflict: it has ended.
        """
        job = await self.get(job_id)
        if job.training_job_id is not None and job.status is RetrainingStatus.TRAINING:
            await self._training.cancel(job.training_job_id, caller=caller, origin=origin)
        return await self._decide(job_id, RetrainingStatus.CANCELLED, "cancelled", caller, origin)

    async def _awaiting(self, job_id: UUID) -> RetrainingJob:
        job = await self.get(job_id)
        if job.status is not RetrainingStatus.AWAITING_APPROVAL:
            raise Conflict(f"the job is {job.status.value}; what is AWAITING_APPROVAL can be decided", target="status")
        return job

    async def _decide(
        self, job_id: UUID, status: RetrainingStatus, reason: str, caller: Caller, origin: Origin
    ) -> RetrainingJob:
        async with self._database.transaction() as conn:
            before = _found(await repository.get(conn, job_id, lock=True))
            ended = await repository.end(conn, job_id, status, self._clock(), decided_by=caller.user_id, reason=reason)
            if ended is None:
                raise Conflict(f"the job is {before.status.value}", target="status")
            await audit.record(
                conn,
                origin,
                caller,
                action="UPDATE",
                resource_type="retraining_job",
                resource_id=job_id,
                old={"status": before.status.value},
                new={"status": status.value, "reason": reason},
            )
        return ended


def _found(job: RetrainingJob | None) -> RetrainingJob:
    if job is None:
        raise NotFound("no retraining job has this id", target="job_id")
    return job
