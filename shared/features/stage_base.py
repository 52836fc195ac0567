"""What all stages of computing a feature set have in common: what an exception means, and the row's progress.

A stage may run more than once and on another machine than the one before: it reads its input from Blob, writes its
output there under a fixed name, and notes its progress in the row. A refusal (bad content) fails the set at once;
anything else is raised, so that the orchestration tries again.
"""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, NotRequired, ParamSpec, TypedDict, TypeVar
from uuid import UUID

from shared.alerts.jobs import report_failed
from shared.features import repository
from shared.features.model import FeatureSet, FeatureSetFiles, FeatureSetStatus, Progress, SourceDataset, Stage
from shared.features.plan import FeaturePlan
from shared.platform.blobs import BlobStore
from shared.platform.clock import Clock
from shared.platform.database import Database
from shared.platform.errors import DomainError, NotFound, Unavailable
from shared.platform.scratch import scratch_folder
from shared.platform.telemetry import get_logger

STAGE_FAILED = "feature_stage_failed"
_log = get_logger("features")
_Stages = TypeVar("_Stages", bound="StageBase")
_Order = ParamSpec("_Order")
_Running = Coroutine[Any, Any, "StageResult"]


class PartCounts(TypedDict):
    """How many activities of each kind a dataset in parts needs."""

    buckets: int
    ranges: int


class StageResult(TypedDict):
    """What a stage tells the orchestration: go on while ``status`` is PROCESSING, by way of ``parts`` if there are."""

    status: str
    parts: NotRequired[PartCounts]


def stage(
    method: Callable[Concatenate[_Stages, UUID, _Order], _Running],
) -> Callable[Concatenate[_Stages, UUID, _Order], _Running]:
    """Decide what an exception means: the set's end, or another attempt."""

    @wraps(method)
    async def guarded(
        self: _Stages, feature_set_id: UUID, /, *args: _Order.args, **kwargs: _Order.kwargs
    ) -> StageResult:
        try:
            return await method(self, feature_set_id, *args, **kwargs)
        except Unavailable:
            raise
        except DomainError as error:
            _log.warning(STAGE_FAILED, feature_set_id=str(feature_set_id), stage=method.__name__, error=error.code)
            return await self.fail(feature_set_id, _told(error))
        except Exception:
            _log.exception(STAGE_FAILED, feature_set_id=str(feature_set_id), stage=method.__name__)
            raise

    return guarded


class StageBase:
    """Reads and writes what stages work on."""

    def __init__(self, database: Database, blobs: BlobStore, clock: Clock) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock

    async def fail(self, feature_set_id: UUID, message: str) -> StageResult:
        """End the set as FAILED; one that has ended stays as it is."""
        async with self._database.transaction() as conn:
            found = await repository.get(conn, feature_set_id, lock=True)
            if found is not None:
                now, progress = self._clock(), found.progress or Progress()
                if (running := progress.running()) is not None:
                    progress = progress.ended(running, now, FeatureSetStatus.FAILED)
                if await repository.fail(conn, feature_set_id, progress, message[:2000], now) is not None:
                    await report_failed(conn, "feature set", feature_set_id, found.name, message[:2000], now)
        result = await self._present(feature_set_id)
        if result["status"] == FeatureSetStatus.FAILED:
            await self._blobs.delete_prefix(FeatureSetFiles(feature_set_id).work)
        return result

    async def _begin(self, feature_set_id: UUID, stage: Stage) -> FeatureSet | None:
        """The set with ``stage`` noted as running; None when the set has ended."""
        async with self._database.transaction() as conn:
            found = await repository.get(conn, feature_set_id, lock=True)
            if found is None:
                raise NotFound("no feature set has this id", target="feature_set_id")
            progress = (found.progress or Progress()).begun(stage, self._clock())
            return await repository.update_progress(conn, feature_set_id, progress)

    async def _end(self, feature_set_id: UUID, stage: Stage, *, input_rows: int | None = None) -> StageResult:
        async with self._database.transaction() as conn:
            found = await repository.get(conn, feature_set_id, lock=True)
            if found is not None:
                progress = (found.progress or Progress()).ended(stage, self._clock())
                await repository.update_progress(conn, feature_set_id, progress, input_rows=input_rows)
        return await self._present(feature_set_id)

    async def _work_plan(self, feature_set_id: UUID) -> FeaturePlan:
        """The plan of every feature."""
        return FeaturePlan.from_json(await self._blobs.read_bytes(FeatureSetFiles(feature_set_id).work_plan))

    async def _present(self, feature_set_id: UUID) -> StageResult:
        async with self._database.connection() as conn:
            found = await repository.get(conn, feature_set_id)
        if found is None:
            raise NotFound("no feature set has this id", target="feature_set_id")
        return {"status": found.status.value}

    @asynccontextmanager
    async def _dataset(self, found: FeatureSet) -> AsyncIterator[tuple[Path, Path]]:
        """The dataset as a local Parquet file, in a folder that goes away, with room for more."""
        async with self._database.connection() as conn:
            source: SourceDataset | None = await repository.get_source(conn, found.dataset_id)
        if source is None:
            raise NotFound("the dataset is gone", target="dataset_id")
        with scratch_folder("features") as folder:
            local = folder / "data.parquet"
            await self._blobs.download_file(source.storage_path, local)
            yield local, folder


def _told(error: DomainError) -> str:
    details = "; ".join(f"{detail.field}: {detail.message}" for detail in error.details)
    return f"{error.message} ({details})" if details and details not in error.message else error.message
