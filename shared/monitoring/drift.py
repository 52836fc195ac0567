"""Whether what is predicted has drifted: figures of every monitored column, and the decision what they are worth.

A column drifts when three things come together: enough rows; a test that holds against chance although many columns
are looked at (chi-square of both samples, Benjamini-Hochberg over all columns); and an effect that matters (a floor).
CRITICAL is said only when it was seen in several windows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.monitoring import statistics
from shared.monitoring.level import Level
from shared.monitoring.profile import FeatureProfile, ReferenceProfile
from shared.monitoring.rollup import Ints, RollupLayout

_FEWEST_VALUES: Final = 50  # present ones, for figures that leave out missing ones
_FEWEST_EXPECTED_CATEGORY: Final = 0.01  # share of a category that counts by itself in PSI
_STANDARD_ERRORS: Final = 3.0


class Limits(NamedTuple):
    """From these values on a figure is WARNING, and CRITICAL."""

    warning: float
    critical: float

    def level(self, value: float) -> Level:
        """Of a figure."""
        if value >= self.critical:
            return Level.CRITICAL
        return Level.WARNING if value >= self.warning else Level.OK


class Kind(StrEnum):
    """What a monitored column is."""

    FEATURE = "feature"
    CATEGORY = "category"
    GROUP = "group"
    SCORE = "score"
    DECISION = "decision"


DECISION_NAME: Final = "is_fraud"
NEVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class DriftPolicy:
    """When drift is worth a warning.

    ``limits`` of ``share_change`` are of the larger share of a category divided by the smaller; only WARNING. ``psi``
    is judged after what it is on average without drift has been subtracted.
    """

    min_rows: int = 200
    false_discovery_rate: float = 0.01
    bins: int = 10
    least_share: float = 0.005
    persistence: tuple[int, int] = (2, 3)
    limits: Mapping[str, Limits] = field(
        default_factory=lambda: MappingProxyType(
            {
                "psi": Limits(0.10, 0.25),
                "ks_statistic": Limits(0.05, 0.15),
                "missing_rate": Limits(0.05, 0.20),
                "unseen_rate": Limits(0.01, 0.05),
                "share_change": Limits(1.5, NEVER),
                "drifted_share": Limits(0.10, 0.25),
            }
        )
    )


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a column. ``threshold``: the limit that it passed, or the first it would pass; None where it is
    only told. ``bound``: how far the figure of the values themselves may be away."""

    metric: str
    value: float
    threshold: float | None = None
    level: Level = Level.OK
    bound: float | None = None


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """A column of one window against its reference. ``level``: the worst of its figures, after persistence;
    ``seen``: before."""

    name: str
    kind: Kind
    reference_rows: int
    current_rows: int
    figures: tuple[Figure, ...]
    p: float
    q: float = 1.0
    importance: float = 0.0
    level: Level = Level.OK
    seen: Level = Level.OK

    def value(self, metric: str) -> float | None:
        """One figure, None where it could not be said."""
        return next((figure.value for figure in self.figures if figure.metric == metric), None)


@dataclass(frozen=True, slots=True)
class WindowDrift:
    """All columns of a window, and the whole. ``drifted_share``: importance of the features that drifted, of all
    importance. A window with too few rows (``enough`` is false) says nothing and is OK."""

    rows: int
    reference_rows: int
    enough: bool
    columns: tuple[ColumnDrift, ...] = ()
    drifted_share: Figure = field(default_factory=lambda: Figure("drifted_share", 0.0))
    level: Level = Level.OK


def window_drift(
    profile: ReferenceProfile,
    layout: RollupLayout,
    reference: Ints,
    current: Ints,
    *,
    importance: Mapping[str, float] = MappingProxyType({}),
    critical_before: Mapping[str, int] = MappingProxyType({}),
    policy: DriftPolicy | None = None,
) -> WindowDrift:
    """Compare a window with a reference, both as vectors of counts in ``layout``.

    :param importance: by feature; features that are not named have none. Without any, all count alike.
    :param critical_before: by column, in how many of the windows before (as many as persistence looks at, less one) it
        was CRITICAL in itself.
    """
    policy = policy or DriftPolicy()
    rows, reference_rows = (int(layout.column(counts, 0).sum()) for counts in (current, reference))
    if min(rows, reference_rows) < policy.min_rows:
        return WindowDrift(rows, reference_rows, enough=False)
    shares = _weights(profile, importance)
    columns = [
        replace(column, importance=shares.get(column.name, 0.0) if column.kind is Kind.FEATURE else 0.0)
        for column in _columns(profile, layout, reference, current, policy)
        if column.reference_rows >= policy.min_rows  # scores and groups may have a reference of their own size
    ]
    rates = statistics.benjamini_hochberg(np.array([column.p for column in columns]))
    judged = tuple(
        _judged(replace(column, q=float(q)), critical_before.get(column.name, 0), policy)
        for column, q in zip(columns, rates, strict=True)
    )
    share, level = _overall(judged, policy)
    return WindowDrift(rows, reference_rows, enough=True, columns=judged, drifted_share=share, level=level)


def _weights(profile: ReferenceProfile, importance: Mapping[str, float]) -> dict[str, float]:
    named = {feature.name: max(importance.get(feature.name, 0.0), 0.0) for feature in profile.features}
    total = sum(named.values())
    return {name: value / total if total > 0 else 1 / len(named) for name, value in named.items()}


def _columns(
    profile: ReferenceProfile, layout: RollupLayout, reference: Ints, current: Ints, policy: DriftPolicy
) -> list[ColumnDrift]:
    pairs = [(layout.column(reference, n), layout.column(current, n)) for n in range(len(layout.sizes))]
    found = []
    for feature, (r, c) in zip(profile.features, pairs, strict=False):
        found.append(number_drift(feature, Kind.FEATURE, r, c, policy))
    named = [(each.name, Kind.CATEGORY) for each in profile.categories]
    named += [(each.name, Kind.GROUP) for each in profile.groups]
    for (name, kind), (r, c) in zip(named, pairs[len(profile.features) : -1], strict=True):
        found.append(category_drift(name, kind, r, c, policy))
    assert profile.scores is not None
    r, c = pairs[-1]
    found.append(number_drift(profile.scores, Kind.SCORE, r, c, policy))
    cut = profile.scores.flagged_from
    decisions = [np.array([x[:cut].sum(), x[cut:-2].sum(), 0, 0]) for x in (r, c)]
    found.append(category_drift(DECISION_NAME, Kind.DECISION, decisions[0], decisions[1], policy))
    return found


def number_drift(feature: FeatureProfile, kind: Kind, r: Ints, c: Ints, policy: DriftPolicy) -> ColumnDrift:
    """A column of numbers from its counts: cells in order, then unseen (always empty) and missing."""
    cells_r, cells_c = r[:-2], c[:-2]
    groups = quantile_groups(cells_r, policy.bins)
    bins_r = np.append(np.bincount(groups, cells_r), r[-1]).astype(np.int64)
    bins_c = np.append(np.bincount(groups, cells_c), c[-1]).astype(np.int64)
    figures = [*_shared_figures(bins_r, bins_c, r, c, policy)]
    if min(cells_r.sum(), cells_c.sum()) >= _FEWEST_VALUES:
        distance = statistics.ks(cells_r, cells_c)
        area = statistics.wasserstein(np.array(feature.edges), cells_r, cells_c, feature.std or 0.0)
        if distance is not None:
            figures.append(_limited("ks_statistic", distance.value, policy, bound=distance.bound))
        if area is not None:
            figures.append(Figure("wasserstein", area.value, bound=area.bound))
    outside_r, outside_c = (int(x[0] + x[-1]) for x in (cells_r, cells_c))
    return _tested(feature.name, kind, figures, statistics.chi_square(bins_r, bins_c).p, r, c, (outside_r, outside_c))


def category_drift(name: str, kind: Kind, r: Ints, c: Ints, policy: DriftPolicy) -> ColumnDrift:
    """A column of categories from its counts: a cell a category, then unseen and missing."""
    own = r[:-2] >= max(_FEWEST_EXPECTED_CATEGORY * r.sum(), 1)
    bins = [np.append(x[:-2][own], [x[:-2][~own].sum(), x[-2], x[-1]]) for x in (r, c)]
    figures = [*_shared_figures(bins[0], bins[1], r, c, policy)]
    if kind is not Kind.DECISION:
        figures.append(_limited("unseen_rate", float(c[-2] / c.sum()), policy))
    figures.append(_limited("share_change", _share_change(r[:-2], c[:-2], int(r.sum()), int(c.sum()), policy), policy))
    return _tested(name, kind, figures, statistics.chi_square(r, c).p, r, c, (int(r[-2]), int(c[-2])))


def _tested(
    name: str, kind: Kind, figures: Sequence[Figure], p: float, r: Ints, c: Ints, strange: tuple[int, int]
) -> ColumnDrift:
    """The column with its p-value: of two tests, chi-square and whether ``strange`` rows (outside the reference, or
    unseen) have become more, the smaller one doubled."""
    n, m = int(r.sum()), int(c.sum())
    rise = statistics.rise_p(*strange, n, m)
    told = (*figures, Figure("chi_square_p", p))
    return ColumnDrift(name, kind, n, m, told, min(1.0, 2 * min(p, rise)))


def quantile_groups(cells: Ints, bins: int) -> NDArray[np.int64]:
    """Which of about ``bins`` equally filled groups each cell belongs to, shape (cells,). The first and the last cell
    stay alone: they hold what lies outside the reference."""
    inner = cells[1:-1]
    total = max(int(inner.sum()), 1)
    middle = np.cumsum(inner) - inner / 2
    groups = np.minimum((middle * bins / total).astype(np.int64), bins - 1)
    return np.concatenate([[0], groups + 1, [bins + 1]]) if len(cells) > 1 else np.zeros(len(cells), np.int64)


def _shared_figures(bins_r: Ints, bins_c: Ints, r: Ints, c: Ints, policy: DriftPolicy) -> list[Figure]:
    figures = []
    index = statistics.psi(bins_r, bins_c)
    if index is not None:
        expected = statistics.expected_psi(bins_r, bins_c)
        limits = policy.limits["psi"]
        figures.append(_figure("psi", index, Limits(limits.warning + expected, limits.critical + expected)))
    distance = statistics.jensen_shannon(r, c)
    if distance is not None:
        figures.append(Figure("jensen_shannon", distance))
    missing_r, missing_c = r[-1] / r.sum(), c[-1] / c.sum()
    limits = policy.limits["missing_rate"]
    level = limits.level(abs(missing_c - missing_r))
    limit = limits.critical if level is Level.CRITICAL else limits.warning
    # The limit is of the change: told as the rate that it is reached at.
    threshold = missing_r + limit if missing_c >= missing_r else missing_r - limit
    figures.append(Figure("missing_rate", float(missing_c), float(threshold), level))
    return figures


def _share_change(r: Ints, c: Ints, n: int, m: int, policy: DriftPolicy) -> float:
    """The largest factor by which a category's share rose or fell, among those that are not rare on both sides and
    whose change is no accident."""
    p, q = (r + 0.5) / (n + 0.5 * len(r)), (c + 0.5) / (m + 0.5 * len(c))
    pooled = (r + c) / (n + m)
    error = np.sqrt(np.maximum(pooled * (1 - pooled), 1e-12) * (1 / n + 1 / m))
    real = (np.maximum(p, q) >= policy.least_share) & (np.abs(r / n - c / m) > _STANDARD_ERRORS * error)
    return float(np.max(np.maximum(p / q, q / p)[real], initial=1.0))


def _limited(metric: str, value: float, policy: DriftPolicy, bound: float | None = None) -> Figure:
    return _figure(metric, value, policy.limits[metric], bound)


def _figure(metric: str, value: float, limits: Limits, bound: float | None = None) -> Figure:
    level = limits.level(value)
    threshold = limits.critical if level is Level.CRITICAL else limits.warning
    return Figure(metric, value, threshold, level, bound)


def _judged(column: ColumnDrift, critical_before: int, policy: DriftPolicy) -> ColumnDrift:
    """Figures count only where the column's test holds; CRITICAL only where it was seen often enough."""
    if column.q >= policy.false_discovery_rate:
        quiet = tuple(replace(figure, level=Level.OK) for figure in column.figures)
        return replace(column, figures=quiet)
    seen = worst(figure.level for figure in column.figures)
    often = seen is Level.CRITICAL and critical_before + 1 >= policy.persistence[0]
    level = seen if often else min(seen, Level.WARNING, key=lambda each: each.rank)
    figures = tuple(
        replace(figure, level=min(figure.level, level, key=lambda each: each.rank)) for figure in column.figures
    )
    return replace(column, figures=figures, level=level, seen=seen)


def _overall(columns: Sequence[ColumnDrift], policy: DriftPolicy) -> tuple[Figure, Level]:
    share = sum(column.importance for column in columns if column.level is not Level.OK)
    critical = sum(column.importance for column in columns if column.level is Level.CRITICAL)
    limits = policy.limits["drifted_share"]
    by_share = Level.CRITICAL if critical >= limits.critical else min(
        limits.level(share), Level.WARNING, key=lambda each: each.rank
    )  # fmt: skip
    figure = Figure("drifted_share", share, limits.critical if by_share is Level.CRITICAL else limits.warning, by_share)
    outputs = worst(column.level for column in columns if column.kind in (Kind.SCORE, Kind.DECISION))
    return figure, worst((by_share, outputs))


def worst(levels: Iterable[Level]) -> Level:
    """The worst of some levels, OK of none."""
    return max(levels, key=lambda each: each.rank, default=Level.OK)
