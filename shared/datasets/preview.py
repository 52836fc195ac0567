"""The first rows of a dataset as JSON can say them."""

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import polars as pl

MOST_ROWS: Final = 100
_LONGEST: Final = 500


def first_rows(frame: "pl.LazyFrame") -> list[dict[str, Any]]:
    """A hundred rows at most, by column name.

    NaN and infinity are null, times ISO 8601 in UTC, and long texts end with an ellipsis.
    """
    rows = frame.head(MOST_ROWS).collect()
    return [{name: _shown(value) for name, value in row.items()} for row in rows.iter_rows(named=True)]


def first_rows_of(local: Path) -> list[dict[str, Any]]:
    """:func:`first_rows` of a Parquet file."""
    import polars as pl

    return first_rows(pl.scan_parquet(local))


def _shown(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, str):
        return value if len(value) <= _LONGEST else value[: _LONGEST - 1] + "…"
    return value.isoformat() if hasattr(value, "isoformat") else value
