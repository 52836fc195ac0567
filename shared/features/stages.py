"""The stages of computing a feature set, each called by one activity.

A stage may run more than once and on another machine than the one before: it reads its input from Blob, writes its
output there under a fixed name, and notes its progress in the row. A refusal (bad content) fails the set at once;
anything else is raised, so that the orchestration tries again.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, TypedDict
from uuid import UUID

import orjson

from shared.features import repository
from shared.features.compatibility import absent_columns
from shared.features.config import FeatureConfig
from shared.features.model import FeatureSet, FeatureSetFiles, FeatureSetStatus, Progress, SourceDataset, Stage
from shared.features.plan import FeaturePlan
from shared.platform.blobs import BlobStore
from shared.platform.clock import Clock
from shared.platform.database import Database
from shared.platform.errors import DomainError, NotFound, Unavailable
from shared.platform.telemetry import get_logger

STAGE_FAILED = "feature_stage_failed"
_SCORES = ("score", "mutual_information", "gain")
_log = get_logger("features")


class StageResult(TypedDict):
    """What a stage tells the orchestration: go on while ``status`` is PROCESSING."""

    status: str


_Stage = Callable[Concatenate["FeatureStages", UUID, ...], Awaitable[StageResult]]


def _stage(method: _Stage) -> _Stage:
    """Decide what an exception means: the set's end, or another attempt."""

    @wraps(method)
    async def guarded(self: "FeatureStages", feature_set_id: UUID) -> StageResult:
        try:
            return await method(self, feature_set_id)
        except Unavailable:
            raise
        except DomainError as error:
            _log.warning(STAGE_FAILED, feature_set_id=str(feature_set_id), stage=method.__name__, error=error.code)
            return await self.fail(feature_set_id, _told(error))
        except Exception:
            _log.exception(STAGE_FAILED, feature_set_id=str(feature_set_id), stage=method.__name__)
            raise

    return guarded


class FeatureStages:
    """What activities call."""

    def __init__(self, database: Database, blobs: BlobStore, clock: Clock) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock

    @_stage
    async def load(self, feature_set_id: UUID) -> StageResult:
        """The dataset is there, its labels are usable, the training part has both classes."""
        from shared.features.tables import check_dataset

        found = await self._begin(feature_set_id, Stage.LOAD)
        if found is None:
            return await self._present(feature_set_id)
        async with self._dataset(found) as (local, _):
            checked = await asyncio.to_thread(
                lambda: check_dataset(_scan(local), _config(found), to_fit=not found.plan_given)
            )
        return await self._end(feature_set_id, Stage.LOAD, input_rows=checked.rows)

    @_stage
    async def fit(self, feature_set_id: UUID) -> StageResult:
        """The plan of every feature is fitted on the training part; one that was given lies there already."""
        from shared.features.batch import fit_plan
        from shared.features.fitting import training_part

        found = await self._begin(feature_set_id, Stage.FIT)
        if found is None:
            return await self._present(feature_set_id)
        if found.plan_given:
            return await self._end(feature_set_id, Stage.FIT)

        def fitted(local: Path) -> FeaturePlan:
            config = _config(found)
            part, _ = training_part(_scan(local), config.time_column, config.train_fraction)
            return fit_plan(part, config)

        async with self._dataset(found) as (local, _):
            plan = await asyncio.to_thread(fitted, local)
        await self._blobs.upload_bytes(FeatureSetFiles(feature_set_id).work_plan, plan.to_json())
        return await self._end(feature_set_id, Stage.FIT)

    @_stage
    async def transform(self, feature_set_id: UUID) -> StageResult:
        """The plan is run over the whole dataset; the feature table is in Blob."""
        from shared.features.tables import write_feature_table

        found = await self._begin(feature_set_id, Stage.TRANSFORM)
        if found is None:
            return await self._present(feature_set_id)
        files = FeatureSetFiles(feature_set_id)
        plan = FeaturePlan.from_json(await self._blobs.read_bytes(files.work_plan))
        async with self._dataset(found) as (local, scratch):
            table = scratch / "features.parquet"
            await asyncio.to_thread(write_feature_table, plan, local, table)
            await self._blobs.upload_file(files.features, table)
        return await self._end(feature_set_id, Stage.TRANSFORM)

    @_stage
    async def select(self, feature_set_id: UUID) -> StageResult:
        """Features are chosen and profiled on the training part; plan, profile, plot and preview are in Blob."""
        from shared.features.choosing import choose_features
        from shared.features.ranking_plot import elimination_svg, ranking_svg

        found = await self._begin(feature_set_id, Stage.SELECT)
        if found is None:
            return await self._present(feature_set_id)
        files = FeatureSetFiles(feature_set_id)
        plan = FeaturePlan.from_json(await self._blobs.read_bytes(files.work_plan))
        with tempfile.TemporaryDirectory(prefix="features-") as folder:
            table = Path(folder, "features.parquet")
            await self._blobs.download_file(files.features, table)
            choice = await asyncio.to_thread(choose_features, plan, table, plan_given=found.plan_given)
        if choice.selection is not None:
            picture = ranking_svg(choice.selection.ranking, title=f"Features of {found.name}")
            await self._blobs.upload_bytes(files.ranking, picture)
            if choice.selection.elimination is not None:
                picture = elimination_svg(choice.selection.elimination, title=f"Elimination of {found.name}")
                await self._blobs.upload_bytes(files.elimination, picture)
        await self._blobs.upload_bytes(files.profile, choice.profile.to_json())
        await self._blobs.upload_bytes(files.preview, orjson.dumps(choice.preview))
        await self._blobs.upload_bytes(files.work_selection, orjson.dumps(choice.report()))
        await self._blobs.upload_bytes(files.plan, choice.plan.to_json())
        return await self._end(feature_set_id, Stage.SELECT)

    @_stage
    async def save(self, feature_set_id: UUID) -> StageResult:
        """The results are in the row and the set is COMPLETED."""
        found = await self._begin(feature_set_id, Stage.SAVE)
        files = FeatureSetFiles(feature_set_id)
        if found is not None:
            every = FeaturePlan.from_json(await self._blobs.read_bytes(files.work_plan))
            chosen = FeaturePlan.from_json(await self._blobs.read_bytes(files.plan))
            report = orjson.loads(await self._blobs.read_bytes(files.work_selection))
            report["excluded_columns"] = [exclusion.model_dump() for exclusion in every.exclusions]
            report["plan"] = await self._plan_origin(found, every)
            ranked = {entry["name"]: entry for entry in report["ranking"]}
            now = self._clock()
            async with self._database.transaction() as conn:
                await repository.complete(
                    conn,
                    feature_set_id,
                    (found.progress or Progress()).ended(Stage.SAVE, now),
                    all_features=[
                        {"name": f.name, "kind": f.kind, "group": f.group, "description": f.describe()}
                        for f in every.features
                    ],
                    selected_features=[
                        {"name": name, **{key: ranked.get(name, {}).get(key) for key in _SCORES}}
                        for name in chosen.feature_names
                    ],
                    selection_report=report,
                    content_hash=chosen.content_hash,
                    now=now,
                )
        result = await self._present(feature_set_id)
        if result["status"] == FeatureSetStatus.COMPLETED:
            await self._blobs.delete_prefix(files.work)
        return result

    async def _plan_origin(self, found: FeatureSet, plan: FeaturePlan) -> dict[str, Any]:
        """What the report says of where the plan came from."""
        if not found.plan_given:
            return {"given": False}
        async with self._database.connection() as conn:
            source = await repository.get_source(conn, found.dataset_id)
        if source is None:
            raise NotFound("the dataset is gone", target="dataset_id")
        absent = absent_columns(plan, source.schema_)
        return {"given": True, "plan_of": found.plan_of and str(found.plan_of), "absent_columns": list(absent)}

    async def fail(self, feature_set_id: UUID, message: str) -> StageResult:
        """End the set as FAILED; one that has ended stays as it is."""
        async with self._database.transaction() as conn:
            found = await repository.get(conn, feature_set_id, lock=True)
            if found is not None:
                now, progress = self._clock(), found.progress or Progress()
                if (stage := progress.running()) is not None:
                    progress = progress.ended(stage, now, FeatureSetStatus.FAILED)
                await repository.fail(conn, feature_set_id, progress, message[:2000], now)
        return await self._present(feature_set_id)

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
        with tempfile.TemporaryDirectory(prefix="features-") as folder:
            local = Path(folder, "data.parquet")
            await self._blobs.download_file(source.storage_path, local)
            yield local, Path(folder)


def _config(found: FeatureSet) -> FeatureConfig:
    assert found.config is not None, "rows read by id carry their configuration"
    return found.config


def _scan(local: Path) -> Any:
    import polars as pl

    return pl.scan_parquet(local)


def _told(error: DomainError) -> str:
    details = "; ".join(f"{detail.field}: {detail.message}" for detail in error.details)
    return f"{error.message} ({details})" if details and details not in error.message else error.message
