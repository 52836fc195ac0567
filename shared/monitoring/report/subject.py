"""What the report is about: a window, its columns with the counts of both samples, and figures over time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.monitoring.drift import DECISION_NAME, quantile_groups
from shared.monitoring.model import DriftColumn, DriftSeries, DriftWindow
from shared.monitoring.profile import FeatureProfile, ReferenceProfile
from shared.monitoring.rollup import Ints, RollupLayout
from shared.training.report.text import number

BINS = 10
_MOST_BARS = 14


@dataclass(frozen=True, slots=True)
class Subject:
    """``reference`` and ``current``: counts in ``layout``; ``series``: one figure each over time."""

    name: str
    version: str
    window: DriftWindow
    profile: ReferenceProfile
    layout: RollupLayout
    reference: Ints
    current: Ints
    series: Mapping[str, DriftSeries]


@dataclass(frozen=True, slots=True)
class Bars:
    """The shares of both samples in the groups of one column, each of shape (groups,)."""

    labels: Sequence[str]
    reference: Sequence[float]
    current: Sequence[float]


def bars_of(subject: Subject, column: DriftColumn) -> Bars | None:
    """Numbers by tenths of the reference, categories by their most frequent values; None where a sample is empty."""
    profile, layout = subject.profile, subject.layout
    assert profile.scores is not None
    scores = profile.scores
    if column.name == DECISION_NAME and DECISION_NAME not in layout.names:
        position = len(layout.names) - 1
        r, c = (layout.column(x, position) for x in (subject.reference, subject.current))
        cut = scores.flagged_from
        return _bars(["let through", "flagged"], *(np.array([x[:cut].sum(), x[cut:-2].sum()]) for x in (r, c)))
    position = layout.names.index(column.name)
    r, c = (layout.column(x, position) for x in (subject.reference, subject.current))
    numbers: list[FeatureProfile] = [*profile.features]
    if position < len(numbers):
        return _of_numbers(numbers[position], r, c)
    if position == len(layout.names) - 1:
        return _of_numbers(scores, r, c)
    named = [each.cells for each in profile.categories] + [each.cells for each in profile.groups]
    return _of_categories(named[position - len(numbers)], r, c)


def _of_numbers(feature: FeatureProfile, r: Ints, c: Ints) -> Bars | None:
    cells = len(feature.counts)
    groups = quantile_groups(r[:-2], BINS)
    used = np.unique(groups)
    sums = [np.bincount(groups, x[:-2], minlength=int(groups.max()) + 1)[used] for x in (r, c)]
    labels = []
    for group in used:
        held = np.flatnonzero(groups == group)
        low = feature.edges[held[0] - 1] if held[0] > 0 else None
        high = feature.edges[held[-1]] if held[-1] < cells - 1 else None
        if low is None:
            labels.append(f"below {number(high, 3)}")
        elif high is None:
            labels.append(f"above {number(feature.maximum, 3)}")
        else:
            labels.append(f"from {number(low, 3)}")
    return _bars([*labels, "missing"], *(np.append(s, x[-1]) for s, x in zip(sums, (r, c), strict=True)))


def _of_categories(cells: Sequence[str], r: Ints, c: Ints) -> Bars | None:
    order = np.argsort(-(r[:-2] / max(r.sum(), 1) + c[:-2] / max(c.sum(), 1)), kind="stable")
    shown, rest = order[:_MOST_BARS], order[_MOST_BARS:]
    labels = [*(cells[i] for i in shown), *(["all others"] if len(rest) else []), "unseen", "missing"]
    parts = [np.concatenate([x[:-2][shown], [x[:-2][rest].sum()] if len(rest) else [], x[-2:]]) for x in (r, c)]
    return _bars(labels, parts[0], parts[1])


def _bars(labels: Sequence[str], r: NDArray[Any], c: NDArray[Any]) -> Bars | None:
    total_r, total_c = float(r.sum()), float(c.sum())
    if not total_r or not total_c:
        return None
    kept = [i for i in range(len(labels)) if float(r[i]) or float(c[i])]
    return Bars([labels[i] for i in kept], [float(r[i]) / total_r for i in kept], [float(c[i]) / total_c for i in kept])
