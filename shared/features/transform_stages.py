"""The stage that runs the plan over the dataset: in one activity, or in parts where the dataset is large.

In parts: ``transform`` cuts the dataset, ``history`` computes a bucket, ``range_of_features`` a range, and ``join``
puts the ranges together. Each is an activity that may run anywhere, again, and in any order among its kind.
"""

import asyncio
from pathlib import Path
from typing import Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from shared.features import repository
from shared.features.model import FeatureSet, FeatureSetFiles, Progress, Stage
from shared.features.stage_base import StageBase, StageResult, stage
from shared.platform.blobs import BlobStore
from shared.platform.clock import Clock
from shared.platform.database import Database
from shared.platform.errors import NotFound
from shared.platform.scratch import scratch_folder

#: Datasets of more rows are computed in parts of half as many. In parts costs a third to two thirds more CPU, but no
#: activity needs more than some 0.42 GB; in one, memory grows with the rows: 1.1 GB at 5 million, see docs/features.md.
ROWS_AT_ONCE: Final = 2_000_000


class Partitions(BaseModel):
    """The parts of a dataset: ranges by number, in order of time, and buckets as (entity, bucket)."""

    model_config = ConfigDict(frozen=True)

    ranges: tuple[int, ...]
    buckets: tuple[tuple[int, int], ...]


class TransformStages(StageBase):
    """What the activities of ``transform`` call.

    :param rows_at_once: most rows of a dataset that one activity transforms.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        clock: Clock,
        *,
        rows_at_once: int = ROWS_AT_ONCE,
    ) -> None:
        super().__init__(database, blobs, clock)
        self._rows_at_once = rows_at_once

    @stage
    async def transform(self, feature_set_id: UUID) -> StageResult:
        """The plan is run over the whole dataset and the feature table is in Blob, or the dataset is cut into parts."""
        from shared.features.tables import write_feature_table

        found = await self._begin(feature_set_id, Stage.TRANSFORM)
        if found is None:
            return await self._present(feature_set_id)
        if (found.input_rows or 0) > self._rows_at_once:
            return await self._cut(found)
        plan = await self._work_plan(feature_set_id)
        async with self._dataset(found) as (local, scratch):
            table = scratch / "features.parquet"
            await asyncio.to_thread(write_feature_table, plan, local, table)
            await self._blobs.upload_file(FeatureSetFiles(feature_set_id).features, table)
        return await self._end(feature_set_id, Stage.TRANSFORM)

    async def _cut(self, found: FeatureSet) -> StageResult:
        from shared.features.partitions import DatasetCutter

        files, plan = FeatureSetFiles(found.id), await self._work_plan(found.id)
        buckets: list[tuple[int, int]] = []
        async with self._dataset(found) as (local, scratch):
            cutter = await asyncio.to_thread(DatasetCutter, plan, local, self._rows_at_once // 2)
            ranges = await asyncio.to_thread(cutter.cut_ranges, scratch / "ranges")
            for number, file in ranges.items():
                await self._move(file, files.work_range(number))
            for entity in range(cutter.entities):
                cut = await asyncio.to_thread(cutter.cut_buckets, entity, scratch / f"buckets-{entity}")
                for bucket, file in cut.items():
                    await self._move(file, files.work_bucket(entity, bucket))
                    buckets.append((entity, bucket))
        partitions = Partitions(ranges=tuple(ranges), buckets=tuple(buckets))
        await self._blobs.upload_bytes(files.work_partitions, partitions.model_dump_json().encode())
        async with self._database.transaction() as conn:
            current = await repository.get(conn, found.id, lock=True)
            if current is not None:
                # Joining is a part too.
                progress = (current.progress or Progress()).in_parts(Stage.TRANSFORM, len(buckets) + len(ranges) + 1)
                await repository.update_progress(conn, found.id, progress)
        result = await self._present(found.id)
        return {**result, "parts": {"buckets": len(buckets), "ranges": len(ranges)}}

    @stage
    async def history(self, feature_set_id: UUID, part: int, parts_done: int) -> StageResult:
        """The history features of the events of one bucket are in Blob, by range.

        :param part: the bucket's place among all buckets.
        :param parts_done: parts of the stage that are known to be done.
        """
        from shared.features.partitions import write_history

        if not await self._goes_on(feature_set_id, parts_done):
            return await self._present(feature_set_id)
        files, plan = FeatureSetFiles(feature_set_id), await self._work_plan(feature_set_id)
        partitions = await self._partitions(files)
        entity, bucket = partitions.buckets[part]
        with scratch_folder("features") as folder:
            events = folder / "events.parquet"
            await self._blobs.download_file(files.work_bucket(entity, bucket), events)
            written = await asyncio.to_thread(
                lambda: dict(write_history(plan, entity, events, partitions.ranges, folder))
            )
            for number, file in written.items():
                await self._move(file, files.work_history(entity, bucket, number))
        return await self._present(feature_set_id)

    @stage
    async def range_of_features(self, feature_set_id: UUID, part: int, parts_done: int) -> StageResult:
        """All features of the rows of one range are in Blob.

        :param part: the range's place among all ranges.
        """
        from shared.features.partitions import write_range

        if not await self._goes_on(feature_set_id, parts_done):
            return await self._present(feature_set_id)
        files, plan = FeatureSetFiles(feature_set_id), await self._work_plan(feature_set_id)
        partitions = await self._partitions(files)
        number = partitions.ranges[part]
        histories: dict[int, list[Path]] = {}
        with scratch_folder("features") as folder:
            rows, table = folder / "range.parquet", folder / "features.parquet"
            await self._blobs.download_file(files.work_range(number), rows)
            for entity, bucket in partitions.buckets:
                local = folder / f"{entity}-{bucket}.parquet"
                await self._blobs.download_file(files.work_history(entity, bucket, number), local)
                histories.setdefault(entity, []).append(local)
            await asyncio.to_thread(write_range, plan, rows, histories, table)
            await self._blobs.upload_file(files.work_part(number), table)
        return await self._present(feature_set_id)

    @stage
    async def join(self, feature_set_id: UUID, parts_done: int) -> StageResult:
        """The feature table of all ranges is in Blob."""
        from shared.features.partitions import join_ranges

        if not await self._goes_on(feature_set_id, parts_done):
            return await self._present(feature_set_id)
        files = FeatureSetFiles(feature_set_id)
        numbers = (await self._partitions(files)).ranges
        with scratch_folder("features") as folder:
            parts = [folder / f"{number}.parquet" for number in numbers]
            for number, local in zip(numbers, parts, strict=True):
                await self._blobs.download_file(files.work_part(number), local)
            table = folder / "features.parquet"
            await asyncio.to_thread(join_ranges, parts, table)
            await self._blobs.upload_file(files.features, table)
        return await self._end(feature_set_id, Stage.TRANSFORM)

    async def _goes_on(self, feature_set_id: UUID, parts_done: int) -> bool:
        """Whether the set has not ended, with its progress noted."""
        async with self._database.transaction() as conn:
            found = await repository.get(conn, feature_set_id, lock=True)
            if found is None:
                raise NotFound("no feature set has this id", target="feature_set_id")
            progress = (found.progress or Progress()).advanced(Stage.TRANSFORM, parts_done)
            return await repository.update_progress(conn, feature_set_id, progress) is not None

    async def _partitions(self, files: FeatureSetFiles) -> Partitions:
        return Partitions.model_validate_json(await self._blobs.read_bytes(files.work_partitions))

    async def _move(self, local: Path, path: str) -> None:
        await self._blobs.upload_file(path, local)
        local.unlink()
