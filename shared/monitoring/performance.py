"""How good are decisions, once labels have come, and how good are they likely to be before? From counts by score cell.

Precision, recall and false-positive rate are exact, since the threshold is an edge of the cells. Areas under curves
take the rows of a cell together, as ties: they are those of scores rounded to cells. Before labels come, a calibrated
score is itself the expected share of frauds (confidence-based performance estimation, NannyML's CBPE), which a concept
that has changed makes wrong; so an estimate is always called one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.monitoring.rollup import LATENCY_EDGES, SCORE_UNIT, UNKNOWN_LATENCY, Cube
from shared.training.intervals import wilson

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MINIMUM_FRAUDS: Final = 20
MINIMUM_ROWS: Final = 100
_Z: Final = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Cells:
    """Rows by cell of the score, rising, each of shape (cells,). ``scores``: all rows' scores added up; ``rows``: all
    rows; ``frauds`` and ``genuine``: labelled ones. From ``flagged_from`` on a row is flagged."""

    rows: Ints
    scores: Floats
    frauds: Ints
    genuine: Ints
    flagged_from: int

    @classmethod
    def of(cls, cube: Cube, labels: Cube, score_sums: Ints, groups: int, flagged_from: int) -> "Cells":
        """Summed over the protected groups. Scores are never missing, so the cells behind the last are empty.

        :param groups: protected columns, whose codes come before the score's.
        """
        size = len(score_sums)
        known, labelled = cube.codes(groups + 1)[:, groups], labels.codes(groups + 2)
        of_label = [
            np.bincount(labelled[chosen, groups], weights=labels.counts[chosen], minlength=size)[:size].astype(np.int64)
            for chosen in (labelled[:, groups + 1] == 1, labelled[:, groups + 1] == 0)
        ]
        rows = np.bincount(known, weights=cube.counts, minlength=size)[:size].astype(np.int64)
        return cls(rows, (score_sums * SCORE_UNIT).astype(np.float64), of_label[0], of_label[1], flagged_from)

    def __add__(self, other: "Cells") -> "Cells":
        return Cells(
            self.rows + other.rows,
            self.scores + other.scores,
            self.frauds + other.frauds,
            self.genuine + other.genuine,
            self.flagged_from,
        )

    @property
    def labelled(self) -> int:
        """Rows whose label is known."""
        return int(self.frauds.sum() + self.genuine.sum())

    @property
    def enough(self) -> bool:
        """Whether figures of the labelled rows say more than chance."""
        return int(self.frauds.sum()) >= MINIMUM_FRAUDS and self.labelled >= MINIMUM_ROWS


def measured(cells: Cells) -> dict[str, Interval | None]:
    """Figures of the labelled rows; None where one is undefined.

    Shares have Wilson's intervals. ROC-AUC has Hanley and McNeil's (1982); average precision, as a share of frauds,
    Wilson's of so many frauds.
    """
    from_here = cells.flagged_from
    hits, alarms = int(cells.frauds[from_here:].sum()), int(cells.genuine[from_here:].sum())
    frauds, genuine = int(cells.frauds.sum()), int(cells.genuine.sum())
    found: dict[str, Interval | None] = {
        "precision": _share(hits, hits + alarms),
        "recall": _share(hits, frauds),
        "f1_score": _f1(hits, alarms, frauds),
        "fpr": _share(alarms, genuine),
        "auc_roc": _auc_roc(cells, frauds, genuine),
        "auc_pr": _auc_pr(cells, frauds),
        "brier": None,
    }
    if frauds + genuine:
        mean = cells.scores / np.maximum(cells.rows, 1)
        errors = cells.frauds * (1 - mean) ** 2 + cells.genuine * mean**2
        squares = cells.frauds * (1 - mean) ** 4 + cells.genuine * mean**4
        total = frauds + genuine
        value = float(errors.sum() / total)
        half = _Z * math.sqrt(max(float(squares.sum() / total) - value**2, 0.0) / total)
        found["brier"] = Interval(value, max(value - half, 0.0), value + half)
    return found


def estimated(cells: Cells) -> dict[str, float | None]:
    """What to expect of all rows if scores are still calibrated: each counts as that much of a fraud."""
    fraud = np.minimum(cells.scores, cells.rows)
    genuine = cells.rows - fraud
    from_here = cells.flagged_from
    hits, alarms = float(fraud[from_here:].sum()), float(genuine[from_here:].sum())
    frauds, negatives = float(fraud.sum()), float(genuine.sum())
    below = np.concatenate([[0.0], np.cumsum(genuine)[:-1]])
    pairs = float(np.sum(fraud * (below + genuine / 2)))
    return {
        "precision": hits / (hits + alarms) if hits + alarms else None,
        "recall": hits / frauds if frauds else None,
        "f1_score": 2 * hits / (hits + alarms + frauds) if hits + alarms + frauds else None,
        "fpr": alarms / negatives if negatives else None,
        "auc_roc": pairs / (frauds * negatives) if frauds and negatives else None,
    }


def quantile_ms(latencies: Ints, share: float) -> float | None:
    """The upper edge of the cell that holds a quantile of the known latencies, in milliseconds; None without any."""
    known = latencies[:UNKNOWN_LATENCY]
    total = int(known.sum())
    if not total:
        return None
    cell = int(np.searchsorted(np.cumsum(known), share * total))
    return float(LATENCY_EDGES[min(cell, len(LATENCY_EDGES) - 1)])


def change_point(missed: Sequence[int], frauds: Sequence[int], delta: float = 0.002) -> int | None:
    """Where the share of missed frauds changed last, as the first position of the new level; None if it did not.

    ADWIN's test (Bifet and Gavaldà 2007) at every split of a series of cohorts: two parts differ when their shares are
    further apart than a bound of Hoeffding and Bernstein allows, corrected for the number of splits. The series is that
    of cohorts by day of the transaction, whose labels have come; errors in order of arrival would show the delay of
    labels instead.

    :param missed: frauds that were not flagged, by cohort. :param frauds: all frauds, by cohort.
    """
    hits, counts = np.asarray(missed, dtype=np.float64), np.asarray(frauds, dtype=np.float64)
    start, found = 0, None
    while True:
        part, whole = hits[start:], counts[start:]
        n = whole.sum()
        left, left_hits = np.cumsum(whole)[:-1], np.cumsum(part)[:-1]
        right, right_hits = n - left, part.sum() - left_hits
        usable = (left >= MINIMUM_FRAUDS) & (right >= MINIMUM_FRAUDS)
        if not usable.any():
            return found
        mean = part.sum() / n
        m = 1 / (1 / np.maximum(left, 1) + 1 / np.maximum(right, 1))
        log = math.log(2 * len(whole) / delta)
        bound = np.sqrt(2 / m * mean * (1 - mean) * log) + 2 / (3 * m) * log
        gap = np.abs(left_hits / np.maximum(left, 1) - right_hits / np.maximum(right, 1)) - bound
        gap[~usable] = -np.inf
        if gap.max() <= 0:
            return found
        start += int(gap.argmax()) + 1
        found = start


def _share(part: int, whole: int) -> Interval | None:
    ends = wilson(part, whole)
    return None if ends is None else Interval(part / whole, ends["low"], ends["high"])


def _f1(hits: int, alarms: int, frauds: int) -> Interval | None:
    """F1 is 2 s / (1 + s) of the share s = hits / (hits + alarms + missed), which rises with it."""
    jaccard = _share(hits, alarms + frauds)
    if jaccard is None:
        return None
    return Interval(*(2 * s / (1 + s) for s in (jaccard.value, jaccard.low, jaccard.high)))


def _auc_roc(cells: Cells, frauds: int, genuine: int) -> Interval | None:
    if not frauds or not genuine:
        return None
    below = np.concatenate([[0], np.cumsum(cells.genuine)[:-1]])
    area = float(np.sum(cells.frauds * (below + cells.genuine / 2)) / (frauds * genuine))
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (area * (1 - area) + (frauds - 1) * (q1 - area**2) + (genuine - 1) * (q2 - area**2)) / (frauds * genuine)
    half = _Z * math.sqrt(max(variance, 0.0))
    return Interval(area, max(area - half, 0.0), min(area + half, 1.0))


def _auc_pr(cells: Cells, frauds: int) -> Interval | None:
    if not frauds:
        return None
    hits, alarms = np.cumsum(cells.frauds[::-1]), np.cumsum(cells.genuine[::-1])
    precision = hits / np.maximum(hits + alarms, 1)
    value = float(np.sum(cells.frauds[::-1] * precision) / frauds)
    interval = _share(round(value * frauds), frauds)
    assert interval is not None  # there are frauds
    return Interval(value, min(interval.low, value), max(interval.high, value))
