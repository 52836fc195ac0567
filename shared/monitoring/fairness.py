"""Are groups treated alike? Rates of groups, gaps between them, and how sure a gap is.

The favourable outcome of fraud detection is not being flagged. Gaps are between the two groups that differ most, which
chance alone makes larger the more groups there are; so an interval of a gap holds for all pairs at once (Newcombe 1998,
method 10, with Bonferroni's level), and a gap only counts when the groups differ at all by the chi-square test of equal
shares, with Holm's correction (1979) over everything that is tested.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.monitoring.level import Level

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MINIMUM: Final = 30  # below so many rows a share says more about chance than about the group
_ALPHA: Final = 0.05
_MOST_GROUPS: Final = 200  # of an intersection that are compared; the larger ones


@dataclass(frozen=True, slots=True)
class Counted:
    """Rows of equal codes together.

    ``codes``: shape (m, attributes), a position in each attribute's groups; anything beyond is no group. ``flagged``
    and ``labels`` (0, 1, or -1 unknown): shape (m,). ``rows``: how many each stands for. ``scores``: theirs added up.
    """

    codes: NDArray[np.uint8]
    flagged: NDArray[np.bool_]
    labels: NDArray[np.int8]
    rows: Ints
    scores: Floats


@dataclass(frozen=True, slots=True)
class GroupCounts:
    """Decisions by group, each of shape (groups,). ``frauds``, ``genuine``, ``hits`` (flagged frauds), ``alarms``
    (flagged genuine) and ``expected`` (their scores added up) are of labelled rows."""

    names: tuple[str, ...]
    rows: Ints
    flagged: Ints
    frauds: Ints
    genuine: Ints
    hits: Ints
    alarms: Ints
    expected: Floats


@dataclass(frozen=True, slots=True)
class Figure:
    """A gap between groups. ``low`` and ``high``: its 95 % interval. ``p``: of the test that all groups are alike.
    ``groups`` and ``sizes``: each group's rate and the rows behind it; groups that are too small are left out."""

    metric: str
    value: float
    low: float
    high: float
    p: float
    groups: Mapping[str, float]
    sizes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Limit:
    """A figure may be ``at_most`` or ``at_least`` so much."""

    at_most: float | None = None
    at_least: float | None = None


DEFAULT_LIMITS: Final[Mapping[str, Limit]] = MappingProxyType(
    {
        "demographic_parity_diff": Limit(at_most=0.10),
        "equalized_odds_diff": Limit(at_most=0.10),
        "disparate_impact": Limit(at_least=0.80),
        "fpr_diff": Limit(at_most=0.05),
        "calibration_diff": Limit(at_most=0.05),
    }
)


def compress(
    codes: NDArray[np.uint8], flagged: NDArray[np.bool_], labels: NDArray[np.int8], scores: NDArray[np.floating[Any]]
) -> Counted:
    """Count single rows.

    :param codes: shape (n, attributes), uint8. :param flagged: shape (n,). :param labels: shape (n,), 0, 1, or -1.
    :param scores: shape (n,), probabilities.
    """
    width = codes.shape[1]
    sizes = [int(codes[:, position].max(initial=0)) + 1 for position in range(width)]
    total = math.prod(sizes) * 6
    if total > max(4 * len(codes), 1 << 16):
        keys = np.column_stack([codes, flagged.astype(np.uint8), (labels + 1).astype(np.uint8)])
        unique, inverse = np.unique(keys, axis=0, return_inverse=True)
        inverse = inverse.ravel()
        return Counted(
            unique[:, :width],
            unique[:, width].astype(np.bool_),
            unique[:, width + 1].astype(np.int8) - 1,
            np.bincount(inverse, minlength=len(unique)),
            np.bincount(inverse, weights=scores, minlength=len(unique)).astype(np.float64),
        )
    key = flagged.astype(np.int32) * 3 + (labels + 1)
    step = 6
    for position, size in enumerate(sizes):
        key = key + codes[:, position].astype(np.int32) * step
        step *= size
    rows = np.bincount(key, minlength=total)
    sums = np.bincount(key, weights=scores, minlength=total).astype(np.float64)
    held = np.flatnonzero(rows)
    found = np.empty((len(held), width), dtype=np.uint8)
    rest = held // 6
    for position, size in enumerate(sizes):
        found[:, position] = rest % size
        rest = rest // size
    return Counted(found, held % 6 >= 3, (held % 3 - 1).astype(np.int8), rows[held], sums[held])


def group_counts(groups: Sequence[Sequence[str]], columns: Sequence[int], counted: Counted) -> GroupCounts:
    """Decisions by the groups of one attribute, or of several together.

    :param groups: the names of the groups of every attribute. :param columns: the attributes to combine.
    """
    sizes = [len(groups[column]) for column in columns]
    known = np.ones(len(counted.rows), dtype=np.bool_)
    key = np.zeros(len(counted.rows), dtype=np.int64)
    for column, size in zip(columns, sizes, strict=True):
        codes = counted.codes[:, column]
        known &= codes < size
        key = key * size + np.minimum(codes, size - 1)
    total = math.prod(sizes)

    def add(which: NDArray[np.bool_]) -> Ints:
        chosen = known & which
        return np.bincount(key[chosen], weights=counted.rows[chosen], minlength=total).astype(np.int64)

    fraud, genuine, flagged = counted.labels == 1, counted.labels == 0, counted.flagged
    labelled = known & (counted.labels >= 0)
    rows = add(np.ones(len(key), dtype=np.bool_))
    held = np.flatnonzero(rows)
    held = np.sort(held[np.argsort(-rows[held], kind="stable")][:_MOST_GROUPS])
    expected = np.bincount(key[labelled], weights=counted.scores[labelled], minlength=total).astype(np.float64)
    names = tuple(_name(groups, columns, sizes, int(position)) for position in held)
    return GroupCounts(
        names,
        rows=rows[held],
        flagged=add(flagged)[held],
        frauds=add(fraud)[held],
        genuine=add(genuine)[held],
        hits=add(fraud & flagged)[held],
        alarms=add(genuine & flagged)[held],
        expected=expected[held],
    )


def _name(groups: Sequence[Sequence[str]], columns: Sequence[int], sizes: Sequence[int], position: int) -> str:
    parts = []
    for column, size in zip(reversed(columns), reversed(sizes), strict=True):
        parts.append(groups[column][position % size])
        position //= size
    return " & ".join(reversed(parts))


def intersections(attributes: int) -> list[tuple[int, ...]]:
    """Every attribute, every pair, and all three where there are three."""
    singles_and_pairs = [each for size in (1, 2) for each in combinations(range(attributes), size)]
    return [*singles_and_pairs, *([(0, 1, 2)] if attributes == 3 else [])]


def figures(counts: GroupCounts, minimum: int = MINIMUM) -> list[Figure]:
    """Every gap that at least two groups with ``minimum`` rows behind their rate allow.

    ``demographic_parity_diff`` and ``_ratio`` compare shares that are flagged, ``equalized_odds_diff`` is the larger of
    the gaps in true- and in false-positive rate, as Fairlearn has them; ``disparate_impact`` is the smallest share that
    is *not* flagged over the largest; ``calibration_diff`` compares mean score minus fraud rate.
    """
    labelled = counts.frauds + counts.genuine
    tpr = _gap("tpr_diff", counts, counts.hits, counts.frauds, minimum)
    fpr = _gap("fpr_diff", counts, counts.alarms, counts.genuine, minimum)
    found = [
        _gap("demographic_parity_diff", counts, counts.flagged, counts.rows, minimum),
        _ratio("demographic_parity_ratio", counts, counts.flagged, counts.rows, minimum),
        _ratio("disparate_impact", counts, counts.rows - counts.flagged, counts.rows, minimum),
        _larger("equalized_odds_diff", tpr, fpr),
        fpr,
        _calibration(counts, labelled, minimum),
    ]
    return [each for each in found if each is not None]


def rates(counts: GroupCounts, minimum: int = MINIMUM) -> list[dict[str, Any]]:
    """Each group's rates with Wilson's 95 % intervals; None where fewer than ``minimum`` rows are behind one."""
    shares = {
        "selection_rate": (counts.flagged, counts.rows),
        "tpr": (counts.hits, counts.frauds),
        "fpr": (counts.alarms, counts.genuine),
        "precision": (counts.hits, counts.hits + counts.alarms),
    }
    labelled = counts.frauds + counts.genuine
    shown: list[dict[str, Any]] = []
    for position, name in enumerate(counts.names):
        group: dict[str, Any] = {"group": name, "rows": int(counts.rows[position])}
        group |= {"labelled": int(labelled[position]), "frauds": int(counts.frauds[position])}
        for rate, (part, whole) in shares.items():
            k, n = int(part[position]), int(whole[position])
            low, high = _wilson(np.array([k]), np.array([max(n, 1)]), _z(1))
            enough = n >= minimum
            group[rate] = k / n if enough else None
            group[f"{rate}_interval"] = [float(low[0]), float(high[0])] if enough else None
        n = int(labelled[position])
        gap = float(counts.expected[position] - counts.frauds[position])
        group["calibration_gap"] = gap / n if n >= minimum else None
        shown.append(group)
    return shown


def holm(ps: Sequence[float]) -> list[float]:
    """Corrected p-values, in the order given (Holm 1979)."""
    order = sorted(range(len(ps)), key=lambda position: ps[position])
    corrected, highest = [0.0] * len(ps), 0.0
    for rank, position in enumerate(order):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[position]))
        corrected[position] = highest
    return corrected


def status(figure: Figure, limit: Limit, corrected_p: float) -> Level:
    """CRITICAL when the whole interval lies beyond the limit, WARNING when the figure does and the groups differ by
    more than chance."""
    if limit.at_most is not None:
        beyond, surely = figure.value > limit.at_most, figure.low > limit.at_most
    else:
        assert limit.at_least is not None
        beyond, surely = figure.value < limit.at_least, figure.high < limit.at_least
    if not beyond or corrected_p >= _ALPHA:
        return Level.OK
    return Level.CRITICAL if surely else Level.WARNING


def _chosen(part: Ints, whole: Ints, minimum: int) -> tuple[Ints, Ints, Ints] | None:
    held = np.flatnonzero(whole >= minimum)
    return None if len(held) < 2 else (held, part[held], whole[held])


def _z(comparisons: int) -> float:
    return NormalDist().inv_cdf(1 - _ALPHA / 2 / comparisons)


def _wilson(part: Ints, whole: Ints, z: float) -> tuple[Floats, Floats]:
    share = part / whole
    middle = (share + z**2 / (2 * whole)) / (1 + z**2 / whole)
    half = z / (1 + z**2 / whole) * np.sqrt(share * (1 - share) / whole + z**2 / (4 * whole**2))
    return np.minimum(np.maximum(middle - half, 0), share), np.maximum(np.minimum(middle + half, 1), share)


def _equal_shares(part: Ints, whole: Ints) -> float:
    """p of the chi-square test that all groups have the same share."""
    from scipy.special import chdtrc

    pooled = part.sum() / whole.sum()
    if pooled in (0.0, 1.0):
        return 1.0
    statistic = float(np.sum((part - whole * pooled) ** 2 / (whole * pooled * (1 - pooled))))
    return float(chdtrc(len(part) - 1, statistic))


def _of(counts: GroupCounts, held: Ints, values: Floats, whole: Ints) -> tuple[dict[str, float], dict[str, int]]:
    names = [counts.names[position] for position in held]
    return dict(zip(names, values.tolist(), strict=True)), dict(zip(names, whole.tolist(), strict=True))


def _gap(metric: str, counts: GroupCounts, part: Ints, whole: Ints, minimum: int) -> Figure | None:
    chosen = _chosen(part, whole, minimum)
    if chosen is None:
        return None
    held, k, n = chosen
    share = k / n
    low, high = _wilson(k, n, _z(len(k) * (len(k) - 1) // 2))
    return Figure(
        metric,
        float(share.max() - share.min()),
        *_between(share, low, high),
        _equal_shares(k, n),
        *_of(counts, held, share, n),
    )


def _between(value: Floats, low: Floats, high: Floats) -> tuple[float, float]:
    """The interval of the largest difference: Newcombe's for each pair, of all pairs the largest ends."""
    difference = value[:, None] - value[None, :]
    down, up = (value - low) ** 2, (high - value) ** 2
    lows = difference - np.sqrt(down[:, None] + up[None, :])
    highs = difference + np.sqrt(up[:, None] + down[None, :])
    np.fill_diagonal(lows, -np.inf)
    np.fill_diagonal(highs, -np.inf)
    return max(float(lows.max()), 0.0), float(highs.max())


def _ratio(metric: str, counts: GroupCounts, part: Ints, whole: Ints, minimum: int) -> Figure | None:
    chosen = _chosen(part, whole, minimum)
    if chosen is None or not chosen[1].any():
        return None
    held, k, n = chosen
    share = k / n
    low, high = _wilson(k, n, _z(len(k)))
    return Figure(
        metric,
        float(share.min() / share.max()),
        float(low.min() / high.max()),
        float(min(1.0, high.min() / low.max())) if low.max() > 0 else 1.0,
        _equal_shares(k, n),
        *_of(counts, held, share, n),
    )


def _larger(metric: str, tpr: Figure | None, fpr: Figure | None) -> Figure | None:
    """The larger of two gaps; without one of them there are no equalized odds to speak of."""
    if tpr is None or fpr is None:
        return None
    chosen: Callable[[Figure, Figure], Figure] = lambda a, b: a if a.value >= b.value else b  # noqa: E731
    larger = chosen(tpr, fpr)
    return Figure(
        metric,
        larger.value,
        max(tpr.low, fpr.low),
        max(tpr.high, fpr.high),
        min(1.0, 2 * min(tpr.p, fpr.p)),
        {f"{side} {name}": value for side, of in (("tpr", tpr), ("fpr", fpr)) for name, value in of.groups.items()},
        {f"{side} {name}": size for side, of in (("tpr", tpr), ("fpr", fpr)) for name, size in of.sizes.items()},
    )


def _calibration(counts: GroupCounts, labelled: Ints, minimum: int) -> Figure | None:
    """Mean score minus fraud rate; its noise is that of the fraud rate."""
    chosen = _chosen(counts.frauds, labelled, minimum)
    if chosen is None:
        return None
    held, k, n = chosen
    share, expected = k / n, counts.expected[held] / n
    low, high = _wilson(k, n, _z(len(k) * (len(k) - 1) // 2))
    gap = expected - share
    variance = np.maximum(share * (1 - share), 1 / n) / n
    from scipy.special import chdtrc

    pooled = float(np.sum(gap / variance) / np.sum(1 / variance))
    statistic = float(np.sum((gap - pooled) ** 2 / variance))
    return Figure(
        "calibration_diff",
        float(gap.max() - gap.min()),
        *_between(gap, expected - high, expected - low),
        float(chdtrc(len(k) - 1, statistic)),
        *_of(counts, held, gap, n),
    )
