"""Distances and tests between two samples: from counts over common cells, or exactly from the values themselves.

Counts are integers of shape (cells,), reference and current over the same cells. What cannot be said, because a sample
is empty, is ``None``. Nothing here imports scipy before a p-value is asked for.
"""

from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Counts: TypeAlias = NDArray[np.integer[Any]]
Values: TypeAlias = NDArray[np.floating[Any]]

MIN_EXPECTED: Final = 5.0  # Cochran 1954: below it the chi-square distribution is no approximation


class Bounded(NamedTuple):
    """A figure computed from cells; the figure of the values themselves is at most ``bound`` away."""

    value: float
    bound: float


class ChiSquare(NamedTuple):
    """Pearson's statistic of a two-row table, its degrees of freedom and its p-value."""

    statistic: float
    df: int
    p: float


def psi(reference: Counts, current: Counts) -> float | None:
    """Population stability index, Σ (c − r) ln(c / r), over the cells that either sample has rows in.

    Shares are smoothed by half a count a cell, so that an empty cell weighs what its emptiness says at this number of
    rows.
    """
    held = (reference + current) > 0
    r, c = _smoothed(reference[held]), _smoothed(current[held])
    if not reference.sum() or not current.sum():
        return None
    return float(np.sum((c - r) * np.log(c / r)))


def expected_psi(reference: Counts, current: Counts) -> float:
    """What PSI is on average where nothing has drifted: (B − 1)(1/n + 1/m) for B cells that hold rows.

    PSI / (1/n + 1/m) is then about chi-square distributed with B − 1 degrees of freedom (Yurdakul 2018).
    """
    cells = int(((reference + current) > 0).sum())
    return max(cells - 1, 0) * (1 / max(int(reference.sum()), 1) + 1 / max(int(current.sum()), 1))


def jensen_shannon(reference: Counts, current: Counts) -> float | None:
    """Jensen-Shannon distance with logarithms to base 2: 0 for equal shares, 1 for samples without a common cell."""
    if not reference.sum() or not current.sum():
        return None
    r, c = reference / reference.sum(), current / current.sum()
    middle = (r + c) / 2
    divergence = (_entropy_against(r, middle) + _entropy_against(c, middle)) / 2
    return float(np.sqrt(min(max(divergence, 0.0), 1.0)))


def chi_square(reference: Counts, current: Counts) -> ChiSquare:
    """Whether two samples come from one distribution: both are rows of a contingency table, without Yates' correction.

    Cells with fewer than five expected rows are put together first. One cell left is no evidence: p is 1.
    """
    table = merge_rare(np.array([reference, current], dtype=np.float64))
    df = table.shape[1] - 1
    if df < 1 or not table.sum(axis=1).all():
        return ChiSquare(0.0, 0, 1.0)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / table.sum()
    statistic = float(np.sum((table - expected) ** 2 / expected))
    return ChiSquare(statistic, df, _chi_square_tail(statistic, df))


def rise_p(reference: int, current: int, reference_rows: int, current_rows: int) -> float:
    """One-sided p-value that a rare kind of row has become more frequent: of all such rows, so many in the current
    sample, binomial with the current sample's share of all rows (the conditional test of two Poisson rates,
    Przyborowski and Wilenski 1940). Right for any number of rows, where chi-square needs five expected ones."""
    if not current:
        return 1.0
    from scipy.special import bdtrc

    return float(bdtrc(current - 1, reference + current, current_rows / (reference_rows + current_rows)))


def merge_rare(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """The columns of a two-row table, those with fewer than five expected rows in either row together as the last one;
    the smallest other column joins them while they are still too few. Shape (2, cells) to (2, fewer)."""
    held = table[:, table.sum(axis=0) > 0]
    rows = held.sum(axis=1)
    if not rows.all():
        return held
    least = held.sum(axis=0) * rows.min() / rows.sum()
    order = np.argsort(-least, kind="stable")
    kept = int((least >= MIN_EXPECTED).sum())
    while kept < len(order) and kept and least[order[kept:]].sum() < MIN_EXPECTED:
        kept -= 1
    rest = held[:, order[kept:]].sum(axis=1, keepdims=True)
    merged = held[:, order[:kept]]
    return np.hstack([merged, rest]) if kept < len(order) else merged


def ks(reference: Counts, current: Counts) -> Bounded | None:
    """Kolmogorov-Smirnov statistic over ordered cells: the largest distance at their edges.

    The distance within a cell is at most what one sample has there on top of the distance at its edges.
    """
    if not reference.sum() or not current.sum():
        return None
    r = np.concatenate([[0.0], np.cumsum(reference) / reference.sum()])
    c = np.concatenate([[0.0], np.cumsum(current) / current.sum()])
    value = float(np.max(np.abs(r - c)))
    within = float(max(np.max(r[1:] - c[:-1]), np.max(c[1:] - r[:-1])))
    return Bounded(value, max(within - value, 0.0))


def wasserstein(edges: Values, reference: Counts, current: Counts, scale: float) -> Bounded | None:
    """Wasserstein distance (the area between the distribution functions) between the outermost edges, in units of
    ``scale``. What lies beyond them counts as lying there, so that one outlier is one row and no more.

    :param edges: shape (cells − 1,), rising; cell k lies between edges k − 1 and k.
    :param scale: the reference's standard deviation; with 0 the distance is in units of the values.
    """
    if not reference.sum() or not current.sum() or len(edges) < 2:
        return None
    r, c = np.cumsum(reference) / reference.sum(), np.cumsum(current) / current.sum()
    left, right = (r - c)[:-2], (r - c)[1:-1]
    widths = np.diff(np.asarray(edges, dtype=np.float64))
    # Within a cell both functions rise: their distance lies between (low r − high c) and (high r − low c).
    highest, lowest = r[1:-1] - c[:-2], r[:-2] - c[1:-1]
    most = np.maximum(np.abs(highest), np.abs(lowest))
    least = np.where((highest > 0) & (lowest < 0), 0.0, np.minimum(np.abs(highest), np.abs(lowest)))
    middle = np.clip((np.abs(left) + np.abs(right)) / 2, least, most)
    unit = scale if scale > 0 else 1.0
    value, bound = float(np.sum(widths * middle)), float(np.sum(widths * np.maximum(most - middle, middle - least)))
    return Bounded(value / unit, bound / unit)


def exact_ks(reference: Values, current: Values) -> float | None:
    """Kolmogorov-Smirnov statistic of values, NaN left out; infinities are the outermost values."""
    r, c = _present(reference), _present(current)
    if not len(r) or not len(c):
        return None
    points = np.concatenate([r, c])
    return float(np.max(np.abs(_distribution(r, points) - _distribution(c, points))))


def exact_wasserstein(reference: Values, current: Values, scale: float = 1.0) -> float | None:
    """Wasserstein distance of values in units of ``scale``, NaN and infinities left out."""
    r, c = _present(reference), _present(current)
    r, c = r[np.isfinite(r)], c[np.isfinite(c)]
    if not len(r) or not len(c):
        return None
    points = np.sort(np.concatenate([r, c]))
    gap = np.abs(_distribution(r, points[:-1]) - _distribution(c, points[:-1]))
    return float(np.sum(gap * np.diff(points)) / (scale if scale > 0 else 1.0))


def benjamini_hochberg(p: Values) -> NDArray[np.float64]:
    """The smallest false discovery rate at which each test would be called (Benjamini, Hochberg 1995), shape (n,)."""
    order = np.argsort(p)
    ranked = np.asarray(p, np.float64)[order] * len(p) / np.arange(1, len(p) + 1)
    q = np.empty(len(p))
    q[order] = np.minimum(np.minimum.accumulate(ranked[::-1])[::-1], 1.0)
    return q


def _smoothed(counts: Counts) -> NDArray[np.float64]:
    return np.asarray((counts + 0.5) / (counts.sum() + 0.5 * len(counts)), dtype=np.float64)


def _entropy_against(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    held = p > 0
    return float(np.sum(p[held] * np.log2(p[held] / q[held])))


def _present(values: Values) -> NDArray[np.float64]:
    wide = np.sort(np.asarray(values, dtype=np.float64))
    return wide[~np.isnan(wide)]


def _distribution(ordered: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.searchsorted(ordered, points, side="right") / len(ordered), dtype=np.float64)


def _chi_square_tail(statistic: float, df: int) -> float:
    from scipy.special import chdtrc

    return float(chdtrc(df, statistic))
