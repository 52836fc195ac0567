"""The rows to learn from, as memory-mapped arrays: read once from Parquet, in time order, labelled rows only.

The arrays live in files, so a table costs page cache rather than memory, and several slices or jobs share one copy.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt

from shared.platform.errors import Unavailable
from shared.training.mapped import create_array
from shared.training.model import UntrainableData
from shared.training.protected import PREFIX, ProtectedAttribute, open_protected, write_protected
from shared.training.split import NO_LABEL, TemporalSplit, has_labels

if TYPE_CHECKING:
    import polars as pl

LABEL, TIME = "__label", "__time"
TABLE_FORMAT: Final = 3  # of the files that :func:`build_table` writes
_FEATURES, _LABELS, _TIMES, _TABLE = "features.npy", "labels.npy", "times.npy", "table.json"
_BATCH_ROWS: Final = 131_072
UNKNOWN_TIME: Final = np.iinfo(np.int64).min


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """A feature set as arrays.

    ``features``: float32, shape (n, f), C order, NaN where missing. ``labels``: int8, shape (n,), 0 or 1; -1 in
    every row where the data has no labels at all.
    ``times``: int64 microseconds since 1970 UTC, shape (n,), not decreasing (unknown times first), or None without
    a time column. ``protected``: by column, for breaking figures down; no model sees them.
    """

    features: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int8]
    times: npt.NDArray[np.int64] | None
    feature_names: tuple[str, ...]
    unlabelled_rows: int = 0
    protected: Mapping[str, ProtectedAttribute] = field(default_factory=dict)

    @property
    def labelled(self) -> bool:
        """Whether the rows have labels: all of them or none."""
        return has_labels(self.labels)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Map the files that :func:`build_table` wrote."""
        about = json.loads((folder / _TABLE).read_text(encoding="utf-8"))
        times = np.load(folder / _TIMES, mmap_mode="r") if about["has_times"] else None
        return cls(
            np.load(folder / _FEATURES, mmap_mode="r"),
            np.load(folder / _LABELS, mmap_mode="r"),
            times,
            tuple(about["feature_names"]),
            about["unlabelled_rows"],
            open_protected(folder),
        )


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """A table and where its parts begin."""

    table: FeatureTable
    split: TemporalSplit

    @property
    def labelled(self) -> bool:
        """Whether the rows have labels."""
        return self.table.labelled

    def features(self, part: slice) -> npt.NDArray[np.float32]:
        """The features of one part, a view of shape (rows of the part, f)."""
        return self.table.features[part]

    def labels(self, part: slice) -> npt.NDArray[np.int8]:
        """The labels of one part: 0 or 1, or -1 throughout where the data has none."""
        return self.table.labels[part]

    def times(self, part: slice) -> npt.NDArray[np.int64] | None:
        """The times of one part, microseconds since 1970 UTC; None where rows are not ordered by time."""
        times = self.table.times
        return None if times is None or self.split.ordered_by != "time" else times[part]

    def days(self, part: slice) -> float | None:
        """Time that one part spans, in days, at least one hour; None without known times."""
        known = self.times(part)
        if known is None:
            return None
        known = known[known != UNKNOWN_TIME]
        return max(float(known[-1] - known[0]) / 86_400e6, 1 / 24) if len(known) else None


def build_table(parquet: Path, feature_names: Sequence[str], folder: Path) -> None:
    """Write a feature set's Parquet file as arrays into the empty ``folder``.

    Memory stays at one batch of rows. Rows without a label are left out, unless no row has one; rows that are not yet
    in time order are put in it.

    :raises UntrainableData: labels other than 0 and 1, no rows, or features that are absent or not numbers.
    :raises Unavailable: the disk has no room.
    """
    import polars as pl

    frame = pl.scan_parquet(parquet)
    schema = frame.collect_schema()
    _require_columns(schema, feature_names)
    label = pl.col(LABEL) if LABEL in schema else pl.repeat(None, pl.len(), dtype=pl.Int8).alias(LABEL)
    keys = frame.select(label, *([TIME] if TIME in schema else [])).collect(engine="streaming")
    labels, labelled = _labels(keys[LABEL])
    times = _times(keys[TIME])[labelled] if TIME in schema else None
    if times is not None and (times == UNKNOWN_TIME).all():
        times = None

    rows = int(labelled.sum())
    position = np.cumsum(labelled) - 1
    if times is not None and (times[1:] < times[:-1]).any():
        order = np.argsort(times, kind="stable")
        rank = np.empty(rows, dtype=np.int64)
        rank[order] = np.arange(rows)
        position, times, labels = rank[position], times[order], labels[order]

    protected = sum(name.startswith(PREFIX) for name in schema)
    _require_space(folder, rows * (4 * len(feature_names) + 9 + protected))
    features = create_array(folder / _FEATURES, np.float32, (rows, len(feature_names)))
    for start in range(0, len(labelled), _BATCH_ROWS):
        batch = frame.slice(start, _BATCH_ROWS).select(feature_names).collect().cast(pl.Float32)
        kept = labelled[start : start + _BATCH_ROWS]
        features[position[start : start + _BATCH_ROWS][kept]] = batch.to_numpy()[kept]
    features.flush()
    del features
    time = None if times is None else TIME
    write_protected(frame, time, np.where(labelled, position, -1), folder, _BATCH_ROWS)
    np.save(folder / _LABELS, labels)
    if times is not None:
        np.save(folder / _TIMES, times)
    about = {
        "feature_names": list(feature_names),
        "has_times": times is not None,
        "unlabelled_rows": int(len(labelled) - rows),
    }
    (folder / _TABLE).write_text(json.dumps(about), encoding="utf-8")


def in_blocks(features: npt.NDArray[np.float32], rows: int = _BATCH_ROWS) -> Iterator[npt.NDArray[np.float32]]:
    """Views of at most ``rows`` rows each, in order."""
    for start in range(0, len(features), rows):
        yield features[start : start + rows]


def check_features(data: TrainingSet) -> list[str]:
    """Look at every column of the fitting part.

    :returns: warnings: constant columns, which cannot help.
    :raises UntrainableData: infinite values, or columns without any value.
    """
    width = len(data.table.feature_names)
    low, high = np.full(width, np.inf, dtype=np.float32), np.full(width, -np.inf, dtype=np.float32)
    for block in in_blocks(data.features(data.split.fit)):
        np.fmin(low, np.fmin.reduce(block, axis=0), out=low)
        np.fmax(high, np.fmax.reduce(block, axis=0), out=high)
    names = np.array(data.table.feature_names, dtype=object)
    empty = names[(low == np.inf) & (high == -np.inf)]
    if len(empty):
        raise UntrainableData(f"no value in the fitting part: {', '.join(empty)}", target="feature_set_id")
    infinite = names[np.isinf(low) | np.isinf(high)]
    if len(infinite):
        raise UntrainableData(f"infinite values: {', '.join(infinite)}", target="feature_set_id")
    constant = names[low == high]
    return [f"constant in the fitting part: {', '.join(constant)}"] if len(constant) else []


def _require_columns(schema: "pl.Schema", feature_names: Sequence[str]) -> None:
    import polars as pl

    if absent := [name for name in feature_names if name not in schema]:
        raise UntrainableData(f"the feature file lacks {', '.join(absent)}", target="feature_set_id")
    if texts := [name for name in feature_names if not (schema[name].is_numeric() or schema[name].is_(pl.Boolean))]:
        raise UntrainableData(f"not numeric: {', '.join(texts)}", target="feature_set_id")


def _labels(column: "pl.Series") -> tuple[npt.NDArray[np.int8], npt.NDArray[np.bool_]]:
    labelled = column.is_not_null().to_numpy()
    known = column.drop_nulls()
    if not len(column):
        raise UntrainableData("the feature set has no rows", target="feature_set_id")
    if not len(known):
        return np.full(len(column), NO_LABEL, dtype=np.int8), np.ones(len(column), dtype=np.bool_)
    values = known.to_numpy()
    if not np.isin(values, (0, 1)).all():
        raise UntrainableData("labels must be 0 or 1", target="feature_set_id")
    return values.astype(np.int8), labelled


def _times(column: "pl.Series") -> npt.NDArray[np.int64]:
    known: Any = column.dt.epoch("us").fill_null(int(UNKNOWN_TIME)).to_numpy()
    return np.asarray(known, dtype=np.int64)


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed * 1.05:
        raise Unavailable(
            f"{tempfile.gettempdir()} has {free >> 20} MB free; the training set needs {needed >> 20} MB", target="disk"
        )
