"""Protected attributes of the rows, as groups: figures are broken down by them, and no model ever sees them.

The feature file carries them as text. Groups are made once from all rows of a column:

- dates of birth: age bands at the transaction's time, or decades of birth without times;
- ages: the same bands;
- other numbers of more than 12 different values: four bands that hold about as many rows each;
- everything else: the values themselves, the rarest beyond 20 together as "other".
"""

import json
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from shared.monitoring.categories import AGE_GROUPS, AGES, OLDEST, OTHER, GroupProfile
from shared.training.mapped import create_array

if TYPE_CHECKING:
    import polars as pl

Codes = npt.NDArray[np.uint8]

PREFIX: Final = "__protected_"
_CODES, _GROUPS = "protected.npy", "protected.json"
_MAX_VALUES: Final = 20
_MAX_NUMBERS: Final = 12
_AGE_NAME: Final = re.compile(r"(?:^|[^a-z])(?:customer|user)?age(?:$|[^a-z])")


@dataclass(frozen=True, eq=False)
class ProtectedAttribute:
    """``codes``: shape (n,), 0 where the value is missing, else a position in ``groups`` plus 1. ``grouping``: how the
    groups were made, so that scoring makes the same ones; its counts are empty."""

    codes: Codes
    groups: tuple[str, ...]
    grouping: GroupProfile


def open_protected(folder: Path) -> dict[str, ProtectedAttribute]:
    """Map what :func:`write_protected` wrote, by the name of the column."""
    groupings = [GroupProfile.model_validate(each) for each in json.loads((folder / _GROUPS).read_bytes())]
    if not groupings:
        return {}
    codes = np.load(folder / _CODES, mmap_mode="r")
    return {each.name: ProtectedAttribute(codes[i], each.groups, each) for i, each in enumerate(groupings)}


def write_protected(
    frame: "pl.LazyFrame", time: str | None, position: npt.NDArray[np.int64], folder: Path, batch_rows: int
) -> None:
    """Write one byte a row for each protected column of a feature file into ``folder``, a batch of rows at a time.

    :param time: the column of the transactions' times, None where there is none.
    :param position: where each row of the file goes, shape (rows of the file,); -1 for one that is left out.
    """
    import polars as pl

    columns = [name for name in frame.collect_schema() if name.startswith(PREFIX)]
    groupings = [_grouping(frame, column, time) for column in columns]
    if columns:
        shape = (len(columns), int((position >= 0).sum()))
        codes = create_array(folder / _CODES, np.uint8, shape)
        for start in range(0, len(position), batch_rows):
            batch = frame.slice(start, batch_rows).select(*columns, *([time] if time else [])).collect()
            place = position[start : start + batch_rows]
            for row, (column, grouping) in enumerate(zip(columns, groupings, strict=True)):
                code = _code(grouping, pl.col(column), time).fill_null(0).cast(pl.UInt8)
                found = batch.select(code).to_series().to_numpy()
                codes[row, place[place >= 0]] = found[place >= 0]
        codes.flush()
    (folder / _GROUPS).write_text(json.dumps([each.model_dump() for each in groupings]), encoding="utf-8")


def _grouping(frame: "pl.LazyFrame", column: str, time: str | None) -> GroupProfile:
    import polars as pl

    name, value = column.removeprefix(PREFIX), pl.col(column)
    counts = (
        frame.group_by(value.alias("value"))
        .agg(pl.len().alias("rows"))
        .drop_nulls()
        .sort(["rows", "value"], descending=[True, False])
        .collect(engine="streaming")
    )
    values = counts["value"]
    dates = counts.select(_date(pl.col("value"))).to_series()
    if len(dates) and not dates.null_count():
        if time:
            return GroupProfile(name=name, kind="birth_dates", groups=AGE_GROUPS)
        decades = sorted(set((dates.dt.year() // 10 * 10).to_list()))[-_MAX_VALUES:]
        groups = tuple(f"born {decade} to {decade + 9}" for decade in decades)
        return GroupProfile(name=name, kind="birth_decades", groups=groups, edges=tuple(decades))
    numbers = values.cast(pl.Float64, strict=False)
    if len(values) > _MAX_NUMBERS and numbers.is_finite().fill_null(value=False).all():
        if _AGE_NAME.search(name.lower()):
            return GroupProfile(name=name, kind="ages", groups=AGE_GROUPS)
        edges = _quarters(numbers.to_numpy(), counts["rows"].to_numpy())
        if len(edges):
            shown = [f"{edge:g}" for edge in edges]
            between = [f"over {low} to {high}" for low, high in pairwise(shown)]
            groups = (f"up to {shown[0]}", *between, f"over {shown[-1]}")
            return GroupProfile(name=name, kind="bands", groups=groups, edges=tuple(edges.tolist()))
    known, other = values.to_list(), len(values) > _MAX_VALUES
    named = [*known[: _MAX_VALUES - 1], OTHER] if other else known
    return GroupProfile(name=name, kind="values", groups=tuple(named), other=other)


def _code(group: GroupProfile, text: "pl.Expr", time: str | None) -> "pl.Expr":
    """From a column's text to a position in the groups plus 1, null where it is missing; the online form of the same is
    :meth:`GroupProfile.encoder`."""
    import polars as pl

    if group.kind == "birth_dates":
        # Days as year, month and day in one number: their difference counts a year from birthday to birthday.
        return _age_code((_calendar(pl.col(time or "").dt.date()) - _calendar(_date(text))) // 10_000)
    if group.kind == "ages":
        return _age_code(text.cast(pl.Float64))
    if group.kind == "birth_decades":
        codes = {int(decade): position for position, decade in enumerate(group.edges, start=1)}
        return (_date(text).dt.year() // 10 * 10).replace_strict(codes, default=None)
    if group.kind == "bands":
        number = text.cast(pl.Float64)
        return pl.sum_horizontal(*(number > edge for edge in group.edges), ignore_nulls=False) + 1
    named = group.groups[:-1] if group.other else group.groups
    positions = {value: position for position, value in enumerate(named, start=1)}
    rest = pl.when(text.is_not_null()).then(len(group.groups)) if group.other else None
    return text.replace_strict(positions, default=rest, return_dtype=pl.Int32)


def _quarters(numbers: npt.NDArray[np.float64], rows: npt.NDArray[np.uint32]) -> npt.NDArray[np.float64]:
    """Where a quarter, a half and three quarters of the rows are reached; none at the largest number."""
    order = np.argsort(numbers)
    rising, reached = numbers[order], np.cumsum(rows[order])
    edges = rising[np.searchsorted(reached, reached[-1] * np.array([0.25, 0.5, 0.75]))]
    return np.unique(edges[edges < rising[-1]])


def _age_code(age: "pl.Expr") -> "pl.Expr":
    import polars as pl

    bands = pl.sum_horizontal(*(age >= start for start in AGES), ignore_nulls=False)
    return pl.when(age.is_between(0, OLDEST)).then(bands + 1)


def _calendar(day: "pl.Expr") -> "pl.Expr":
    import polars as pl

    return day.dt.year() * 10_000 + day.dt.month().cast(pl.Int32) * 100 + day.dt.day().cast(pl.Int32)


def _date(text: "pl.Expr") -> "pl.Expr":
    """ISO dates, alone or before a time; null for other texts."""
    return text.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
