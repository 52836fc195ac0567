"""The stages of computing a feature set, each called by one activity; see ``stage_base`` for what they all keep to."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from shared.features import repository
from shared.features.compatibility import absent_columns
from shared.features.config import FeatureConfig
from shared.features.model import FeatureSet, FeatureSetFiles, FeatureSetStatus, Progress, Stage
from shared.features.plan import FeaturePlan
from shared.features.stage_base import StageResult, stage
from shared.features.transform_stages import TransformStages
from shared.platform.errors import NotFound
from shared.platform.scratch import scratch_folder

_SCORES = ("score", "mutual_information", "gain")


class FeatureStages(TransformStages):
    """What activities call."""

    @stage
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

    @stage
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

    @stage
    async def select(self, feature_set_id: UUID) -> StageResult:
        """Features are chosen and profiled on the training part; plan, profile, plot and preview are in Blob."""
        from shared.features.choosing import choose_features
        from shared.features.fitting import profile_categories
        from shared.features.ranking_plot import elimination_svg, ranking_svg

        found = await self._begin(feature_set_id, Stage.SELECT)
        if found is None:
            return await self._present(feature_set_id)
        files = FeatureSetFiles(feature_set_id)
        plan = await self._work_plan(feature_set_id)
        with scratch_folder("features") as folder:
            table = folder / "features.parquet"
            await self._blobs.download_file(files.features, table)
            choice = await asyncio.to_thread(choose_features, plan, table, plan_given=found.plan_given)
        async with self._dataset(found) as (local, _):
            categories = await asyncio.to_thread(lambda: profile_categories(_scan(local), choice.plan))
        if choice.selection is not None:
            picture = ranking_svg(choice.selection.ranking, title=f"Features of {found.name}")
            await self._blobs.upload_bytes(files.ranking, picture)
            if choice.selection.elimination is not None:
                picture = elimination_svg(choice.selection.elimination, title=f"Elimination of {found.name}")
                await self._blobs.upload_bytes(files.elimination, picture)
        await self._blobs.upload_bytes(
            files.profile, choice.profile.model_copy(update={"categories": categories}).to_json()
        )
        await self._blobs.upload_bytes(files.preview, orjson.dumps(choice.preview))
        await self._blobs.upload_bytes(files.work_selection, orjson.dumps(choice.report()))
        await self._blobs.upload_bytes(files.plan, choice.plan.to_json())
        return await self._end(feature_set_id, Stage.SELECT)

    @stage
    async def save(self, feature_set_id: UUID) -> StageResult:
        """The results are in the row and the set is COMPLETED."""
        found = await self._begin(feature_set_id, Stage.SAVE)
        files = FeatureSetFiles(feature_set_id)
        if found is not None:
            every = await self._work_plan(feature_set_id)
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


def _config(found: FeatureSet) -> FeatureConfig:
    assert found.config is not None, "rows read by id carry their configuration"
    return found.config


def _scan(local: Path) -> Any:
    import polars as pl

    return pl.scan_parquet(local)
