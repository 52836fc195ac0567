"""From a feature file to arrays."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shared.platform.errors import Unavailable
from shared.training.model import UntrainableData
from shared.training.training_set import FeatureTable, build_table, check_features
from shared.training.worker_cache import PreparedCache, TableCache
from tests.unit.training.conftest import NAMES, learnable_frame, training_set


def _table(frame: pl.DataFrame, folder: Path) -> FeatureTable:
    frame.write_parquet(folder / "features.parquet")
    build_table(folder / "features.parquet", NAMES, folder)
    return FeatureTable.open(folder)


def test_arrays_hold_what_the_file_holds(tmp_path: Path) -> None:
    """Values, labels and times arrive unchanged, in file order when that is time order."""
    frame = learnable_frame(500)
    table = _table(frame, tmp_path)
    np.testing.assert_array_equal(table.features, frame.select(NAMES).to_numpy())
    np.testing.assert_array_equal(table.labels, frame["__label"].to_numpy())
    assert table.times is not None
    np.testing.assert_array_equal(table.times, frame["__time"].dt.epoch("us").to_numpy())
    assert table.features.dtype == np.float32


def test_rows_are_put_in_time_order_and_unlabelled_ones_left_out(tmp_path: Path) -> None:
    """A shuffled file with label gaps gives the same arrays as the sorted labelled rows."""
    frame = learnable_frame(400).with_columns(
        pl.when(pl.int_range(pl.len()) % 7 == 0).then(None).otherwise(pl.col("__label")).alias("__label")
    )
    expected = frame.drop_nulls("__label")
    table = _table(frame.sample(fraction=1.0, shuffle=True, seed=1), tmp_path)
    np.testing.assert_array_equal(table.features, expected.select(NAMES).to_numpy())
    np.testing.assert_array_equal(table.labels, expected["__label"].to_numpy())
    assert table.unlabelled_rows == len(frame) - len(expected)


def test_rows_of_unknown_time_come_first(tmp_path: Path) -> None:
    """A row whose time is missing counts as old, so it can never be tested on."""
    frame = learnable_frame(50).with_columns(
        pl.when(pl.int_range(pl.len()) == 30).then(None).otherwise(pl.col("__time")).alias("__time")
    )
    table = _table(frame, tmp_path)
    np.testing.assert_array_equal(table.features[0], frame.select(NAMES).row(30))


def test_a_file_without_times_keeps_its_order(tmp_path: Path) -> None:
    """No time column, or one without any value: position is all there is."""
    frame = learnable_frame(60)
    assert _table(frame.drop("__time"), tmp_path).times is None
    empty = frame.with_columns(pl.lit(None, dtype=pl.Datetime("us", "UTC")).alias("__time"))
    other = tmp_path / "other"
    other.mkdir()
    assert _table(empty, other).times is None


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.drop("__label"),
        lambda f: f.with_columns(pl.lit(None, dtype=pl.Int8).alias("__label")),
    ],
)
def test_data_without_any_label_keeps_all_its_rows(
    tmp_path: Path, change: Callable[[pl.DataFrame], pl.DataFrame]
) -> None:
    """No label column and one without values are the same: every row stays, is marked, and is split by time alone."""
    frame = learnable_frame(200)
    data = training_set(change(frame.sample(fraction=1.0, shuffle=True, seed=1)), tmp_path)
    assert not data.labelled
    np.testing.assert_array_equal(data.table.features, frame.select(NAMES).to_numpy())
    assert set(data.table.labels) == {-1}
    assert (data.split.fit_end, data.split.train_end, data.split.ordered_by) == (144, 160, "time")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.clear(), "no rows"),
        (lambda f: f.with_columns(pl.lit(3, dtype=pl.Int8).alias("__label")), "labels must be 0 or 1"),
        (lambda f: f.drop("age"), "lacks age"),
        (lambda f: f.with_columns(pl.lit("x").alias("age")), "not numeric: age"),
    ],
)
def test_an_unusable_file_is_refused_with_the_reason(tmp_path: Path, change: object, message: str) -> None:
    """What is wrong with the file is said by column."""
    with pytest.raises(UntrainableData, match=message):
        _table(change(learnable_frame(30)), tmp_path)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("value", "message"), [(float("nan"), "no value in the fitting part: age"), (float("inf"), "infinite values: age")]
)
def test_columns_that_cannot_be_learned_from_are_refused(tmp_path: Path, value: float, message: str) -> None:
    """All-missing and infinite columns are named instead of failing deep inside the library."""
    frame = learnable_frame(200).with_columns(pl.lit(value, dtype=pl.Float32).alias("age"))
    with pytest.raises(UntrainableData, match=message):
        check_features(training_set(frame, tmp_path))


def test_a_constant_column_is_a_warning(tmp_path: Path) -> None:
    """A constant cannot help and does no harm."""
    frame = learnable_frame(200).with_columns(pl.lit(1.0, dtype=pl.Float32).alias("age"))
    assert check_features(training_set(frame, tmp_path)) == ["constant in the fitting part: age"]


def test_a_table_is_built_once_and_old_ones_make_room(tmp_path: Path) -> None:
    """The cache finds what it built, and keeps the three tables used last."""
    from uuid import uuid4

    parquet = tmp_path / "features.parquet"
    learnable_frame(50).write_parquet(parquet)
    cache, ids = TableCache(tmp_path / "cache"), [uuid4() for _ in range(4)]
    assert cache.find(ids[0], NAMES) is None
    for key in ids:
        cache.build(key, NAMES, parquet)
    cache.build(ids[3], NAMES, parquet)  # what a second worker would do at the same time
    assert [cache.find(key, NAMES) is not None for key in ids] == [False, True, True, True]
    assert not list((tmp_path / "cache").glob("building-*"))


@pytest.mark.parametrize("limit", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_disk_without_room_is_something_to_wait_for(tmp_path: Path, limit: int) -> None:
    """It says where, and leaves nothing behind; what else may be wrong with a file is not mistaken for it."""

    def die(error: OSError) -> None:
        with TableCache(tmp_path).scratch() as folder:
            (folder / "part").write_bytes(b"some")
            raise error

    with pytest.raises(Unavailable, match=f"no room left on the disk of {tmp_path}"):
        die(OSError(limit, os.strerror(limit)))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(PermissionError):
        die(PermissionError(errno.EACCES, "denied"))


def test_matrices_are_shared_and_the_oldest_makes_room() -> None:
    """A second asker gets the same object; beyond the capacity the least recently used goes."""
    built: list[str] = []

    def build(key: str) -> object:
        return cache.get(key, lambda: built.append(key) or object())

    cache = PreparedCache(capacity=2)
    first = build("a")
    assert build("a") is first
    build("b")
    assert build("a") is first
    build("c")
    assert build("a") is first
    build("b")
    assert built == ["a", "b", "c", "b"]
