"""From the counts of a window to what is said of each protected attribute."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.monitoring.bias_model import AttributeBias, BiasFigure, NewProtectedAttribute
from shared.monitoring.fairness import (
    MINIMUM,
    Counted,
    Figure,
    GroupCounts,
    Limit,
    figures,
    group_counts,
    holm,
    intersections,
    rates,
    status,
)
from shared.monitoring.level import Level
from shared.monitoring.reference import Reference
from shared.monitoring.rollup import SCORE_UNIT, Cube
from shared.monitoring.windows import WindowCube

_NO_GROUP = 255
_UNLABELLED = -1
_BY_LABEL = frozenset({"equalized_odds_diff", "fpr_diff", "calibration_diff"})


@dataclass(frozen=True, slots=True)
class Watched:
    """An attribute that the model's profile knows: where its codes stand, and the code of each group to compare."""

    attribute: NewProtectedAttribute
    column: int
    codes: tuple[int, ...]
    names: tuple[str, ...]


def watched(reference: Reference, attributes: Sequence[NewProtectedAttribute]) -> tuple[list[Watched], list[str]]:
    """The attributes whose column the profile has groups of, and the names of the others."""
    columns = {group.name: position for position, group in enumerate(reference.profile.groups)}
    found, unknown = [], []
    for attribute in attributes:
        column = columns.get(attribute.column_name)
        cells = () if column is None else reference.profile.groups[column].cells
        named = [(code, name) for code, name in enumerate(cells) if name in attribute.groups]
        if column is None or len(named) < 2:
            unknown.append(attribute.attribute_name)
        else:
            found.append(Watched(attribute, column, tuple(c for c, _ in named), tuple(n for _, n in named)))
    return found, unknown


def count(reference: Reference, cube: WindowCube, attributes: Sequence[Watched]) -> Counted:
    """The window's predictions by the attributes' groups, decision and label; those without a label apart."""
    profile = reference.profile
    assert profile.scores is not None  # a reference has scores
    width = len(profile.groups) + 1
    of_label = cube.labels.codes(width + 1)
    # A prediction that is labelled is not also one that is not.
    without = Cube.of(
        np.concatenate([cube.cube.codes(width), of_label[:, :width]]),
        np.concatenate([cube.cube.counts, -cube.labels.counts]),
    )
    of_none = without.codes(width)
    groups = np.concatenate([of_none[:, : width - 1], of_label[:, : width - 1]])
    cells = np.concatenate([of_none[:, width - 1], of_label[:, width - 1]])
    labels = np.concatenate([np.full(len(of_none), _UNLABELLED, np.int8), of_label[:, width].astype(np.int8)])
    rows = np.concatenate([without.counts, cube.labels.counts])
    return Counted(
        _of_groups(groups, attributes),
        cells >= profile.scores.flagged_from,
        labels,
        rows,
        rows * _mean_scores(cube, width, reference)[cells],
    )


def _mean_scores(cube: WindowCube, width: int, reference: Reference) -> "np.typing.NDArray[np.float64]":
    """Of each code of the score; exact sums by cell, so a group's mean is off by less than a cell's width."""
    cells = cube.cube.codes(width)[:, width - 1]
    rows = np.bincount(cells, weights=cube.cube.counts, minlength=256)
    sums = np.zeros(256)
    sums[: len(cube.score_sums)] = cube.score_sums * SCORE_UNIT
    return sums / np.maximum(rows, 1)


def _of_groups(codes: "np.typing.NDArray[np.uint8]", attributes: Sequence[Watched]) -> "np.typing.NDArray[np.uint8]":
    """Positions in each attribute's groups, shape (m, attributes)."""
    found = np.full((len(codes), len(attributes)), _NO_GROUP, dtype=np.uint8)
    for position, each in enumerate(attributes):
        table = np.full(256, _NO_GROUP, dtype=np.uint8)
        table[list(each.codes)] = np.arange(len(each.codes))
        found[:, position] = table[codes[:, each.column]]
    return found


def judge(
    attributes: Sequence[Watched], everything: Counted, matured: Counted, minimum: int = MINIMUM
) -> list[AttributeBias]:
    """What is said of each attribute and of their intersections.

    :param everything: for figures that need no label. :param matured: for those that do, of a time whose labels have
        come.
    """
    names = [each.names for each in attributes]
    looked: list[tuple[tuple[int, ...], GroupCounts, GroupCounts, list[Figure]]] = []
    for columns in intersections(len(attributes)):
        now, then = group_counts(names, columns, everything), group_counts(names, columns, matured)
        found = [each for each in figures(now, minimum) if each.metric not in _BY_LABEL]
        found += [each for each in figures(then, minimum) if each.metric in _BY_LABEL]
        looked.append((columns, now, then, found))
    corrected = iter(holm([each.p for *_, found in looked for each in found]))
    return [
        _said(attributes, columns, now, then, [(each, next(corrected)) for each in found], minimum)
        for columns, now, then, found in looked
    ]


def _said(
    attributes: Sequence[Watched],
    columns: tuple[int, ...],
    now: GroupCounts,
    then: GroupCounts,
    found: Sequence[tuple[Figure, float]],
    minimum: int,
) -> AttributeBias:
    limits = _limits([attributes[column] for column in columns])
    shown = []
    for each, p in found:
        limit = limits.get(each.metric)
        shown.append(
            BiasFigure(
                metric=each.metric,
                value=each.value,
                low=each.low,
                high=each.high,
                p=p,
                status=Level.OK if limit is None else status(each, limit, p),
                threshold=None if limit is None else limit.at_most if limit.at_most is not None else limit.at_least,
                groups=dict(each.groups),
                sizes=dict(each.sizes),
            )
        )
    worst = max((figure.status for figure in shown), key=lambda level: level.rank, default=Level.OK)
    return AttributeBias(
        attribute=" & ".join(attributes[column].attribute.attribute_name for column in columns),
        status=worst,
        rows=int(now.rows.sum()),
        labelled=int((then.frauds + then.genuine).sum()),
        figures=shown,
        rates=rates(then, minimum),
    )


def _limits(attributes: Sequence[Watched]) -> dict[str, Limit]:
    """Of an intersection: the loosest of its attributes' limits, so that it does not warn before they do."""
    merged: dict[str, Limit] = {}
    for each in attributes:
        for metric, limit in each.attribute.limits().items():
            known = merged.get(metric)
            if known is None:
                merged[metric] = limit
            elif limit.at_most is not None and known.at_most is not None:
                merged[metric] = Limit(at_most=max(limit.at_most, known.at_most))
            elif limit.at_least is not None and known.at_least is not None:
                merged[metric] = Limit(at_least=min(limit.at_least, known.at_least))
    return merged
