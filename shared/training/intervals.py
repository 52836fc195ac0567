"""How sure is a figure? Confidence intervals by the bootstrap.

A resample draws the days of the test part with replacement: frauds come in series (one card, one night), and rows drawn
one by one would hide that they say less than as many independent ones. Without times, or with fewer than 20 days, rows
are drawn, all alike, so that the number of frauds varies as it would in another month. The interval lies between the
2.5 % and the 97.5 % quantile of the resampled figures (Efron and Tibshirani 1993, An Introduction to the Bootstrap,
chapters 8 and 13).

Four departures from that, each because simulations hold the truth more often with it:

- ROC-AUC and average precision near 1 lie, in most test parts, above the truth, and resamples do not know it. Their
  intervals are normal ones in log-odds, moved by the bias that the resamples show (ibid., chapters 10 and 12).
- The calibration error is a mean of absolute values, which noise can only raise, so each resample lies above what it
  resamples. Its interval is the reflected ("basic") one, cut off at 0.
- A share of rows (recall, precision …) that was 5 of 5 is 5 of 5 in every resample: its interval is widened to
  Wilson's.
- With fewer than ``MIN_EVENTS`` rows of a class there is no interval but for shares.

Days count as independent. Where a series goes on for weeks (one terminal) the truth is wider.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from shared.training.evaluation import FPR_LIMITS, Counts, Floats
from shared.training.resampling import MAX_GROUPS, Costs, ScoreGroups, day_numbers

LEVEL: Final = 0.95
RESAMPLES: Final = 1000
SEED: Final = 20_240_229
MIN_EVENTS: Final = 10
MIN_DAYS: Final = 20
_Z: Final = 1.959963984540054  # the 97.5 % quantile of the standard normal distribution
_TAILS: Final = (100 * (1 - LEVEL) / 2, 100 * (1 + LEVEL) / 2)

Interval = dict[str, float]


def method(times: Counts | None = None) -> dict[str, Any]:
    """How intervals are made, for the record; ``unit`` is what resamples draw."""
    unit = "row" if _days(times) is None else "day"
    return {"name": "bootstrap", "unit": unit, "level": LEVEL, "resamples": RESAMPLES, "seed": SEED}


def _days(times: Counts | None) -> Counts | None:
    days = None if times is None else day_numbers(times)
    return days if days is not None and days.max() + 1 >= MIN_DAYS else None


def wilson(part: float, whole: float) -> Interval | None:
    """Wilson's score interval of a share (Wilson 1927; the choice of Brown, Cai, DasGupta 2001 for few rows).

    None when ``whole`` is 0.
    """
    if not whole:
        return None
    share, z2 = part / whole, _Z**2
    middle = (share + z2 / (2 * whole)) / (1 + z2 / whole)
    half = _Z / (1 + z2 / whole) * np.sqrt(share * (1 - share) / whole + z2 / (4 * whole**2))
    # At the ends the formula gives the share itself; rounding must not carry it past.
    return {"low": float(min(max(middle - half, 0.0), share)), "high": float(max(min(middle + half, 1.0), share))}


def percentile(samples: Floats) -> Interval | None:
    """The middle 95 % of resampled figures; those that were undefined (NaN) are left out. None if all were."""
    defined = samples[~np.isnan(samples)]
    if not len(defined):
        return None
    low, high = np.percentile(defined, _TAILS)
    return {"low": float(low), "high": float(high)}


def share_interval(samples: Floats, part: float, whole: float) -> Interval | None:
    """The interval of ``part / whole``: of its resamples, widened to Wilson's."""
    drawn, closed = percentile(samples), wilson(part, whole)
    if drawn is None or closed is None:
        return closed
    return {"low": min(drawn["low"], closed["low"]), "high": max(drawn["high"], closed["high"])}


def figure_intervals(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    figures: Mapping[str, Any],
    costs: Costs | None = None,
    times: Counts | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    max_groups: int = MAX_GROUPS,
) -> dict[str, Interval | None]:
    """95 % intervals by the name of the figure. Equal input gives equal intervals.

    :param scores: shape (n,), probabilities. :param labels: shape (n,), 0 or 1.
    :param figures: what :func:`shared.training.evaluation.evaluate` says of them, the threshold included.
    :param times: shape (n,), microseconds since 1970 UTC, for drawing days.
    :param costs: for ``cost_total`` and ``cost_per_transaction``, which are left out without them.
    :returns: None where a figure is undefined, or is no share and rests on fewer than ``MIN_EVENTS`` rows of a class.
    """
    groups = ScoreGroups.of(scores, labels, figures["threshold"], max_groups, _days(times))
    merged = {name: value[0] for name, value in groups.figures(groups.actual(), costs).items()}
    parts: dict[str, list[Floats]] = {name: [] for name in merged}
    rng = np.random.default_rng(seed)
    for drawn in groups.draws(rng, resamples):
        for name, values in groups.figures(drawn, costs).items():
            parts[name].append(values)
    shares = _shares(figures)
    enough = min(figures["frauds"], figures["rows"] - figures["frauds"]) >= MIN_EVENTS
    found: dict[str, Interval | None] = {}
    for name, value in merged.items():
        exact = figures.get(name, value)
        if exact is None or not (enough or name in shares):
            found[name] = None
            continue
        samples = np.concatenate(parts[name]) + (exact - value if np.isfinite(value) else 0)
        if name in shares:
            found[name] = share_interval(samples, *shares[name])
        elif name in ("auc_roc", "auc_pr"):
            found[name] = _in_log_odds(samples, exact, figures["frauds"])
        else:
            found[name] = _reflected(samples, exact) if name == "calibration_error" else percentile(samples)
    return found


def _shares(figures: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Figures that are a share of rows, as part and whole."""
    count, rows, frauds = figures["confusion"], figures["rows"], figures["frauds"]
    hits, alarms = count["true_positives"], count["false_positives"]
    shares = {
        "precision": (hits, hits + alarms),
        "recall": (hits, frauds),
        "fpr": (alarms, rows - frauds),
        "accuracy": (hits + count["true_negatives"], rows),
        "flag_rate": (hits + alarms, rows),
        "fraud_rate": (frauds, rows),
    }
    for name in (f"recall_at_fpr_{limit}" for limit in FPR_LIMITS):
        if figures[name] is not None:
            shares[name] = (figures[name] * frauds, frauds)
    return shares


def _in_log_odds(samples: Floats, value: float, frauds: int) -> Interval | None:
    """The normal interval of a figure between 0 and 1, in log-odds and corrected for bias.

    A perfect figure is perfect in every resample: then Wilson's interval of so many frauds.
    """
    inside = samples[(samples > 0) & (samples < 1)]
    if not (0 < value < 1 and len(inside)):
        return wilson(value * frauds, frauds)
    # The few resamples that are perfect count as half as far from it as the nearest that are not.
    drawn = np.clip(samples[~np.isnan(samples)], inside.min() / 2, (1 + inside.max()) / 2)
    drawn = np.log(drawn / (1 - drawn))
    middle, half = 2 * np.log(value / (1 - value)) - drawn.mean(), _Z * drawn.std()
    return {"low": float(1 / (1 + np.exp(half - middle))), "high": float(1 / (1 + np.exp(-half - middle)))}


def _reflected(samples: Floats, value: float) -> Interval | None:
    drawn = percentile(samples)
    if drawn is None:
        return None
    return {"low": max(2 * value - drawn["high"], 0.0), "high": max(2 * value - drawn["low"], 0.0)}
