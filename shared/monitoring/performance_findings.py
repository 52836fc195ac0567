"""From counts to what is said of a model's performance. Pure functions."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from shared.monitoring.level import Level
from shared.monitoring.performance import Cells, Interval, change_point, estimated, measured
from shared.monitoring.performance_model import HeldBaseline, MaturityPoint, PerformanceFigure, PerformanceWeek
from shared.monitoring.reference import Reference
from shared.monitoring.windows import WindowCube
from shared.registry.gate import judge
from shared.registry.model import Model
from shared.registry.rules import Baseline

JUDGED: Final = ("precision", "recall", "f1_score", "auc_roc", "auc_pr", "fpr", "brier")
# Of the training-time figure lost.
LOST: Final[Mapping[Level, float]] = MappingProxyType({Level.WARNING: 0.05, Level.CRITICAL: 0.10})
_LOWER_IS_BETTER: Final = frozenset({"fpr", "brier"})


def cells_of(reference: Reference, cube: WindowCube) -> Cells:
    """The counts of a span by cell of the score."""
    profile = reference.profile
    assert profile.scores is not None  # a reference has scores
    return Cells.of(cube.cube, cube.labels, cube.score_sums, len(profile.groups), profile.scores.flagged_from)


def no_cells(reference: Reference) -> Cells:
    """Of no predictions."""
    size = reference.layout.score_cells
    none = np.zeros(size, np.int64)
    assert reference.profile.scores is not None  # a reference has scores
    return Cells(none, np.zeros(size), none, none, reference.profile.scores.flagged_from)


def figures_of(model: Model, baselines: Mapping[str, Baseline], cells: Cells) -> list[PerformanceFigure]:
    """What is judged, on labels that have come."""
    found = measured(cells)
    return [
        _figure(name, found[name], model.metrics.get(name), baselines.get(name), enough=cells.enough) for name in JUDGED
    ]


def _figure(
    name: str, found: Interval | None, at_training: Any, baseline: Baseline | None, *, enough: bool
) -> PerformanceFigure:
    """The worse of what the training-time figure and the baseline say.

    Against training: WARNING and CRITICAL when even the better end of the interval has lost so much of the figure.
    Against the baseline: WARNING when it does not hold, CRITICAL when it holds at no end of the interval either.
    """
    known = float(at_training) if isinstance(at_training, int | float) else None
    lost, levels = None, [Level.OK]
    if found is not None and known:
        sign = -1 if name in _LOWER_IS_BETTER else 1
        lost = sign * (known - found.value) / known
        at_best = sign * (known - (found.low if sign < 0 else found.high)) / known
        if name not in _LOWER_IS_BETTER:
            levels += [level for level, limit in LOST.items() if at_best >= limit]
    held = None
    if found is not None and baseline is not None:
        holds = _holds(baseline, found)
        held = HeldBaseline(operator=baseline.operator, threshold=baseline.threshold, bound=baseline.bound, holds=holds)
        if not holds:
            ends = (Interval(end, end, end) for end in (found.low, found.high))
            levels.append(Level.WARNING if any(_holds(baseline, end) for end in ends) else Level.CRITICAL)
    return PerformanceFigure(
        metric=name,
        value=None if found is None else found.value,
        low=None if found is None else found.low,
        high=None if found is None else found.high,
        at_training=known,
        lost=lost,
        baseline=held,
        status=max(levels, key=lambda level: level.rank) if enough else Level.OK,
    )


def _holds(baseline: Baseline, found: Interval) -> bool:
    """As the registry's gate judges it."""
    interval = {"low": found.low, "high": found.high}
    return judge([baseline], {baseline.metric: found.value, "intervals": {baseline.metric: interval}}).passed


def stored_limit(figure: PerformanceFigure) -> float | None:
    """What is stored beside a figure: from here on it is WARNING against training."""
    if figure.at_training is None or figure.metric in _LOWER_IS_BETTER:
        return None
    return figure.at_training * (1 - LOST[Level.WARNING])


def week_of(monday: datetime, cells: Cells, *, mature: bool) -> PerformanceWeek:
    """What is said of one week."""
    found = measured(cells)
    return PerformanceWeek(
        week=monday,
        rows=int(cells.rows.sum()),
        labelled=cells.labelled,
        frauds=int(cells.frauds.sum()),
        mature=mature,
        figures={name: None if each is None else each.value for name, each in found.items()},
        intervals={name: None if each is None else (each.low, each.high) for name, each in found.items()},
        estimated=estimated(cells),
    )


def monday(moment: datetime) -> datetime:
    """The beginning of the week that a moment lies in."""
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day - timedelta(days=day.weekday())


def changed_at(dated: Sequence[tuple[datetime, Cells]]) -> datetime | None:
    """The day from which on another share of frauds was missed."""
    days, missed, frauds = [], [], []
    for day, within in groupby(dated, key=lambda each: each[0].replace(hour=0)):
        cells = [of for _, of in within]
        days.append(day)
        missed.append(sum(int(of.frauds[: of.flagged_from].sum()) for of in cells))
        frauds.append(sum(int(of.frauds.sum()) for of in cells))
    position = change_point(missed, frauds)
    return None if position is None else days[position]


def maturity(delays: Sequence[tuple[int, int]]) -> list[MaturityPoint]:
    """Of the labels that have come, the share that had come after so many days."""
    total, so_far, points = sum(count for _, count in delays), 0, []
    for days, count in delays:
        so_far += count
        points.append(MaturityPoint(days=days, share=so_far / total))
    return points
