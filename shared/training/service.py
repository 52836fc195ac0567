"""Training jobs as people see them: asked for, looked at, cancelled. What runs them is in ``stages``."""

import asyncio
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

from pydantic import ValidationError

from shared.audit import service as audit
from shared.audit.model import Origin
from shared.features.history.store import RETENTION
from shared.features.plan import FeaturePlan
from shared.platform.blobs import BlobMissing, BlobStore
from shared.platform.clock import Clock
from shared.platform.database import Database
from shared.platform.errors import Conflict, NotFound, invalid_field
from shared.platform.listing import FIRST_PAGE, Page
from shared.training import repository
from shared.training.algorithms import algorithm, catalogue, parse
from shared.training.model import ANY_JOB, FeatureSetSource, JobFilter, JobStatus, TrainingJob, TrainingRequest
from shared.training.search_space import plan_search
from shared.training.threshold import WITHOUT_LABELS, Fixed
from shared.users.model import Caller

if TYPE_CHECKING:
    from shared.training.stages import TrainingStages

_READY: Final = "COMPLETED"


class TrainingService:
    """Use cases of training."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        clock: Clock,
        *,
        concurrency: int = 5,
        history_retention: timedelta = RETENTION,
        dask_scheduler: str | None = None,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock
        self._concurrency = concurrency
        self._dask_scheduler = dask_scheduler
        self._history_retention = history_retention

    @cached_property
    def stages(self) -> "TrainingStages":
        """What the orchestration's activities call; its caches live as long as the worker."""
        from shared.training.stages import TrainingStages

        cluster = None
        if self._dask_scheduler is not None:
            from shared.training.cluster import Cluster

            cluster = Cluster(self._dask_scheduler)
        return TrainingStages(
            self._database, self._blobs, self._clock, history_retention=self._history_retention, cluster=cluster
        )

    def algorithms(self) -> list[dict[str, Any]]:
        """The algorithm library with the JSON schema of each one's hyperparameters."""
        return catalogue()

    async def create(self, request: TrainingRequest, *, caller: Caller, origin: Origin) -> TrainingJob:
        """Queue a job; the caller of this starts its orchestration.

        :raises InvalidContent: unknown algorithm or feature set, hyperparameters out of range, no label column where
            something that was asked for needs labels.
        :raises Conflict: the feature set is not completed.
        """
        hyperparameters = parse(request.algorithm, request.hyperparameters)
        search = None if request.search is None else plan_search(request.algorithm, hyperparameters, request.search)
        async with self._database.connection() as conn:
            source = await repository.get_feature_set(conn, request.feature_set_id)
        if source is None:
            raise invalid_field("feature_set_id", "no feature set has this id")
        if source.status != _READY:
            raise Conflict(f"the feature set is {source.status}; it must be {_READY}", target="feature_set_id")
        plan = await self._plan(source)
        if plan.config.label_column is None:
            if algorithm(request.algorithm).needs_labels or search is not None:
                raise invalid_field("feature_set_id", "the feature set has no label column: nothing to learn")
            request = without_labels(request)
        job_id = uuid4()
        async with self._database.transaction() as conn:
            job = await repository.insert_job(
                conn,
                job_id,
                request,
                hyperparameters=hyperparameters.model_dump(mode="json"),
                search=search,
                total_epochs=algorithm(request.algorithm).total_rounds(hyperparameters),
                created_by=caller.user_id,
                now=self._clock(),
            )
            await audit.record(
                conn,
                origin,
                caller,
                action="CREATE",
                resource_type="training_job",
                resource_id=job_id,
                new={"name": job.name, "algorithm": job.algorithm, "feature_set_id": str(job.feature_set_id)},
            )
        return job

    async def _plan(self, source: FeatureSetSource) -> FeaturePlan:
        try:
            return await asyncio.to_thread(FeaturePlan.from_json, await self._blobs.read_bytes(source.plan_path))
        except (BlobMissing, ValidationError) as error:
            raise Conflict("the feature set's plan cannot be read", target="feature_set_id") from error

    async def admit(self) -> list[str]:
        """Start the jobs that have waited longest, as many as there are free places; their orchestrations, to be told.

        No place stays empty while a job waits: this is called when a job is asked for, when one ends, and now and then
        by those that wait.
        """
        async with self._database.transaction() as conn:
            return await repository.admit_jobs(conn, self._concurrency, self._clock())

    async def get(self, job_id: UUID) -> TrainingJob:
        """One job.

        :raises NotFound: there is none with this id.
        """
        async with self._database.connection() as conn:
            job = await repository.get_job(conn, job_id)
        if job is None:
            raise NotFound("no training job has this id", target="job_id")
        return job

    async def list_page(self, which: JobFilter = ANY_JOB, page: Page = FIRST_PAGE) -> tuple[list[TrainingJob], int]:
        """One page of jobs without curves, and how many the filters leave."""
        async with self._database.connection() as conn:
            return await repository.list_jobs(conn, which, page)

    async def unfinished(self, before: datetime) -> list[tuple[UUID, str]]:
        """Ids and orchestrations of jobs that were asked for before ``before`` and have not ended."""
        async with self._database.connection() as conn:
            return await repository.list_unfinished(conn, before)

    async def queue_age(self) -> timedelta | None:
        """How long the first job in line has waited for its turn; None when none waits."""
        async with self._database.connection() as conn:
            oldest = await repository.oldest_queued(conn)
        return None if oldest is None else self._clock() - oldest

    async def cancel(self, job_id: UUID, *, caller: Caller, origin: Origin) -> TrainingJob:
        """Cancel a job that has not ended; a slice in progress notices within seconds. Cancelling twice is no error.

        :raises NotFound: there is none with this id.
        :raises Conflict: it is COMPLETED or FAILED.
        """
        async with self._database.transaction() as conn:
            before = await repository.get_job(conn, job_id, lock=True)
            if before is None:
                raise NotFound("no training job has this id", target="job_id")
            if before.status is JobStatus.CANCELLED:
                return before
            cancelled = await repository.cancel_job(conn, job_id, self._clock())
            if cancelled is None:
                raise Conflict(f"the job is {before.status.value}", target="job_id")
            await audit.record(
                conn,
                origin,
                caller,
                action="CANCEL",
                resource_type="training_job",
                resource_id=job_id,
                old={"status": before.status.value},
                new={"status": cancelled.status.value},
            )
        return cancelled


def without_labels(request: TrainingRequest) -> TrainingRequest:
    """A request for data without labels: flagged is what scores 0.5 or more, unless the request says otherwise.

    :raises InvalidContent: it names a threshold policy or a calibration that needs labels.
    """
    policy = request.threshold_policy
    if "threshold_policy" not in request.model_fields_set:
        policy = Fixed(type="fixed", threshold=0.5)
    if not isinstance(policy, WITHOUT_LABELS):
        raise invalid_field("threshold_policy", f"{policy.type} needs labels; use fixed or review_capacity")
    if request.calibration not in ("auto", "none"):
        raise invalid_field("calibration", "needs labels, and the feature set has no label column")
    return request.model_copy(update={"threshold_policy": policy})
