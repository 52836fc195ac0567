"""Figures of columns: against NumPy where it has them, bounded where there are many values."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from shared.datasets.observations import observe
from shared.datasets.statistics import EXACT_DISTINCT, EXACT_ROWS, TOP_VALUES, read_statistics

RANDOM = np.random.default_rng(3)
NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "values",
    [RANDOM.normal(size=1001), RANDOM.lognormal(3, 2, 777), RANDOM.integers(0, 9, 500)],
)
def test_quantiles_and_histograms_are_those_of_numpy(values: np.ndarray) -> None:
    """Linear interpolation; twenty parts of equal width, the last one closed on both sides."""
    figures = read_statistics(pl.LazyFrame({"x": values}), len(values)).column_stats["x"]
    for share in (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99):
        assert figures[f"p{round(share * 100):02d}"] == pytest.approx(np.quantile(values, share), rel=1e-12)
    counts, edges = np.histogram(values, bins=20)
    assert figures["histogram"]["counts"] == counts.tolist()
    assert figures["histogram"]["edges"] == pytest.approx(edges.tolist())
    depth = np.quantile(values, np.linspace(0, 1, 21))
    assert figures["equal_depth"] == pytest.approx(depth.tolist(), rel=1e-12)
    assert (figures["distinct_count"], figures["distinct_is_exact"]) == (len(np.unique(values)), True)


def test_times_have_histograms_in_iso_8601() -> None:
    """From the first to the last, every row in one part."""
    times = [NOW + timedelta(minutes=int(minute)) for minute in RANDOM.integers(0, 10_000, 300)]
    figures = read_statistics(pl.LazyFrame({"at": times}), 300).column_stats["at"]
    edges = [datetime.fromisoformat(edge) for edge in figures["histogram"]["edges"]]
    assert (edges[0], edges[-1]) == (min(times), max(times))
    assert sum(figures["histogram"]["counts"]) == 300


def test_few_texts_are_counted_and_many_are_not() -> None:
    """Categories are exact with their most frequent values; identifiers are counted about right, none is listed."""
    many = [f"id-{number}" for number in range(EXACT_DISTINCT * 2)]
    few = [f"shop {number % 30}" for number in range(EXACT_DISTINCT * 2)]
    stats = read_statistics(pl.LazyFrame({"many": many, "few": few}), len(many)).column_stats
    assert (stats["few"]["distinct_count"], stats["few"]["distinct_is_exact"]) == (30, True)
    assert len(stats["few"]["top_values"]) == TOP_VALUES
    assert stats["many"]["distinct_count"] == pytest.approx(len(many), rel=0.1)
    assert stats["many"]["distinct_is_exact"] is False
    assert not {"values", "top_values"} & stats["many"].keys()


def test_withheld_columns_are_counted_and_not_listed() -> None:
    """Neither texts nor numbers of personal columns appear as values."""
    frame = pl.LazyFrame({"name": ["Ann", "ann", "7", "=Bob"], "house": [1, 1, 2, 2]})
    stats = read_statistics(frame, 4, frozenset({"name", "house"})).column_stats
    assert stats["name"]["distinct_count"] == 4
    assert "Ann" not in str(stats["name"])
    assert "top_values" not in stats["house"]


def test_long_texts_are_cut_in_the_list() -> None:
    """And keep no place in the list of categories."""
    stats = read_statistics(pl.LazyFrame({"note": ["x" * 5000, "y"]}), 2).column_stats["note"]
    assert max(len(entry["value"]) for entry in stats["top_values"]) == 200
    assert "values" not in stats


def test_beyond_the_limit_every_nth_row_is_taken() -> None:
    """The figures then say so; counts, least, most and mean stay those of all rows."""
    frame = pl.LazyFrame({"x": np.arange(9000.0)})
    figures = read_statistics(frame, EXACT_ROWS * 3).column_stats["x"]
    assert (figures["sampled_every"], figures["distinct_is_exact"]) == (3, False)
    assert (figures["min"], figures["max"], figures["mean"]) == (0.0, 8999.0, 4499.5)
    assert figures["p50"] == pytest.approx(4499.5, abs=3)


def test_repetitions_are_estimated_beyond_the_limit() -> None:
    """A share of the hashes is compared; rows that repeat each other fall into the same share."""
    frame = pl.LazyFrame({"amount": np.tile(np.arange(10_000), 2), "at": np.tile(np.arange(10_000.0), 2)})
    types = {"amount": "integer", "at": "float"}
    figures = read_statistics(frame, 20_000).column_stats
    assert observe(frame, types, figures, 20_000, NOW).repeated_rows == 10_000
    estimated = observe(frame, types, figures, 4 * 5_000_000, NOW).repeated_rows
    assert estimated == pytest.approx(10_000, rel=0.1)


def test_extremes_do_not_overflow() -> None:
    """A range that no float holds has quantiles and no histogram."""
    figures = read_statistics(pl.LazyFrame({"x": [-1e308, 0.0, 1e308]}), 3).column_stats["x"]
    assert (figures["p50"], "histogram" in figures) == (0.0, False)


def test_columns_without_values_have_figures() -> None:
    """Nulls only, and NaN only: nothing to order, nothing to fail on."""
    frame = pl.LazyFrame({"a": pl.Series([None, None], dtype=pl.Float64), "b": [float("nan")] * 2, "c": ["", None]})
    stats = read_statistics(frame, 2).column_stats
    assert (stats["a"]["null_count"], stats["a"]["distinct_count"], stats["a"]["min"]) == (2, 0, None)
    assert (stats["b"]["not_finite_count"], stats["b"]["distinct_count"]) == (2, 0)
    assert stats["c"]["values"] == {"": 1}
