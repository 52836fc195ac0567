"""Figures of a dataset's columns, read from its Parquet file in bounded memory.

What can be folded over the rows is, in one streaming pass over all columns. What needs the values in order (quantiles,
histograms, the number of distinct ones) is computed a column at a time, from every row up to ``EXACT_ROWS``, and from
every n-th row beyond; ``sampled_every`` then says n. Texts are counted where they are few enough to be categories.
"""

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from shared.datasets.model import DatasetStatistics

if TYPE_CHECKING:
    import polars as pl

EXACT_ROWS: Final = 5_000_000
#: Texts with more different values are identifiers or prose: their number is approximate and none is listed.
EXACT_DISTINCT: Final = 20_000
TOP_VALUES: Final = 20
LISTED_LENGTH: Final = 200
_LISTED_CATEGORIES: Final = 50
_BINS: Final = 20
_QUANTILES: Final = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
#: Tukey's outer fences: beyond three times the distance of the quartiles.
_FENCE: Final = 3.0
_FORMULA_SIGNS: Final = ("=", "+", "-", "@", "\t", "\r")

Figures = dict[str, Any]


def read_statistics(frame: "pl.LazyFrame", rows: int, withheld: frozenset[str] = frozenset()) -> DatasetStatistics:
    """Figures of each column of ``frame``, whose types are those of a stored dataset.

    :param withheld: columns of personal data, whose values are counted and not listed.
    """
    import polars as pl

    schema = frame.collect_schema()
    figures = _folded(frame, schema)
    every = -(-rows // EXACT_ROWS)
    for name, kind in schema.items():
        if kind.is_numeric() or kind.is_temporal():
            figures[name] |= _ordered(_column(frame, name, every), listed=name not in withheld)
            if every > 1:
                figures[name] |= {"sampled_every": every, "distinct_is_exact": False}
            continue
        if figures[name].get("formula_count"):
            figures[name] |= _formulas(frame, name, listed=name not in withheld)
        if kind == pl.String and figures[name]["distinct_count"] <= EXACT_DISTINCT:
            figures[name] |= _counted(frame, name, listed=name not in withheld)
    return DatasetStatistics(column_stats={name: _json(found) for name, found in figures.items()})


def _folded(frame: "pl.LazyFrame", schema: "pl.Schema") -> dict[str, Figures]:
    import polars as pl

    wanted = [
        expression.alias(f"{name}\x00{key}")
        for name, kind in schema.items()
        for key, expression in _foldable(name, kind)
    ]
    found = frame.select(wanted).collect(engine="streaming").row(0, named=True)
    figures: dict[str, Figures] = {name: {} for name in schema}
    for label, value in found.items():
        name, _, key = label.partition("\x00")
        figures[name][key] = value
    for name, kind in schema.items():
        if kind == pl.Boolean:
            own = figures[name]
            own["distinct_count"] = (own["true_count"] > 0) + (own.pop("false_count") > 0)
    return figures


def _foldable(name: str, kind: "pl.DataType") -> "Iterator[tuple[str, pl.Expr]]":
    import polars as pl

    column = pl.col(name)
    yield "null_count", column.null_count()
    if kind.is_numeric():
        finite = column.filter(column.is_finite()) if kind.is_float() else column
        yield from {"min": finite.min(), "max": finite.max(), "mean": finite.mean(), "std": finite.std()}.items()
        if kind.is_float():
            yield "not_finite_count", (~column.is_finite()).sum()
    elif kind == pl.String:
        yield "distinct_count", column.approx_n_unique()
        yield "distinct_is_exact", pl.lit(False)
        yield "min_length", column.str.len_chars().min()
        yield "max_length", column.str.len_chars().max()
        yield "formula_count", _begins_formula(column).sum()
        yield "padded_count", (column.str.starts_with(" ") | column.str.ends_with(" ")).sum()
    elif kind == pl.Boolean:
        yield "true_count", column.sum()
        yield "false_count", (~column).sum()
    else:
        yield "min", column.min()
        yield "max", column.max()


def _begins_formula(column: "pl.Expr") -> "pl.Expr":
    import polars as pl

    return pl.any_horizontal(column.str.starts_with(sign) for sign in _FORMULA_SIGNS)


def _formulas(frame: "pl.LazyFrame", name: str, *, listed: bool) -> Figures:
    """How many texts look like formulas: they begin like one, are longer than a dash, and are no number."""
    import polars as pl

    column = pl.col(name)
    number = column.str.strip_chars().cast(pl.Float64, strict=False).is_not_null()
    found = frame.select(column).filter(_begins_formula(column) & (column.str.len_chars() > 1) & ~number)
    count, examples = found.select(pl.len(), column.head(3).implode()).collect(engine="streaming").row(0)
    figures: Figures = {"formula_count": count}
    if count and listed:
        figures["formula_examples"] = [_text(example[:LISTED_LENGTH]) for example in examples]
    return figures


def _column(frame: "pl.LazyFrame", name: str, every: int) -> "pl.Series":
    import polars as pl

    column = frame.select(pl.col(name).gather_every(every) if every > 1 else pl.col(name))
    return column.collect(engine="streaming").to_series()


def _ordered(values: "pl.Series", *, listed: bool) -> Figures:
    """What the values tell once they are in ascending order."""
    if values.dtype.is_float():
        values = values.filter(values.is_finite())
    ordered = values.drop_nulls().sort()
    numbers = ordered.to_physical().to_numpy()
    distinct = int((numbers[1:] != numbers[:-1]).sum()) + 1 if len(numbers) else 0
    figures: Figures = {"distinct_count": distinct, "distinct_is_exact": True}
    if distinct > 1:
        figures |= _histograms(numbers, ordered.dtype)
    if not distinct or ordered.dtype.is_temporal():
        return figures
    quantiles = dict(zip(_QUANTILES, _at(numbers, _QUANTILES), strict=True))
    figures |= {f"p{round(100 * share):02d}": value for share, value in quantiles.items()}
    low, high = float(quantiles[0.25]), float(quantiles[0.75])
    if (spread := high - low) > 0:
        fences = (low - _FENCE * spread, high + _FENCE * spread)
        figures["outlier_count"] = int(((numbers < fences[0]) | (numbers > fences[1])).sum())
    if listed and distinct <= _LISTED_CATEGORIES:
        table = ordered.to_frame("value").group_by("value").len().sort(["len", "value"], descending=[True, False])
        figures["top_values"] = [
            {"value": value, "count": count} for value, count in table.head(TOP_VALUES).iter_rows()
        ]
    return figures


def _histograms(numbers: Any, kind: "pl.DataType") -> Figures:
    """``histogram`` has twenty parts of equal width, ``equal_depth`` the edges of twenty parts of equally many rows.

    :param numbers: at least two different ones in ascending order; instants as the number that stores them.
    """
    import numpy as np
    import polars as pl

    least, most = float(numbers[0]), float(numbers[-1])
    if not isfinite(most - least):  # the range itself is beyond the numbers there are
        return {}
    widths = np.linspace(least, most, _BINS + 1)
    inner = np.searchsorted(numbers, widths[1:-1])
    counts = np.diff(inner, prepend=0, append=len(numbers)).tolist()
    depths = _at(numbers, np.linspace(0, 1, _BINS + 1))
    shown = [
        pl.Series(np.rint(edges).astype(numbers.dtype)).cast(kind) if kind.is_temporal() else edges
        for edges in (widths, depths)
    ]
    return {"histogram": {"edges": list(shown[0]), "counts": counts}, "equal_depth": list(shown[1])}


def _at(ordered: Any, shares: Any) -> Any:
    """Quantiles of values in ascending order, interpolated linearly between neighbours (type 7 of Hyndman and Fan)."""
    import numpy as np

    positions = np.asarray(shares) * (len(ordered) - 1)
    below = np.floor(positions).astype(np.intp)
    above = np.minimum(below + 1, len(ordered) - 1)
    low, high = ordered[below].astype(np.float64), ordered[above].astype(np.float64)
    share = positions - below
    # Not low + share * (high - low), which overflows between extremes.
    return np.where(low == high, low, low * (1 - share) + high * share)


def _counted(frame: "pl.LazyFrame", name: str, *, listed: bool) -> Figures:
    """Texts by how often they occur; ``values`` has all of them where there are few and none is long."""
    import polars as pl

    table = (
        frame.select(pl.col(name).alias("value"))
        .drop_nulls()
        .group_by("value")
        .len()
        .sort(["len", "value"], descending=[True, False])
        .collect(engine="streaming")
    )
    figures: Figures = {"distinct_count": len(table), "distinct_is_exact": True}
    figures |= _spellings(table, listed=listed) | _numbers(table, listed=listed)
    if not listed:
        return figures
    figures["top_values"] = [
        {"value": _text(value[:LISTED_LENGTH]), "count": count} for value, count in table.head(TOP_VALUES).iter_rows()
    ]
    if len(table) <= _LISTED_CATEGORIES and table["value"].str.len_chars().le(LISTED_LENGTH).all():
        figures["values"] = {_text(value): count for value, count in table.iter_rows()}
    return figures


def _spellings(table: "pl.DataFrame", *, listed: bool) -> Figures:
    """How many categories differ from a more frequent one by case or surrounding white space only."""
    import polars as pl

    same = pl.col("value").str.strip_chars().str.to_lowercase()
    groups = table.group_by(same.alias("same"), maintain_order=True).agg("value", pl.col("len").sum())
    twice = groups.filter(pl.col("value").list.len() > 1)
    if not len(twice):
        return {}
    shown = twice["value"].head(3).to_list() if listed else []
    examples = [[_text(text[:LISTED_LENGTH]) for text in spelled[:3]] for spelled in shown]
    return {"spelled_differently": {"categories": len(twice), "rows": int(twice["len"].sum()), "examples": examples}}


def _numbers(table: "pl.DataFrame", *, listed: bool) -> Figures:
    """How many rows hold a number, where a column of text holds both."""
    import polars as pl

    numeric = table["value"].str.strip_chars().cast(pl.Float64, strict=False).is_not_null()
    rows = int(table.filter(numeric)["len"].sum() or 0)
    if not 0 < rows < int(table["len"].sum()):
        return {"numeric_count": rows} if rows else {}
    others: list[str] = table.filter(~numeric)["value"].head(3).to_list() if listed else []
    return {"numeric_count": rows, "not_numeric_examples": [_text(text[:LISTED_LENGTH]) for text in others]}


def _text(value: str) -> str:
    return value.replace("\x00", "�")  # PostgreSQL's JSON cannot hold NUL


def _json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json(item) for item in value]
    if isinstance(value, float):
        return float(value) if isfinite(value) else None
    return value.isoformat() if hasattr(value, "isoformat") else value
