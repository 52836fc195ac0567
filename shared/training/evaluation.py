"""How good are scores? Figures of merit of a fraud model, in numpy alone.

All functions take ``scores`` of shape (n,), higher meaning more likely fraud, and ``labels`` of shape (n,), 0 or 1.
Rows of equal score are indistinguishable to a threshold, so they are always taken together.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

FPR_LIMITS = {"0_1pct": 0.001, "1pct": 0.01, "5pct": 0.05}
_CALIBRATION_BINS = 20


@dataclass(frozen=True)
class ScoreCurve:
    """What every threshold would do, from one sort.

    For the k-th distinct score in falling order, ``true_positives[k]`` and ``false_positives[k]`` count the rows
    that score at least ``scores[k]``. All arrays have shape (m,), m the number of distinct scores.
    """

    scores: Floats
    true_positives: Counts
    false_positives: Counts

    @classmethod
    def of(cls, scores: npt.ArrayLike, labels: npt.ArrayLike) -> "ScoreCurve":
        """:raises ValueError: lengths differ, no rows, a score is not finite, or a label is neither 0 nor 1."""
        s, y = checked(scores, labels)
        order = np.argsort(-s, kind="stable")
        s, y = s[order], y[order]
        last = np.append(np.flatnonzero(s[1:] != s[:-1]), len(s) - 1)
        hits = np.cumsum(y)[last]
        return cls(s[last], hits, last + 1 - hits)

    @property
    def positives(self) -> int:
        """Number of rows with label 1."""
        return int(self.true_positives[-1])

    @property
    def negatives(self) -> int:
        """Number of rows with label 0."""
        return int(self.false_positives[-1])

    @cached_property
    def flagged(self) -> Counts:
        """Rows at or above each score."""
        return self.true_positives + self.false_positives

    @cached_property
    def precision(self) -> Floats:
        """Share of frauds among the rows at or above each score."""
        return self.true_positives / self.flagged

    @cached_property
    def recall(self) -> Floats:
        """Share of the frauds that score at or above each score; zeros when there are none."""
        return self.true_positives / max(self.positives, 1)

    @cached_property
    def false_positive_rate(self) -> Floats:
        """Share of the genuine rows that score at or above each score; zeros when there are none."""
        return self.false_positives / max(self.negatives, 1)

    @cached_property
    def f1(self) -> Floats:
        """Harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN)."""
        return 2 * self.true_positives / (self.flagged + self.positives)

    def auc_roc(self) -> float | None:
        """Area under the ROC curve by the trapezoidal rule: the probability that a fraud outscores a genuine row, ties
        counting half. None when a class is missing."""
        if not self.positives or not self.negatives:
            return None
        tp = np.concatenate(([0], self.true_positives))
        fp = np.concatenate(([0], self.false_positives))
        area = np.sum((fp[1:] - fp[:-1]) * (tp[1:] + tp[:-1]) / 2)
        return float(area / (self.positives * self.negatives))

    def auc_pr(self) -> float | None:
        """Average precision: the sum of precision times the gain in recall, without interpolation. None without
        frauds.
        """
        if not self.positives:
            return None
        gained = np.diff(self.true_positives, prepend=0)
        return float(np.sum(self.precision * gained) / self.positives)

    def recall_at_fpr(self, limit: float) -> float | None:
        """The highest recall of any threshold whose false positive rate is at most ``limit``. None when a class is
        missing.
        """
        if not self.positives or not self.negatives:
            return None
        allowed = int(np.searchsorted(self.false_positive_rate, limit, side="right"))
        return float(self.recall[allowed - 1]) if allowed else 0.0


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of decisions against labels."""

    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int

    @classmethod
    def at(cls, scores: npt.ArrayLike, labels: npt.ArrayLike, threshold: float) -> "Confusion":
        """Decisions are ``score >= threshold``."""
        s, y = checked(scores, labels)
        flagged = s >= threshold
        fraud = y == 1
        tp, fp = int(np.sum(flagged & fraud)), int(np.sum(flagged & ~fraud))
        fraud_total = int(fraud.sum())
        return cls(tp, fp, len(y) - fraud_total - fp, fraud_total - tp)

    @property
    def precision(self) -> float:
        """TP / (TP + FP); 0 when nothing was flagged."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """TP / (TP + FN); 0 without frauds."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN); 0 when that is undefined."""
        tp2 = 2 * self.true_positives
        return _ratio(tp2, tp2 + self.false_positives + self.false_negatives)

    @property
    def fpr(self) -> float:
        """FP / (FP + TN); 0 without genuine rows."""
        return _ratio(self.false_positives, self.false_positives + self.true_negatives)

    @property
    def accuracy(self) -> float:
        """Share of right decisions."""
        total = self.true_positives + self.false_positives + self.true_negatives + self.false_negatives
        return _ratio(self.true_positives + self.true_negatives, total)


def brier_score(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Mean squared difference of probability and outcome (Brier 1950)."""
    s, y = checked(scores, labels)
    return float(np.mean((s - y) ** 2))


def log_loss(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Mean negative log likelihood in nats; probabilities are kept one float64 epsilon away from 0 and 1."""
    return float(np.mean(row_log_losses(*checked(scores, labels))))


def row_log_losses(scores: Floats, labels: npt.ArrayLike) -> Floats:
    """The negative log likelihood of each row in nats, shape (n,); see :func:`log_loss`."""
    eps = float(np.finfo(np.float64).eps)
    p = np.clip(scores, eps, 1 - eps)
    return -np.log(np.where(np.asarray(labels) == 1, p, 1 - p))


def calibration_edges(rising: Floats, bins: int = _CALIBRATION_BINS) -> Floats:
    """The lowest score of each bin but the first, from scores in rising order."""
    return rising[(np.arange(1, bins) * len(rising)) // bins]


def calibration_error(scores: npt.ArrayLike, labels: npt.ArrayLike, bins: int = _CALIBRATION_BINS) -> float:
    """Expected calibration error over bins of equal row count, tied scores staying together: the mean over rows of
    \\|mean score - fraud rate\\| of the row's bin. Equal widths would put nearly every transaction in the first bin.

    (Naeini, Cooper, Hauskrecht 2015, with the adaptive bins of Nguyen and O'Connor 2015.)
    """
    s, y = checked(scores, labels)
    order = np.argsort(s, kind="stable")
    s, y = s[order], y[order]
    starts = np.unique(np.concatenate(([0], np.searchsorted(s, calibration_edges(s, bins), side="left"))))
    gaps = np.abs(np.add.reduceat(s, starts) - np.add.reduceat(y.astype(np.float64), starts))
    return float(gaps.sum() / len(s))


def evaluate(scores: npt.ArrayLike, labels: npt.ArrayLike, threshold: float) -> dict[str, Any]:
    """Every figure of a model on one set of rows, plain and ready for JSON.

    Keys: ``precision recall f1_score fpr accuracy`` at the threshold; ``auc_roc auc_pr recall_at_fpr_0_1pct
    recall_at_fpr_1pct recall_at_fpr_5pct`` over all thresholds; ``brier log_loss calibration_error`` of the scores
    as probabilities; ``threshold rows frauds fraud_rate flag_rate confusion``. A figure that one missing class
    makes undefined is None.

    :param scores: shape (n,), probabilities between 0 and 1.
    :raises ValueError: as :meth:`ScoreCurve.of`, or a score outside [0, 1].
    """
    s, y = checked(scores, labels)
    if s.min() < 0 or s.max() > 1:
        raise ValueError("scores must be probabilities between 0 and 1")
    curve = ScoreCurve.of(s, y)
    confusion = Confusion.at(s, y, threshold)
    flagged = confusion.true_positives + confusion.false_positives
    return {
        "precision": confusion.precision,
        "recall": confusion.recall,
        "f1_score": confusion.f1,
        "fpr": confusion.fpr,
        "accuracy": confusion.accuracy,
        "auc_roc": curve.auc_roc(),
        "auc_pr": curve.auc_pr(),
        **{f"recall_at_fpr_{name}": curve.recall_at_fpr(limit) for name, limit in FPR_LIMITS.items()},
        "brier": brier_score(s, y),
        "log_loss": log_loss(s, y),
        "calibration_error": calibration_error(s, y),
        "threshold": float(threshold),
        "rows": len(y),
        "frauds": curve.positives,
        "fraud_rate": curve.positives / len(y),
        "flag_rate": flagged / len(y),
        "confusion": {
            "true_positives": confusion.true_positives,
            "false_positives": confusion.false_positives,
            "true_negatives": confusion.true_negatives,
            "false_negatives": confusion.false_negatives,
        },
    }


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def checked(scores: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Floats, Counts]:
    """Both as arrays.

    :raises ValueError: lengths differ, no rows, a score is not finite, or a label is neither 0 nor 1.
    """
    s = np.asarray(scores, dtype=np.float64)
    y = np.asarray(labels, dtype=np.int64)
    if s.ndim != 1 or s.shape != y.shape:
        raise ValueError(f"scores {s.shape} and labels {y.shape} must be of one length")
    if not len(s):
        raise ValueError("there are no rows to evaluate")
    if not np.isfinite(s).all():
        raise ValueError("scores must be finite")
    if ((y != 0) & (y != 1)).any():
        raise ValueError("labels must be 0 or 1")
    return s, y
