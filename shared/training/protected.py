"""Protected attributes of the rows, as groups: figures are broken down by them, and no model ever sees them.

The feature file carries them as text. Groups are made once from all rows of a column:

- dates of birth: age bands at the transaction's time, or decades of birth without times;
- ages: the same bands;
- other numbers of more than 12 different values: four bands that hold about as many rows each;
- everything else: the values themselves, the rarest beyond 20 together as "other".
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from shared.training.mapped import create_array

if TYPE_CHECKING:
    import polars as pl

Codes = npt.NDArray[np.uint8]

PREFIX: Final = "__protected_"
_CODES, _GROUPS = "protected.npy", "protected.json"
_AGES: Final = (18, 25, 35, 45, 55, 65)
_AGE_GROUPS: Final = ("under 18", "18 to 24", "25 to 34", "35 to 44", "45 to 54", "55 to 64", "65 and over")
_OLDEST: Final = 130  # years; beyond it the date is a mistake
_MAX_VALUES: Final = 20
_MAX_NUMBERS: Final = 12
_AGE_NAME: Final = re.compile(r"(?:^|[^a-z])(?:customer|user)?age(?:$|[^a-z])")


@dataclass(frozen=True, eq=False)
class ProtectedAttribute:
    """``codes``: shape (n,), 0 where the value is missing, else a position in ``groups`` plus 1."""

    codes: Codes
    groups: tuple[str, ...]


def open_protected(folder: Path) -> dict[str, ProtectedAttribute]:
    """Map what :func:`write_protected` wrote, by the name of the column."""
    groups: dict[str, list[str]] = json.loads((folder / _GROUPS).read_text(encoding="utf-8"))
    if not groups:
        return {}
    codes = np.load(folder / _CODES, mmap_mode="r")
    return {name: ProtectedAttribute(codes[i], tuple(names)) for i, (name, names) in enumerate(groups.items())}


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
                found = batch.select(grouping.code(pl.col(column)).fill_null(0).cast(pl.UInt8)).to_series().to_numpy()
                codes[row, place[place >= 0]] = found[place >= 0]
        codes.flush()
    named = {column.removeprefix(PREFIX): grouping.groups for column, grouping in zip(columns, groupings, strict=True)}
    (folder / _GROUPS).write_text(json.dumps(named), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class _Grouping:
    """``code``: from the column's text to its code, null where it is missing."""

    groups: Sequence[str]
    code: "Callable[[pl.Expr], pl.Expr]"


def _grouping(frame: "pl.LazyFrame", column: str, time: str | None) -> _Grouping:
    import polars as pl

    value = pl.col(column)
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
        return _by_age(time) if time else _by_decade(dates)
    numbers = values.cast(pl.Float64, strict=False)
    if len(values) > _MAX_NUMBERS and numbers.is_finite().fill_null(value=False).all():
        if _AGE_NAME.search(column.removeprefix(PREFIX).lower()):
            return _Grouping(_AGE_GROUPS, lambda text: _age_code(text.cast(pl.Float64)))
        edges = _quarters(numbers.to_numpy(), counts["rows"].to_numpy())
        if len(edges):
            return _by_band(edges)
    return _by_value(values.to_list())


def _by_value(values: list[str]) -> _Grouping:
    """:param values: the most frequent first."""
    named = values if len(values) <= _MAX_VALUES else [*values[: _MAX_VALUES - 1], "other"]
    codes = {value: min(position, len(named)) for position, value in enumerate(values, start=1)}
    return _Grouping(named, lambda text: text.replace_strict(codes, default=None))


def _quarters(numbers: npt.NDArray[np.float64], rows: npt.NDArray[np.uint32]) -> npt.NDArray[np.float64]:
    """Where a quarter, a half and three quarters of the rows are reached; none at the largest number."""
    order = np.argsort(numbers)
    rising, reached = numbers[order], np.cumsum(rows[order])
    edges = rising[np.searchsorted(reached, reached[-1] * np.array([0.25, 0.5, 0.75]))]
    return np.unique(edges[edges < rising[-1]])


def _by_band(edges: npt.NDArray[np.float64]) -> _Grouping:
    shown = [f"{edge:g}" for edge in edges]
    between = [f"over {low} to {high}" for low, high in pairwise(shown)]
    return _Grouping([f"up to {shown[0]}", *between, f"over {shown[-1]}"], lambda text: _band(text, edges))


def _band(text: "pl.Expr", edges: npt.NDArray[np.float64]) -> "pl.Expr":
    import polars as pl

    number = text.cast(pl.Float64)
    return pl.sum_horizontal(*(number > float(edge) for edge in edges), ignore_nulls=False) + 1


def _by_decade(dates: "pl.Series") -> _Grouping:
    decades = sorted(set((dates.dt.year() // 10 * 10).to_list()))[-_MAX_VALUES:]
    codes = {decade: position for position, decade in enumerate(decades, start=1)}
    return _Grouping(
        [f"born {decade} to {decade + 9}" for decade in decades],
        lambda text: (_date(text).dt.year() // 10 * 10).replace_strict(codes, default=None),
    )


def _by_age(time: str) -> _Grouping:
    import polars as pl

    def code(text: "pl.Expr") -> "pl.Expr":
        # Days as year, month and day in one number: their difference counts a year from birthday to birthday.
        return _age_code((_calendar(pl.col(time).dt.date()) - _calendar(_date(text))) // 10_000)

    return _Grouping(_AGE_GROUPS, code)


def _age_code(age: "pl.Expr") -> "pl.Expr":
    import polars as pl

    bands = pl.sum_horizontal(*(age >= start for start in _AGES), ignore_nulls=False)
    return pl.when(age.is_between(0, _OLDEST)).then(bands + 1)


def _calendar(day: "pl.Expr") -> "pl.Expr":
    import polars as pl

    return day.dt.year() * 10_000 + day.dt.month().cast(pl.Int32) * 100 + day.dt.day().cast(pl.Int32)


def _date(text: "pl.Expr") -> "pl.Expr":
    """ISO dates, alone or before a time; null for other texts."""
    return text.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
