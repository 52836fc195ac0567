"""A dataset in parts gives the feature table that it gives in one piece, to the last bit."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from devhost.sample_data import SampleConfig, generate
from shared.datasets.model import Column, DatasetSchema
from shared.features.batch import fit_plan
from shared.features.config import FeatureConfig
from shared.features.fitting import column_type
from shared.features.inference import infer_config
from shared.features.partitions import DatasetCutter, join_ranges, write_history, write_range
from shared.features.plan import FeaturePlan
from shared.features.tables import write_feature_table

_ROWS = 3_000
_FRAME = generate(SampleConfig(rows=_ROWS, seed=11, days=40, fraud_rate=0.03))
Change = Callable[[pl.DataFrame], pl.DataFrame]


def _plan(frame: pl.DataFrame) -> FeaturePlan:
    columns = [Column(name=n, type=column_type(t) or "string", nullable=True) for n, t in frame.schema.items()]
    return fit_plan(frame.lazy(), infer_config(DatasetSchema(columns=columns), FeatureConfig()))


def _in_parts(plan: FeaturePlan, dataset: Path, folder: Path, part_rows: int) -> pl.DataFrame:
    """The feature table by way of parts, and no more than two of them."""

    def new(name: str) -> Path:
        (folder / name).mkdir(parents=True)
        return folder / name

    cutter = DatasetCutter(plan, dataset, part_rows)
    ranges = cutter.cut_ranges(new("ranges"))
    histories: dict[int, dict[int, list[Path]]] = {number: {} for number in ranges}
    for entity in range(cutter.entities):
        for bucket, events in reversed(cutter.cut_buckets(entity, new(f"buckets-{entity}")).items()):
            for number, file in write_history(plan, entity, events, list(ranges), new(f"history-{entity}-{bucket}")):
                histories[number].setdefault(entity, []).append(file)
    parts = []
    for number, rows in ranges.items():
        parts.append(new(f"range-{number}") / "features.parquet")
        write_range(plan, rows, histories[number], parts[-1])
    join_ranges(parts, folder / "joined.parquet")
    return pl.read_parquet(folder / "joined.parquet")


def _same(frame: pl.DataFrame, folder: Path, part_rows: int) -> None:
    plan = _plan(frame)
    frame.write_parquet(folder / "data.parquet", row_group_size=500)
    write_feature_table(plan, folder / "data.parquet", folder / "whole.parquet")
    whole = pl.read_parquet(folder / "whole.parquet")
    joined = _in_parts(plan, folder / "data.parquet", folder / "parts", part_rows)
    assert_frame_equal(joined.drop(plan.feature_names), whole.drop(plan.feature_names))
    # The bits themselves: NaN where NaN, and no 0 for a -0.
    one, other = (table.select(plan.feature_names).to_numpy().view(np.uint32) for table in (joined, whole))
    np.testing.assert_array_equal(one, other)


def _gaps(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows without a time, and rows without a part of their keys."""
    row = pl.int_range(pl.len())
    return frame.with_columns(
        pl.when(row % 7 > 0).then(pl.col("transaction_time")).alias("transaction_time"),
        pl.when(row % 5 > 0).then(pl.col("card_id")).alias("card_id"),
        pl.when(row % 3 > 0).then(pl.col("merchant_id")).alias("merchant_id"),
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame,
        lambda frame: frame.sample(fraction=1, shuffle=True, seed=2),
        lambda frame: _gaps(frame.sample(fraction=1, shuffle=True, seed=3)),
        lambda frame: frame.with_columns(pl.col("transaction_time").dt.truncate("1d")),
        lambda frame: pl.concat([frame, frame.head(400)]),
        lambda frame: frame.drop("transaction_time"),
    ],
    ids=["in order", "shuffled", "with gaps", "many ties", "duplicates", "without time"],
)
@pytest.mark.parametrize("part_rows", [700, _ROWS * 2])
def test_parts_make_the_same_table(change: Change, part_rows: int, tmp_path: Path) -> None:
    """Whatever the order of the file, features, context and the order of rows do not depend on the cut."""
    _same(change(_FRAME), tmp_path, part_rows)


def test_no_part_is_much_larger_than_asked_for(tmp_path: Path) -> None:
    """Ranges and buckets hold about as many rows as they may, each row once."""
    _FRAME.sample(fraction=1, shuffle=True, seed=4).write_parquet(tmp_path / "data.parquet")
    cutter = DatasetCutter(_plan(_FRAME), tmp_path / "data.parquet", 500)
    for name, parts in (
        ("ranges", cutter.cut_ranges(tmp_path / "r")),
        ("buckets", cutter.cut_buckets(0, tmp_path / "b")),
    ):
        sizes = [pl.scan_parquet(file).select(pl.len()).collect().item() for file in parts.values()]
        assert sum(sizes) == _ROWS, name
        assert len(sizes) == 6, name
        assert max(sizes) < 800, name


def test_a_range_without_a_history_is_noticed(tmp_path: Path) -> None:
    """A file that was lost on the way ends in an error, never in features that are wrongly missing."""
    plan = _plan(_FRAME)
    _FRAME.write_parquet(tmp_path / "data.parquet")
    cutter = DatasetCutter(plan, tmp_path / "data.parquet", 1_000)
    (tmp_path / "r").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "h").mkdir()
    ranges, buckets = cutter.cut_ranges(tmp_path / "r"), cutter.cut_buckets(0, tmp_path / "b")
    written = dict(write_history(plan, 0, buckets[0], [0], tmp_path / "h"))
    with pytest.raises(RuntimeError, match="history of entity 0"):
        write_range(plan, ranges[0], {0: [written[0]]}, tmp_path / "part.parquet")
