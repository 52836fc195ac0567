"""Resamples of scored rows, fast enough for a thousand of them from millions of rows.

Ranking figures depend on the frauds and on how many genuine rows lie between two of them. So rows are gathered into
groups, one for each score that a fraud has and one for each run of genuine rows in between.

Drawing days with replacement adds up the counts of the days drawn. Drawing n of n rows is one multinomial draw over the
groups, with exactly the distribution of drawing rows one by one; there, sums over rows (Brier score, log loss) take the
mean and the variance of each group instead of its rows, which leaves the first two moments as they are.

Only beyond ``MAX_GROUPS`` are neighbouring groups merged, up to 2 n / MAX_GROUPS rows together. A pair of rows in one
group counts half, so ROC-AUC moves by at most n / (MAX_GROUPS · max(frauds, genuine)), which is below 0.00025.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from shared.training.evaluation import FPR_LIMITS, Counts, Floats, calibration_edges, checked, row_log_losses

MAX_GROUPS: Final = 8192
_CHUNK_CELLS: Final = 500_000  # numbers in an array of one chunk of resamples: 4 MB
_MAX_BLOCKS: Final = 400  # a longer test part is drawn in blocks of several days
_MICROSECONDS_PER_DAY: Final = 86_400_000_000


class Costs(NamedTuple):
    """What a wrong decision costs, in one currency."""

    missed_fraud: float
    false_alarm: float


class Resamples(NamedTuple):
    """What was drawn. ``frauds`` and ``genuine``: rows of each group, shape (resamples, groups). ``brier`` and
    ``log_loss``: sums over the rows drawn, shape (resamples,). ``gaps``: sums of score minus label in each calibration
    bin, shape (resamples, bins).
    """

    frauds: npt.NDArray[Any]
    genuine: npt.NDArray[Any]
    brier: Floats
    log_loss: Floats
    gaps: Floats


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

    def sums(self, frauds: Counts, genuine: Counts, bins: Counts, rng: np.random.Generator | None) -> Floats:
        """Sums over rows drawn, by bins of groups, shape (resamples, bins); without ``rng`` their expectation."""
        expected = np.add.reduceat(frauds * self.fraud_mean + genuine * self.genuine_mean, bins, axis=1)
        if rng is None:
            return expected
        variance = np.add.reduceat(frauds * self.fraud_variance + genuine * self.genuine_variance, bins, axis=1)
        return expected + np.sqrt(variance) * rng.standard_normal(expected.shape)


def _mean_and_variance(values: Floats, weights: Floats, starts: Counts) -> tuple[Floats, Floats]:
    count = np.maximum(np.add.reduceat(weights, starts), 1)
    mean = np.add.reduceat(values * weights, starts) / count
    square = np.add.reduceat(values**2 * weights, starts) / count
    return mean, np.maximum(square - mean**2, 0)


@dataclass(frozen=True, slots=True)
class ScoreGroups:
    """Rows in groups of falling score. Rows of one group stand in no order among each other.

    ``frauds``, ``genuine``: rows of each group, shape (groups,). ``above``: the first so many groups reach the
    threshold. ``bins``: the groups that begin a calibration bin. ``days``: the rows drawn when each day is drawn once,
    one day a resample; None where rows are drawn.
    """

    frauds: Counts
    genuine: Counts
    above: int
    bins: Counts
    brier: _Moments
    log_loss: _Moments
    gap: _Moments
    days: Resamples | None

    @classmethod
    def of(
        cls,
        scores: npt.ArrayLike,
        labels: npt.ArrayLike,
        threshold: float,
        max_groups: int = MAX_GROUPS,
        days: Counts | None = None,
    ) -> "ScoreGroups":
        """:param days: of each row, from 0 without gaps, shape (n,), where days are to be drawn."""
        s, y = checked(scores, labels)
        order = np.argsort(-s, kind="stable")
        s = s[order]
        fraud = y[order].astype(np.float64)
        cuts = np.searchsorted(-s, -calibration_edges(s[::-1]), side="right")  # the first row below each edge
        cuts = np.concatenate(([0], cuts[cuts < len(s)]))
        below = int(np.searchsorted(-s, -threshold, side="right"))
        starts = _starts(s, fraud, np.union1d(cuts, [below] if below < len(s) else []).astype(np.int64), max_groups)
        bins = np.unique(np.searchsorted(starts, cuts))
        frauds = np.add.reduceat(fraud, starts).astype(np.int64)
        rows = np.diff(starts, append=len(s))
        bin_of_row = np.repeat(np.arange(len(bins)), np.add.reduceat(rows, bins))
        losses = row_log_losses(s, 1), row_log_losses(s, 0)
        return cls(
            frauds,
            rows - frauds,
            above=int(np.searchsorted(starts, below)),
            bins=bins,
            brier=_Moments.of((1 - s) ** 2, s**2, fraud, starts),
            log_loss=_Moments.of(*losses, fraud, starts),
            gap=_Moments.of(s - 1, s, fraud, starts),
            days=None if days is None else _by_day(s, fraud, rows, bin_of_row, days[order]),
        )

    def actual(self) -> Resamples:
        """The rows themselves, each once."""
        return self.drawn(self.frauds[None], self.genuine[None], None)

    def drawn(self, frauds: Counts, genuine: Counts, rng: np.random.Generator | None) -> Resamples:
        """Resamples of which only the rows of each group are known.

        :param frauds: shape (resamples, groups), as ``genuine``.
        :param rng: for what the rows of a group differ by; None for what is to be expected.
        """
        whole = np.array([0])
        return Resamples(
            frauds,
            genuine,
            self.brier.sums(frauds, genuine, whole, rng)[:, 0],
            self.log_loss.sums(frauds, genuine, whole, rng)[:, 0],
            self.gap.sums(frauds, genuine, self.bins, rng),
        )

    def draws(self, rng: np.random.Generator, resamples: int) -> Iterator[Resamples]:
        """Resamples of as many days or rows as there are, in chunks."""
        width = len(self.frauds)
        chunk = max(_CHUNK_CELLS // width, 1)
        counts = np.concatenate((self.frauds, self.genuine))
        filled, rows = np.flatnonzero(counts), int(counts.sum())
        for done in range(0, resamples, chunk):
            size = min(chunk, resamples - done)
            if self.days is not None:
                days = len(self.days.brier)
                times = rng.multinomial(days, np.full(days, 1 / days), size=size).astype(np.float64)
                frauds, genuine, *sums = self.days
                # Counts are exact in any order. Other sums are not, and must not depend on BLAS and its threads.
                yield Resamples(
                    times @ frauds, times @ genuine, *(np.einsum("rd,d...->r...", times, part) for part in sums)
                )
                continue
            drawn = np.zeros((size, len(counts)), dtype=np.int64)
            drawn[:, filled] = rng.multinomial(rows, counts[filled] / rows, size=size)
            yield self.drawn(drawn[:, :width], drawn[:, width:], rng)

    def figures(self, drawn: Resamples, costs: Costs | None = None) -> dict[str, Floats]:
        """Every figure of every resample, shape (resamples,), NaN where undefined."""
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
        figures |= {
            "brier": drawn.brier / rows,
            "log_loss": drawn.log_loss / rows,
            "calibration_error": np.abs(drawn.gaps).sum(axis=1) / rows,
            "fraud_rate": frauds / rows,
            "flag_rate": (tp + fp) / rows,
        }
        if costs is not None:
            total = costs.missed_fraud * (frauds - tp) + costs.false_alarm * fp
            figures |= {"cost_total": total, "cost_per_transaction": total / rows}
        return figures


def day_numbers(times: Counts) -> Counts:
    """Of each row, from 0 without gaps; several days together where there are more than 400.

    :param times: shape (n,), microseconds since 1970 UTC.
    """
    days = times // _MICROSECONDS_PER_DAY
    days = days // (int(days.max() - days.min()) // _MAX_BLOCKS + 1)
    return np.unique(days, return_inverse=True)[1]


def _by_day(scores: Floats, labels: Floats, rows: Counts, bins: Counts, days: Counts) -> Resamples:
    """Each day as a resample of its own.

    :param rows: of each group, shape (groups,). :param bins: the calibration bin of each row, shape (n,).
    """
    count, width, edges = int(days.max()) + 1, len(rows), int(bins[-1]) + 1
    cells = days * width + np.repeat(np.arange(width), rows)

    def sums(values: Floats, at: Counts, size: int) -> Floats:
        return np.bincount(at, weights=values, minlength=size).astype(np.float64)

    return Resamples(
        sums(labels, cells, count * width).reshape(count, width),
        sums(1 - labels, cells, count * width).reshape(count, width),
        sums((scores - labels) ** 2, days, count),
        sums(row_log_losses(scores, labels), days, count),
        sums(scores - labels, days * edges + bins, count * edges).reshape(count, edges),
    )


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


def _ratio(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> Floats:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
