"""Resamples of scored rows, fast enough for a thousand of them from millions of rows.

Ranking figures depend on the frauds and on how many genuine rows lie between two of them. So rows are gathered into
groups, one for each score that a fraud has and one for each run of genuine rows in between. Drawing n of n rows with
replacement is then one multinomial draw over the groups, with exactly the same distribution. Sums over rows (Brier
score, log loss) take the mean and the variance of each group instead of its rows, which leaves the first two moments
as they are.

Only beyond ``MAX_GROUPS`` are neighbouring groups merged, up to 2 n / MAX_GROUPS rows together. A pair of rows in one
group counts half, so ROC-AUC moves by at most n / (MAX_GROUPS · max(frauds, genuine)), which is below 0.00025.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from shared.training.evaluation import FPR_LIMITS, Counts, Floats, calibration_edges, checked, row_log_losses

MAX_GROUPS: Final = 8192
_CHUNK_CELLS: Final = 500_000  # numbers in an array of one chunk of resamples: 4 MB


class Costs(NamedTuple):
    """What a wrong decision costs, in one currency."""

    missed_fraud: float
    false_alarm: float


class Weights(NamedTuple):
    """How often the frauds and the genuine rows of each group were drawn, shape (resamples, groups) each."""

    frauds: Counts
    genuine: Counts


class _Moments(NamedTuple):
    """Mean and variance of a value over the frauds and over the genuine rows of each group, shape (groups,) each."""

    fraud_mean: Floats
    fraud_variance: Floats
    genuine_mean: Floats
    genuine_variance: Floats

    @classmethod
    def of(cls, of_fraud: Floats, of_genuine: Floats, labels: Floats, starts: Counts) -> "_Moments":
        """:param of_fraud: the value that each row has if it is fraud, shape (n,); likewise ``of_genuine``."""
        return cls(*_mean_and_variance(of_fraud, labels, starts), *_mean_and_variance(of_genuine, 1 - labels, starts))

    def sums(self, drawn: Weights) -> tuple[Floats, Floats]:
        """Expectation and variance of the drawn rows' sum by group, shape (resamples, groups) each."""
        expected = drawn.frauds * self.fraud_mean + drawn.genuine * self.genuine_mean
        return expected, drawn.frauds * self.fraud_variance + drawn.genuine * self.genuine_variance


def _mean_and_variance(values: Floats, weights: Floats, starts: Counts) -> tuple[Floats, Floats]:
    count = np.maximum(np.add.reduceat(weights, starts), 1)
    mean = np.add.reduceat(values * weights, starts) / count
    square = np.add.reduceat(values**2 * weights, starts) / count
    return mean, np.maximum(square - mean**2, 0)


@dataclass(frozen=True, slots=True)
class ScoreGroups:
    """Rows in groups of falling score. Rows of one group stand in no order among each other.

    ``above``: the first so many groups reach the threshold. ``bins``: the groups that begin a calibration bin.
    """

    actual: Weights
    above: int
    bins: Counts
    brier: _Moments
    log_loss: _Moments
    gap: _Moments

    @classmethod
    def of(cls, scores: npt.ArrayLike, labels: npt.ArrayLike, threshold: float, max_groups: int) -> "ScoreGroups":
        s, y = checked(scores, labels)
        order = np.argsort(-s, kind="stable")
        s = s[order]
        fraud = y[order].astype(np.float64)
        cuts = np.searchsorted(-s, -calibration_edges(s[::-1]), side="right")  # the first row below each edge
        forced = np.unique(np.concatenate(([0], cuts, [np.searchsorted(-s, -threshold, side="right")])))
        forced = forced[forced < len(s)]
        starts = _starts(s, fraud, forced, max_groups)
        frauds = np.add.reduceat(fraud, starts)
        rows = np.diff(starts, append=len(s))
        actual = Weights(frauds[None].astype(np.int64), (rows - frauds)[None].astype(np.int64))
        return cls(
            actual,
            above=int(np.searchsorted(starts, np.searchsorted(-s, -threshold, side="right"))),
            bins=np.unique(np.searchsorted(starts, np.concatenate(([0], cuts[cuts < len(s)])))),
            brier=_Moments.of((1 - s) ** 2, s**2, fraud, starts),
            log_loss=_Moments.of(row_log_losses(s, 1), row_log_losses(s, 0), fraud, starts),
            gap=_Moments.of(s - 1, s, fraud, starts),
        )

    def draws(self, rng: np.random.Generator, resamples: int) -> Iterator[Weights]:
        """Resamples of as many rows as there are, in chunks."""
        counts = np.concatenate(self.actual, axis=1)[0]
        filled = np.flatnonzero(counts)
        rows = int(counts.sum())
        width = len(counts) // 2
        chunk = max(_CHUNK_CELLS // width, 1)
        for done in range(0, resamples, chunk):
            size = min(chunk, resamples - done)
            drawn = np.zeros((size, len(counts)), dtype=np.int64)
            drawn[:, filled] = rng.multinomial(rows, counts[filled] / rows, size=size)
            yield Weights(drawn[:, :width], drawn[:, width:])

    def figures(self, drawn: Weights, costs: Costs | None, rng: np.random.Generator | None) -> dict[str, Floats]:
        """Every figure of every resample, shape (resamples,), NaN where undefined.

        :param rng: for what the rows of a group differ by; None for the figures of the rows themselves.
        """
        hits, alarms = np.cumsum(drawn.frauds, axis=1), np.cumsum(drawn.genuine, axis=1)
        frauds, genuine = hits[:, -1], alarms[:, -1]
        rows = frauds + genuine
        none = np.zeros(len(rows), dtype=np.int64)
        tp, fp = (hits[:, self.above - 1], alarms[:, self.above - 1]) if self.above else (none, none)
        pairs = np.einsum("rg,rg->r", drawn.genuine, hits - drawn.frauds / 2)
        precision = hits / np.maximum(hits + alarms, 1)
        figures = {
            "precision": _ratio(tp, tp + fp),
            "recall": _ratio(tp, frauds),
            "f1_score": _ratio(2 * tp, tp + fp + frauds),
            "fpr": _ratio(fp, genuine),
            "accuracy": _ratio(tp + genuine - fp, rows),
            "auc_roc": _ratio(pairs, frauds * genuine),
            "auc_pr": _ratio(np.einsum("rg,rg->r", drawn.frauds, precision), frauds),
        }
        for name, limit in FPR_LIMITS.items():
            allowed = np.sum(alarms / np.maximum(genuine, 1)[:, None] <= limit, axis=1)
            reached = np.where(allowed > 0, np.take_along_axis(hits, np.maximum(allowed - 1, 0)[:, None], 1)[:, 0], 0)
            figures[f"recall_at_fpr_{name}"] = np.where(genuine > 0, _ratio(reached, frauds), np.nan)
        for name, moments in (("brier", self.brier), ("log_loss", self.log_loss)):
            expected, variance = moments.sums(drawn)
            figures[name] = _noisy(expected.sum(axis=1), variance.sum(axis=1), rng) / rows
        gaps, variance = (np.add.reduceat(part, self.bins, axis=1) for part in self.gap.sums(drawn))
        figures["calibration_error"] = np.abs(_noisy(gaps, variance, rng)).sum(axis=1) / rows
        figures |= {"fraud_rate": frauds / rows, "flag_rate": (tp + fp) / rows}
        if costs is not None:
            total = costs.missed_fraud * (frauds - tp) + costs.false_alarm * fp
            figures |= {"cost_total": total, "cost_per_transaction": total / rows}
        return figures


def _starts(scores: Floats, labels: Floats, forced: Counts, max_groups: int) -> Counts:
    """Where groups begin: at each score that a fraud has, after it, and at ``forced``; merged if they are too many."""
    distinct = np.flatnonzero(np.concatenate(([True], scores[1:] != scores[:-1])))
    fraud = np.add.reduceat(labels, distinct) > 0
    begins = fraud | np.concatenate(([True], fraud[:-1]))
    starts = np.union1d(distinct[begins], forced)
    if len(starts) <= max_groups:
        return starts
    cell = starts * (max_groups // 2) // len(scores)
    new = cell[1:] != cell[:-1]
    # The first and the last start of each cell: a long run of equals stays a group of its own.
    return np.union1d(starts[np.concatenate(([True], new)) | np.concatenate((new, [True]))], forced)


def _ratio(part: npt.ArrayLike, whole: npt.NDArray[np.int64]) -> Floats:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def _noisy(expected: Floats, variance: Floats, rng: np.random.Generator | None) -> Floats:
    return expected if rng is None else expected + np.sqrt(variance) * rng.standard_normal(expected.shape)
