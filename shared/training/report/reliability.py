"""Do scores mean what they say? Observed fraud rates by score, with intervals."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from shared.training.intervals import wilson

_BINS: Final = 10


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Rows whose scores lie in one tenth of the scale: how many, their mean score, and the share that is fraud with its
    95 % interval.
    """

    rows: int
    frauds: int
    mean_score: float
    fraud_rate: float
    low: float
    high: float


def reliability(scores: npt.ArrayLike, labels: npt.ArrayLike) -> list[ReliabilityBin]:
    """Bins of equal width that hold rows, lowest first; a score of 1 is in the last.

    :param scores: shape (n,), probabilities between 0 and 1. :param labels: shape (n,), 0 or 1.
    """
    s, y = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    bins = np.minimum((s * _BINS).astype(np.int64), _BINS - 1)
    rows = np.bincount(bins, minlength=_BINS)
    frauds = np.bincount(bins, weights=y, minlength=_BINS)
    sums = np.bincount(bins, weights=s, minlength=_BINS)
    found = []
    for k in np.flatnonzero(rows).tolist():
        interval = wilson(float(frauds[k]), float(rows[k]))
        assert interval is not None  # the bin holds rows
        mean, share = float(sums[k] / rows[k]), float(frauds[k] / rows[k])
        found.append(ReliabilityBin(int(rows[k]), int(frauds[k]), mean, share, interval["low"], interval["high"]))
    return found
