"""The stages of a scoring job, each called by one activity, at least once.

A slice is stored in one transaction with the row that says so; a stage that runs again finds what is done. A refusal
(bad content) fails the job at once; anything else is raised, so that the orchestration tries again.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import timedelta
from functools import wraps
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Final, NotRequired, ParamSpec, TypedDict
from uuid import UUID, uuid4

import numpy as np
from numpy.typing import NDArray

from shared.datasets import ingest
from shared.datasets.model import DatasetLimits, data_path, upload_path
from shared.features.history.events import Event
from shared.features.history.store import HistoryStore, ensure_months
from shared.platform.blobs import BlobMissing, BlobStore
from shared.platform.clock import Clock
from shared.platform.database import Connection, Database
from shared.platform.errors import DomainError, NotFound, Unavailable
from shared.platform.scratch import scratch_folder
from shared.platform.telemetry import get_logger
from shared.scoring import repository as predictions
from shared.scoring.jobs import repository
from shared.scoring.jobs.model import HISTORY_SLICE_ROWS, SLICE_ROWS, JobFiles, JobStatus, ScoringJob, Source
from shared.scoring.jobs.reading import ROW, require_columns, text_columns, time_order
from shared.scoring.jobs.rows import ScoredSlice, SliceRows, SliceScorer
from shared.scoring.served import ServedModel, ServedModels

if TYPE_CHECKING:
    import polars as pl

    from shared.features.plan import FeaturePlan

JOB_FAILED: Final = "scoring_job_failed"
JOB_COMPLETED: Final = "scoring_job_completed"
STAGE_FAILED: Final = "scoring_job_stage_failed"

# One slice computes while another is stored; more would only take memory.
_SIDE_BY_SIDE: Final = 2
# The first of a slice's predictions is made at most so much before its last.
_SPREAD: Final = timedelta(seconds=1)
# A reading of history answers for some hundred transactions, as it does for single ones.
_READ_AT_ONCE: Final = 256
_log = get_logger("scoring")


class StageResult(TypedDict):
    """What a stage tells the orchestration: go on while ``status`` is RUNNING. ``slices`` is how many there are, and
    ``in_order`` whether each must wait for the one before.
    """

    status: str
    slices: NotRequired[int]
    in_order: NotRequired[bool]


_Order = ParamSpec("_Order")
_Stage = Callable[Concatenate["ScoringJobStages", UUID, _Order], Coroutine[Any, Any, StageResult]]


def stage(method: _Stage[_Order]) -> _Stage[_Order]:
    """Decide what an exception means: the job's end, or another attempt."""

    @wraps(method)
    async def guarded(
        self: "ScoringJobStages", job_id: UUID, /, *args: _Order.args, **kwargs: _Order.kwargs
    ) -> StageResult:
        try:
            return await method(self, job_id, *args, **kwargs)
        except (Unavailable, BlobMissing):
            raise
        except DomainError as error:
            return await self.fail(job_id, _told(error))
        except Exception:
            _log.exception(STAGE_FAILED, job_id=str(job_id), stage=method.__name__)
            raise

    return guarded


class _Ended(Exception):
    """The slice needs not be stored: somebody else has, or the job has ended."""


class ScoringJobStages:
    """What activities call."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        models: ServedModels,
        history: HistoryStore,
        clock: Clock,
        limits: DatasetLimits,
        *,
        slice_rows: int = SLICE_ROWS,
        history_slice_rows: int = HISTORY_SLICE_ROWS,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._models = models
        self._history = history
        self._clock = clock
        self._limits = limits
        self._slice_rows = slice_rows
        self._history_slice_rows = history_slice_rows
        self._lanes = asyncio.Semaphore(_SIDE_BY_SIDE)

    @stage
    async def prepare(self, job_id: UUID) -> StageResult:
        """The file is read, checked against the model, and cut into slices."""
        job = await self._get(job_id)
        if job.status is not JobStatus.QUEUED:
            return await self._present(job)
        model = await self._models.get_any(job.model_id)
        files = JobFiles(job_id)
        with scratch_folder("scoring") as folder:
            canonical = await self._fetch(job, model, folder)
            rows, slices = await asyncio.to_thread(self._cut, model.plan, canonical, folder / "slices")
            for number, local in enumerate(slices):
                await self._blobs.upload_file(files.slice(number), local)
        async with self._database.transaction() as conn:
            await repository.begin(conn, job_id, row_count=rows, slice_count=len(slices), now=self._clock())
        return await self._present(await self._get(job_id))

    @stage
    async def score(self, job_id: UUID, number: int) -> StageResult:
        """A slice is scored, its predictions are stored, and its part of the result lies in Blob."""
        job = await self._get(job_id)
        async with self._lanes:
            async with self._database.connection() as conn:
                done = job.status is not JobStatus.RUNNING or await repository.is_stored(conn, job_id, number)
            if not done:
                with suppress(_Ended):
                    await self._score(job, number)
        return await self._present(await self._get(job_id))

    @stage
    async def finish(self, job_id: UUID) -> StageResult:
        """The parts are one file, and the job is COMPLETED."""
        job = await self._get(job_id)
        if job.status is JobStatus.RUNNING:
            async with self._database.connection() as conn:
                parts = await repository.list_parts(conn, job_id)
            with scratch_folder("scoring") as folder:
                local = [folder / f"{number}.parquet" for number in range(len(parts))]
                for path, target in zip(parts, local, strict=True):
                    await self._blobs.download_file(path, target)
                result = folder / "result.parquet"
                await asyncio.to_thread(_join, local, result)
                await self._blobs.upload_file(JobFiles(job_id).result, result)
            async with self._database.transaction() as conn:
                await repository.complete(conn, job_id, self._clock())
            _log.info(JOB_COMPLETED, job_id=str(job_id), rows=job.row_count)
        return await self._end(job_id)

    async def fail(self, job_id: UUID, message: str) -> StageResult:
        """End a job that cannot go on; one that has ended stays as it is."""
        async with self._database.transaction() as conn:
            failed = await repository.fail(conn, job_id, message, self._clock())
        if failed:
            _log.warning(JOB_FAILED, job_id=str(job_id), reason=message)
        return await self._end(job_id)

    async def _end(self, job_id: UUID) -> StageResult:
        """Tidy up after a job that is over; what was uploaded for it is used up."""
        job = await self._get(job_id)
        if job.status.final:
            await self._blobs.delete_prefix(JobFiles(job_id).work)
            if job.source is Source.UPLOAD:
                await self._blobs.delete_prefix(upload_path(job.source_id))
        return await self._present(job)

    async def _get(self, job_id: UUID) -> ScoringJob:
        async with self._database.connection() as conn:
            job = await repository.get(conn, job_id)
        if job is None:
            raise NotFound("no scoring job has this id", target="job_id")
        return job

    async def _present(self, job: ScoringJob) -> StageResult:
        if job.status is not JobStatus.RUNNING:
            return StageResult(status=job.status.value)
        model = await self._models.get_any(job.model_id)
        in_order = model.online.layout is not None
        return StageResult(status=job.status.value, slices=job.slice_count or 0, in_order=in_order)

    async def _fetch(self, job: ScoringJob, model: ServedModel, folder: Path) -> Path:
        """The source as canonical Parquet."""
        canonical = folder / "data.parquet"
        if job.source is Source.DATASET:
            await self._blobs.download_file(data_path(job.source_id), canonical)
            return canonical
        local = folder / "source"
        try:
            await self._blobs.download_file(upload_path(job.source_id), local)
        except BlobMissing as error:
            raise NotFound("the uploaded file is gone: it was registered or scored by another job") from error

        kept = text_columns(model.plan)
        await asyncio.to_thread(ingest.write_canonical, local, canonical, self._limits, as_text=kept)
        return canonical

    def _cut(self, plan: "FeaturePlan", canonical: Path, folder: Path) -> tuple[int, list[Path]]:
        """The number of rows, and files of slices: in file order, or in order of time where the past counts."""
        import polars as pl

        frame = pl.scan_parquet(canonical, row_index_name=ROW)
        require_columns(plan, dict.fromkeys(frame.collect_schema().names()))
        rows = int(frame.select(pl.len()).collect().item())
        folder.mkdir()
        size = self._slice_rows
        if plan.layout is not None:
            size = self._history_slice_rows
            ordered = folder.parent / "ordered.parquet"
            time_order(plan, frame).sink_parquet(ordered, row_group_size=size)
            frame = pl.scan_parquet(ordered)
        found = []
        for number, first in enumerate(range(0, rows, size)):
            found.append(folder / f"{number}.parquet")
            frame.slice(first, size).sink_parquet(found[-1], compression="lz4")
        return rows, found

    async def _score(self, job: ScoringJob, number: int) -> None:
        """:raises _Ended: nothing was stored."""
        model = await self._models.get_any(job.model_id)
        source = await self._blobs.read_bytes(JobFiles(job.id).slice(number))
        made_at = self._clock()
        scorer = SliceScorer(model, job.id, made_at)
        part = JobFiles(job.id).part(number, uuid4().hex)
        async with self._database.connection() as conn:
            await predictions.ensure_partitions(conn, made_at - _SPREAD, 2)  # at the turn of a month both
        found, matrix = await asyncio.to_thread(_read, scorer, source)
        events = await self._events(model, scorer, found)
        scored = None if matrix is None else await self._scored(scorer, found, matrix, part)
        async with self._database.transaction() as conn:
            if not await repository.claim_slice(conn, job.id, number, part, made_at):
                raise _Ended
            if scored is None:
                # History and predictions are one commit, so what is computed from history belongs into it.
                matrix = await self._look_back(conn, scorer, model, found, events)
                scored = await self._scored(scorer, found, matrix, part)
            await self._store(conn, job, scored)

    async def _scored(
        self, scorer: SliceScorer, found: SliceRows, matrix: NDArray[np.float32], part: str
    ) -> ScoredSlice:
        scored = await asyncio.to_thread(scorer.score, found, matrix)
        await self._blobs.upload_bytes(part, await asyncio.to_thread(_parquet, scored.part))
        return scored

    async def _events(self, model: ServedModel, scorer: SliceScorer, found: SliceRows) -> list[Event]:
        """What the slice adds to history; its months are made before the transaction, which would lock others out."""
        if model.online.layout is None:
            return []
        events = await asyncio.to_thread(scorer.events, found)
        async with self._database.connection() as conn:
            rows = await self._history.rows(conn, model.online.layout, events)
            await ensure_months(conn, rows.occurred)
        return events

    async def _store(self, conn: Connection, job: ScoringJob, scored: ScoredSlice) -> None:
        if scored.scored:
            await repository.copy_predictions(conn, scored.records)
        # Last, because slices that are stored side by side wait for each other here.
        running = await repository.count_slice(
            conn, job.id, scored=scored.scored, flagged=scored.flagged, refused=scored.refused
        )
        if not running:
            raise _Ended

    async def _look_back(
        self, conn: Connection, scorer: SliceScorer, model: ServedModel, found: SliceRows, events: list[Event]
    ) -> NDArray[np.float32]:
        """Add the slice's events to history, then read the past of each of its rows: events before its own moment.

        Slices come in order of time, so that is what each would have found if it had been sent at its time.
        """
        layout = model.online.layout
        assert layout is not None
        await self._history.add(conn, layout, events)
        blocks = []
        for first in range(0, len(events), _READ_AT_ONCE):
            pasts = await self._history.read(conn, layout, events[first : first + _READ_AT_ONCE])
            transactions = found.transactions[first : first + _READ_AT_ONCE]
            blocks.append(await asyncio.to_thread(scorer.vectors, transactions, pasts))
        empty = np.empty((0, len(model.online.feature_names)), np.float32)
        return np.concatenate(blocks) if blocks else empty


def _read(scorer: SliceScorer, source: bytes) -> tuple[SliceRows, NDArray[np.float32] | None]:
    import polars as pl

    return scorer.read(pl.read_parquet(BytesIO(source)))


def _parquet(part: "pl.DataFrame") -> bytes:
    buffer = BytesIO()
    part.write_parquet(buffer)
    return buffer.getvalue()


def _join(parts: list[Path], result: Path) -> None:
    """Write the parts as one file, in the order of the source's rows."""
    import polars as pl

    pl.scan_parquet(parts).sort("row").sink_parquet(result)


def _told(error: DomainError) -> str:
    details = "; ".join(f"{detail.field}: {detail.message}" for detail in error.details[:20])
    return f"{error.message}: {details}" if details else error.message
