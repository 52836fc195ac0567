"""What a review team would find: every day it looks at that day's highest scores, as many as it can."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from shared.training.evaluation import Counts, Floats, checked
from shared.training.intervals import MIN_DAYS, RESAMPLES, SEED, Interval, share_interval

_MICROSECONDS_PER_DAY: Final = 86_400_000_000


@dataclass(frozen=True, slots=True)
class ReviewDays:
    """What was looked at and found on each UTC day that has transactions; arrays of shape (days,).

    What a quiet day leaves over is not lent to another. Of the rows that tie for the last place the expected number is
    found. (Card precision of Le Borgne, Siblini, Lebichot, Bontempi 2022, Reproducible Machine Learning for Credit Card
    Fraud Detection, chapter 4, counted in transactions.)
    """

    per_day: float
    reviewed: Floats
    found: Floats
    frauds: Counts

    @classmethod
    def of(cls, scores: npt.ArrayLike, labels: npt.ArrayLike, times: Counts, per_day: float) -> "ReviewDays":
        """:param times: shape (n,), microseconds since 1970 UTC."""
        s, y = checked(scores, labels)
        day = times // _MICROSECONDS_PER_DAY
        order = np.lexsort((-s, day))
        s, y, day = s[order], y[order], day[order]
        new_day = np.concatenate(([True], day[1:] != day[:-1]))
        days = np.flatnonzero(new_day)
        rank = np.arange(len(s)) - np.repeat(days, np.diff(days, append=len(s)))
        ties = np.flatnonzero(new_day | np.concatenate(([True], s[1:] != s[:-1])))
        sizes = np.diff(ties, append=len(s))
        share = np.repeat(np.add.reduceat(np.clip(per_day - rank, 0, 1), ties) / sizes, sizes)
        return cls(per_day, np.add.reduceat(share, days), np.add.reduceat(share * y, days), np.add.reduceat(y, days))

    def summary(self) -> dict[str, Any]:
        """Totals, with ``precision`` of what was reviewed and ``recall`` of all frauds (None without frauds)."""
        reviewed, found, frauds = float(self.reviewed.sum()), float(self.found.sum()), int(self.frauds.sum())
        return {
            "per_day": self.per_day,
            "days": len(self.frauds),
            "reviewed": reviewed,
            "frauds_found": found,
            "precision": found / reviewed,
            "recall": found / frauds if frauds else None,
        }

    def intervals(self, *, resamples: int = RESAMPLES, seed: int = SEED) -> dict[str, Interval | None]:
        """95 % intervals of ``precision_at_capacity`` and ``recall_at_capacity``, from resampled days; None for fewer
        than 20 days.
        """
        days = len(self.frauds)
        if days < MIN_DAYS:
            return {"precision_at_capacity": None, "recall_at_capacity": None}
        drawn = np.random.default_rng(seed).multinomial(days, np.full(days, 1 / days), size=resamples)
        reviewed, found, frauds = drawn @ self.reviewed, drawn @ self.found, drawn @ self.frauds
        recall = np.where(frauds > 0, found / np.maximum(frauds, 1), np.nan)
        total = float(self.found.sum())
        return {
            "precision_at_capacity": share_interval(found / reviewed, total, float(self.reviewed.sum())),
            "recall_at_capacity": share_interval(recall, total, float(self.frauds.sum())),
        }
