"""What tells of a dataset's quality beside the figures of its columns: repetitions and the order of its times."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from shared.features.roles import IDS, LABELS, TIMES, first_named

if TYPE_CHECKING:
    import polars as pl

#: So many hashes of rows are compared at once. Of more rows, those are compared whose hash falls into one of n equal
#: parts: rows that repeat each other fall into the same one, so the share found there is that of all.
_COMPARED: Final = 5_000_000


#: What reading did: a code, the column (None for the file), and what was done.
Note: TypeAlias = tuple[str, str | None, str]


@dataclass(frozen=True, slots=True)
class Observations:
    """Facts of a file that its columns' figures do not tell.

    ``label``, ``time`` and
    ``identifier`` are the columns that look like it. Counts are of rows; None where it was not looked for.
    """

    rows: int
    label: str | None = None
    time: str | None = None
    identifier: str | None = None
    repeated_rows: int | None = None
    repeated_ids: int | None = None
    out_of_order: int | None = None
    in_future: int | None = None
    notes: tuple[Note, ...] = ()


def observe(
    frame: "pl.LazyFrame",
    types: Mapping[str, str],
    figures: Mapping[str, Mapping[str, Any]],
    rows: int,
    now: datetime,
    notes: tuple[Note, ...] = (),
) -> Observations:
    """Look at a stored dataset.

    :param types: the type of each column.
    :param figures: ``column_stats`` of the dataset.
    """
    time = first_named(TIMES, types, ("datetime", "date"))
    identifier = first_named(IDS, types, ("string", "integer"))
    repeated_ids = None if identifier is None else _repeated(frame.select(identifier).drop_nulls(), rows)
    unique = [name for name, own in figures.items() if own.get("distinct_is_exact") and own["distinct_count"] == rows]
    if identifier is not None and repeated_ids == 0 and figures[identifier]["null_count"] == 0:
        unique.append(identifier)
    out_of_order, in_future = (None, None) if time is None else _times(frame, time, now)
    return Observations(
        rows=rows,
        label=first_named(LABELS, types, ("integer", "boolean", "float", "string")),
        time=time,
        identifier=identifier,
        repeated_rows=0 if unique else _repeated(frame, rows),
        repeated_ids=repeated_ids,
        out_of_order=out_of_order,
        in_future=in_future,
        notes=notes,
    )


def _repeated(frame: "pl.LazyFrame", rows: int) -> int:
    """How many rows repeat an earlier one: exact up to ``_COMPARED`` rows, estimated beyond."""
    import polars as pl

    parts = -(-rows // _COMPARED)
    names = frame.collect_schema().names()
    row = pl.sum_horizontal(pl.col(name).hash(seed) for seed, name in enumerate(names)).alias("row")
    hashes = frame.select(row)
    if parts > 1:
        hashes = hashes.filter(pl.col("row") % parts == 0)
    total, distinct = (
        hashes.select(pl.len(), pl.col("row").n_unique().alias("distinct")).collect(engine="streaming").row(0)
    )
    return int((total - distinct) * parts)


def _times(frame: "pl.LazyFrame", name: str, now: datetime) -> tuple[int, int]:
    import polars as pl

    time = pl.col(name)
    limit = now if frame.collect_schema()[name] == pl.Datetime else now.date()
    found = frame.select((time < time.shift()).sum().alias("back"), (time > pl.lit(limit)).sum().alias("future"))
    back, future = found.collect(engine="streaming").row(0)
    return int(back), int(future)
