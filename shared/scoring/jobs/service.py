"""Scoring jobs as people see them: asked for, looked at, cancelled. What runs them is in ``stages``."""

from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid4

from shared.audit import service as audit
from shared.audit.model import Origin
from shared.datasets.model import DatasetStatus, upload_path
from shared.datasets.service import DatasetService
from shared.features.history.store import HistoryStore
from shared.platform.blobs import BlobMissing, BlobStore
from shared.platform.clock import Clock
from shared.platform.database import Database
from shared.platform.errors import Conflict, NotFound, TooLarge, invalid_field
from shared.scoring.jobs import repository
from shared.scoring.jobs.model import JobFiles, JobStatus, ScoringJob, ScoringJobRequest, Source
from shared.scoring.jobs.reading import require_columns
from shared.scoring.served import ServedModels
from shared.users.model import Caller

if TYPE_CHECKING:
    from shared.scoring.jobs.stages import ScoringJobStages

_RESULT_LIFETIME: Final = timedelta(hours=1)


class ScoringJobService:
    """Use cases of scoring jobs."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        datasets: DatasetService,
        models: ServedModels,
        history: HistoryStore,
        clock: Clock,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._datasets = datasets
        self._models = models
        self._history = history
        self._clock = clock

    @cached_property
    def stages(self) -> "ScoringJobStages":
        """What the orchestration's activities call."""
        from shared.scoring.jobs.stages import ScoringJobStages

        return ScoringJobStages(
            self._database, self._blobs, self._models, self._history, self._clock, self._datasets.limits
        )

    async def create(self, request: ScoringJobRequest, *, caller: Caller, origin: Origin) -> ScoringJob:
        """Queue a job with the model that is chosen now; the caller of this starts its orchestration.

        :raises InvalidContent: no such dataset or upload, or a dataset of which no row fits the model.
        :raises TooLarge: the upload has more bytes than the limit.
        :raises Conflict: no model is in production, the named one is not in use, or the dataset is deleted.
        :raises NotFound: no model has this id.
        :raises Unavailable: the model cannot be loaded.
        """
        if request.model_id is None:
            model = await self._models.get((await self._models.production()).expected_id)
        else:
            model = await self._models.get(request.model_id)
        source, source_id = request.source
        if source is Source.DATASET:
            try:
                dataset = await self._datasets.get(source_id)
            except NotFound as error:
                raise invalid_field("dataset_id", "no dataset has this id") from error
            if dataset.status is not DatasetStatus.ACTIVE:
                raise Conflict(f"the dataset is {dataset.status.value}; it must be ACTIVE", target="dataset_id")
            require_columns(model.plan, {column.name: column.type for column in dataset.schema_.columns})
        else:
            await self._require_upload(source_id)
        job_id = uuid4()
        async with self._database.transaction() as conn:
            job = await repository.insert(
                conn,
                job_id,
                request,
                model_id=model.id,
                orchestration_id=f"scoring-{job_id}",
                created_by=caller.user_id,
                now=self._clock(),
            )
            await audit.record(
                conn,
                origin,
                caller,
                action="CREATE",
                resource_type="scoring_job",
                resource_id=job_id,
                new={"model_id": str(model.id), "source": source.value, "source_id": str(source_id)},
            )
        return job

    async def _require_upload(self, upload_id: UUID) -> None:
        try:
            size = await self._blobs.size(upload_path(upload_id))
        except BlobMissing as error:
            raise invalid_field("upload_id", "nothing was uploaded under this id") from error
        if size > self._datasets.limits.direct_bytes:
            most = self._datasets.limits.direct_bytes
            raise TooLarge(f"the file has {size} bytes; at most {most} are accepted", target="upload_id")

    async def get(self, job_id: UUID) -> ScoringJob:
        """One job.

        :raises NotFound: there is none with this id.
        """
        async with self._database.connection() as conn:
            return _found(await repository.get(conn, job_id))

    async def list_page(
        self, *, status: JobStatus | None, model_id: UUID | None, limit: int, offset: int
    ) -> tuple[list[ScoringJob], int]:
        """One page of jobs, newest first, and how many the filters leave."""
        async with self._database.connection() as conn:
            return await repository.list_page(conn, status=status, model_id=model_id, limit=limit, offset=offset)

    async def result_url(self, job_id: UUID) -> tuple[str, datetime]:
        """A URL that may read the scored file, and until when.

        :raises NotFound: there is no such job.
        :raises Conflict: it is not COMPLETED.
        """
        job = await self.get(job_id)
        if job.status is not JobStatus.COMPLETED:
            raise Conflict(f"the job is {job.status.value}; there is a result when it is COMPLETED", target="job_id")
        expires_at = self._clock() + _RESULT_LIFETIME
        return await self._blobs.download_url(JobFiles(job_id).result, lifetime=_RESULT_LIFETIME), expires_at

    async def unfinished(self, before: datetime) -> list[tuple[UUID, str]]:
        """Ids and orchestrations of jobs that were asked for before ``before`` and have not ended."""
        async with self._database.connection() as conn:
            return await repository.list_unfinished(conn, before)

    async def cancel(self, job_id: UUID, *, caller: Caller, origin: Origin) -> ScoringJob:
        """Cancel a job that has not ended: no further slice is stored. Cancelling twice is no error.

        :raises NotFound: there is none with this id.
        :raises Conflict: it is COMPLETED or FAILED.
        """
        async with self._database.transaction() as conn:
            before = _found(await repository.get(conn, job_id, lock=True))
            if before.status is JobStatus.CANCELLED:
                return before
            cancelled = await repository.cancel(conn, job_id, self._clock())
            if cancelled is None:
                raise Conflict(f"the job is {before.status.value}", target="job_id")
            await audit.record(
                conn,
                origin,
                caller,
                action="CANCEL",
                resource_type="scoring_job",
                resource_id=job_id,
                old={"status": before.status.value},
                new={"status": cancelled.status.value},
            )
        return cancelled


def _found(job: ScoringJob | None) -> ScoringJob:
    if job is None:
        raise NotFound("no scoring job has this id", target="job_id")
    return job
