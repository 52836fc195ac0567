"""A dataset too large for one activity: cut once, computed in parts, put together again.

Two cuts are made of it. *Ranges* are rows next to each other in time; what no history needs is computed a range at a
time. *Buckets* are all the events of some keys of one entity, so that a key's whole past is in one of them; history is
computed a bucket at a time and written by range. Row numbers of the dataset join the two. No step holds more than one
bucket or one range, whatever the dataset's size, and the features are those of ``tables.write_feature_table``.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from operator import xor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shared.features.batch import SCRATCH_ROWS, entity_parts, event_columns, history_columns
from shared.features.history.events import encode_frame
from shared.features.inputs import Read, batch_input, column_named
from shared.features.tables import ROW_GROUP, context_columns, table_columns

if TYPE_CHECKING:
    import polars as pl

    from shared.features.plan import FeaturePlan

_ROW: Final = "__row"
_RANGE: Final = "__range"
_BUCKET: Final = "__bucket"
# How files between two steps are written.
_SCRATCH: Final[Any] = {"compression": "lz4", "row_group_size": SCRATCH_ROWS}
# Times from which the bounds of the ranges are told.
_SAMPLE: Final = 100_000


class DatasetCutter:
    """Cuts a Parquet file into files of ranges and of buckets, in streaming passes.

    :param part_rows: about how many rows a file gets. Rows of one time stay in one range and events of one key in one
        bucket, however many they are.
    """

    def __init__(self, plan: "FeaturePlan", dataset: Path, part_rows: int) -> None:
        import polars as pl

        self._plan = plan
        self._part_rows = part_rows
        numbered = pl.scan_parquet(dataset, row_index_name=_ROW)
        self._rows = int(numbered.select(pl.len()).collect().item())
        self._frame = numbered.with_columns(self._range(numbered).alias(_RANGE))

    @property
    def entities(self) -> int:
        """How many entities the plan's history looks at."""
        return len(entity_parts(self._plan))

    def cut_ranges(self, folder: Path) -> dict[int, Path]:
        """One file a range in ``folder``, by number: the columns that the feature table needs."""
        wanted = dict.fromkeys((*self._plan.input_columns, *context_columns(self._plan.config, self._frame)))
        return _sink(self._frame.select(_ROW, _RANGE, *map(column_named, wanted)), _RANGE, folder)

    def cut_buckets(self, entity: int, folder: Path) -> dict[int, Path]:
        """One file a bucket of ``entity`` in ``folder``, by number: what its events are encoded from.

        :raises InvalidContent: the dataset does not fit the plan.
        """
        part = entity_parts(self._plan)[entity]
        key = [f"category:{column}" for column in part.layout.entities[0]]
        buckets = -(-self._rows // self._part_rows)
        events = self._frame.select(_ROW, _RANGE, *event_columns(self._plan, part.layout, self._frame))
        return _sink(events.with_columns(_bucket(key, buckets).alias(_BUCKET)), _BUCKET, folder)

    def _range(self, frame: "pl.LazyFrame") -> "pl.Expr":
        """The range of each row. Rows without a time come last, in the order of the file."""
        import polars as pl

        timeless = pl.col(_ROW) // self._part_rows
        column = self._plan.config.time_column
        if column is None:
            return timeless.cast(pl.UInt32)
        instant = batch_input(Read(column, "instant"), "datetime")
        cuts = self._cuts(frame, instant)
        # The ranges are few, and a search in sorted times would leave the streaming engine.
        later = pl.sum_horizontal(pl.lit(0, pl.UInt32), *((instant > cut).cast(pl.UInt32) for cut in cuts))
        return pl.when(instant.is_not_null()).then(later).otherwise(len(cuts) + 1 + timeless).cast(pl.UInt32)

    def _cuts(self, frame: "pl.LazyFrame", instant: "pl.Expr") -> list[int]:
        """Times that cut the rows into ranges of about the same size; each is the last of its range."""
        import polars as pl

        every = max(1, self._rows // _SAMPLE)
        sample = frame.filter(pl.col(_ROW) % every == 0).select(instant.alias("time")).drop_nulls()
        times = sample.collect(engine="streaming")["time"].sort()
        ranges = -(-self._rows // self._part_rows)
        return sorted({times[len(times) * n // ranges] for n in range(1, ranges)} - {times[-1]}) if len(times) else []


def write_history(
    plan: "FeaturePlan", entity: int, bucket: Path, ranges: Sequence[int], folder: Path
) -> Iterator[tuple[int, Path]]:
    """Compute the history features of one entity for the rows of a ``bucket``.

    :returns: each of the ``ranges`` with a file of its rows: the row's number and the features.
    """
    import polars as pl

    part = entity_parts(plan)[entity]
    events = pl.read_parquet(bucket).sort(_ROW)
    rows = events.select(_ROW, _RANGE)
    columns: dict[str, Any] = events.drop(_ROW, _RANGE).to_dict()
    del events
    found = rows.with_columns(*history_columns(part, encode_frame(part.layout, columns)))
    for number in ranges:
        file = folder / f"history-{number}.parquet"
        here = found.filter(pl.col(_RANGE) == number).drop(_RANGE)
        here.write_parquet(file, **_SCRATCH)
        yield number, file


def write_range(plan: "FeaturePlan", rows: Path, histories: Mapping[int, Sequence[Path]], table: Path) -> None:
    """Compute every feature of a range and write its part of the feature table.

    :param rows: of :meth:`DatasetCutter.cut_ranges`.
    :param histories: for each entity what :func:`write_history` wrote for the range, of every bucket.
    :raises RuntimeError: a row's history is missing or there twice.
    """
    import polars as pl

    scratch = table.parent
    order = [_ROW] if plan.config.time_column is None else [plan.config.time_column, _ROW]
    ordered = pl.read_parquet(rows).sort([column_named(name) for name in order], nulls_last=True)
    numbers = ordered.select(_ROW)
    parts = [_scratch(ordered.drop(_ROW), scratch / "rows.parquet")]
    del ordered
    for entity, files in histories.items():
        found = numbers.join(pl.read_parquet(list(files)), on=_ROW, how="inner", maintain_order="left")
        if not found[_ROW].equals(numbers[_ROW]):
            raise RuntimeError(f"the history of entity {entity} has {len(found)} of {len(numbers)} rows")
        parts.append(_scratch(found.drop(_ROW), scratch / f"history-{entity}.parquet"))
        del found
    frame = pl.concat(parts, how="horizontal")
    frame.select(table_columns(plan, frame)).sink_parquet(table, **_SCRATCH, engine="streaming")


def join_ranges(parts: Sequence[Path], table: Path) -> None:
    """Write the feature table from its parts, given in order of time."""
    import polars as pl

    pl.scan_parquet(list(parts)).sink_parquet(table, row_group_size=ROW_GROUP, engine="streaming")


def _scratch(frame: "pl.DataFrame", file: Path) -> "pl.LazyFrame":
    import polars as pl

    frame.write_parquet(file, **_SCRATCH)
    return pl.scan_parquet(file)


def _bucket(columns: Sequence[str], buckets: int) -> "pl.Expr":
    """The bucket of each key, also of keys with missing parts, so that every row is in one."""
    import polars as pl

    # Only this one pass decides, so that it does not matter whether another release hashes alike.
    hashes = (pl.col(column).hash(seed) for seed, column in enumerate(columns))
    return (reduce(xor, hashes) % buckets).cast(pl.UInt32)


def _sink(frame: "pl.LazyFrame", key: str, folder: Path) -> dict[int, Path]:
    """Write the rows of each value of ``key`` to a file of its own."""
    import polars as pl

    found: dict[int, Path] = {}

    def place(part: Any) -> Path:
        number = int(part.partition_keys.item())
        return found.setdefault(number, folder / f"{number}.parquet")

    target = pl.PartitionBy(
        folder, key=key, include_key=False, file_path_provider=place, approximate_bytes_per_file=None
    )
    frame.sink_parquet(target, **_SCRATCH, engine="streaming")
    return dict(sorted(found.items()))
