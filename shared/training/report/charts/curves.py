"""Curves over all thresholds, and over the rounds of training."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from shared.training.evaluation import FPR_LIMITS, ScoreCurve
from shared.training.report.plot import Plot
from shared.training.report.scales import Scale, rates, rounded_up
from shared.training.report.text import axis_percent, compact, number, percent

_LEAST_FPR: Final = 1e-5  # where the logarithmic axis begins at the lowest


def roc_chart(curve: ScoreCurve, fpr: float, recall: float) -> str:
    """Recall against false positive rate; the chosen threshold is at ``fpr``, ``recall``."""
    plot = Plot(rates(), rates(), "false positive rate", "recall")
    plot.diagonal()
    xs = np.concatenate(([0.0], curve.false_positive_rate))
    ys = np.concatenate(([0.0], curve.recall))
    plot.area(xs, ys, "a")
    plot.line(xs, ys, "a")
    plot.points([fpr], [recall], "chosen", 5)
    area = number(curve.auc_roc())
    return plot.render("roc", f"ROC curve, area {area}", f"At the threshold: {_at(recall, fpr)}.")


def early_roc_chart(curve: ScoreCurve, fpr: float, recall: float) -> str:
    """The same on a logarithmic false positive rate, from the smallest that these rows can show."""
    least = max(10.0 ** np.floor(np.log10(1 / curve.negatives)), _LEAST_FPR)
    low = float(min(least, 0.1))
    plot = Plot(rates(low=low), rates(), "false positive rate (logarithmic)", "recall")
    rates_of = np.concatenate(([0.0], curve.false_positive_rate))
    recalls = np.concatenate(([0.0], curve.recall))
    drawn = max(int(np.searchsorted(rates_of, low, side="right")) - 1, 0)  # the last point left of the axis
    plot.line(rates_of[drawn:], recalls[drawn:], "a")
    told = []
    for limit in FPR_LIMITS.values():
        reached = curve.recall_at_fpr(limit)
        if reached is not None and limit > low:
            plot.upright(limit, percent(reached), "guide", low=True)
            plot.points([limit], [reached], "a")
            told.append(f"{percent(reached)} at {axis_percent(limit)}")
    if fpr >= low:
        plot.points([fpr], [recall], "chosen", 5)
    description = f"Recall by false positive rate: {', '.join(told)}. At the threshold: {_at(recall, fpr)}."
    return plot.render("early-roc", "ROC curve, few false alarms", description)


def precision_recall_chart(curve: ScoreCurve, recall: float, precision: float) -> str:
    """Precision against recall as steps, which is how average precision counts."""
    plot = Plot(rates(), rates(), "recall", "precision")
    before = np.concatenate(([0.0], curve.recall[:-1]))
    xs = np.column_stack((before, curve.recall)).ravel()
    ys = np.repeat(curve.precision, 2)
    plot.area(xs, ys, "a")
    plot.line(xs, ys, "a")
    base = curve.positives / (curve.positives + curve.negatives)
    plot.level(base, f"flagging everything: {percent(base)}")
    plot.points([recall], [precision], "chosen", 5)
    title = f"Precision and recall, average precision {number(curve.auc_pr())}"
    return plot.render("precision-recall", title, f"At the threshold: {_at(recall, None, precision)}.")


def training_chart(
    name: str, figure: str, curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], best_round: int
) -> str:
    """One figure by round.

    :param curves: rounds and values, of one length, by the part they were measured on; the first is drawn strongest.
    :param best_round: counted from 1; 0 to mark none.
    """
    everything = np.concatenate([np.asarray(values, dtype=np.float64) for _, values in curves.values()])
    last = max(max(rounds) for rounds, _ in curves.values())
    low, high = float(everything.min()), float(everything.max())
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    entries = [(css, part) for css, part in zip(("a", "b"), curves, strict=False)]
    plot = Plot(
        Scale(min(1.0, last - 1.0), float(last), tell=compact),
        Scale(low - room, high + room, tell=compact),
        "round",
        figure,
        height=260,
        entries=entries,
    )
    for (css, _), (rounds, values) in zip(entries, curves.values(), strict=True):
        plot.line(rounds, values, css)
    if best_round:
        falls = np.asarray(next(iter(curves.values()))[1])[-1] < (low + high) / 2
        plot.upright(best_round, f"best round, {best_round}", low=not falls)  # where the curve is not
    ends = ", ".join(f"{part} {number(values[-1])}" for part, (_, values) in curves.items())
    best = f" The best round is {best_round}." if best_round else ""
    return plot.render(name, f"{figure} by round", f"After {last:.0f} rounds: {ends}.{best}")


def monthly_chart(name: str, title: str, months: Sequence[str], figures: Mapping[str, Sequence[float | None]]) -> str:
    """Shares by month; a month whose figure is unknown has no dot.

    :param figures: values between 0 and 1 by name, one a month.
    """
    entries = [(css, figure) for css, figure in zip(("a", "b", "c"), figures, strict=False)]
    known = [value for values in figures.values() for value in values if value is not None]
    top = rounded_up(max(known, default=1.0))
    plot = Plot(
        Scale(-0.5, len(months) - 0.5, tell=lambda value: months[int(value)] if value.is_integer() else ""),
        Scale(0.0, top, tell=axis_percent),
        "month",
        "",
        height=240,
        entries=entries,
    )
    for (css, _), values in zip(entries, figures.values(), strict=True):
        xs = [i for i, value in enumerate(values) if value is not None]
        ys = [value for value in values if value is not None]
        if ys:
            plot.line(xs, ys, css)
            plot.points(xs, ys, css)
    told = "; ".join(f"{figure}: {', '.join(percent(v) for v in values)}" for figure, values in figures.items())
    return plot.render(name, title, told)


def _at(recall: float, fpr: float | None = None, precision: float | None = None) -> str:
    parts = [f"recall {percent(recall)}"]
    if fpr is not None:
        parts.append(f"false positive rate {percent(fpr)}")
    if precision is not None:
        parts.append(f"precision {percent(precision)}")
    return ", ".join(parts)
