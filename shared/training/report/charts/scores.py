"""Charts of the scores themselves: how they are distributed, and whether they are probabilities."""

from collections.abc import Sequence
from math import ceil, log10
from typing import Final

import numpy as np
import numpy.typing as npt

from shared.training.report.plot import Plot
from shared.training.report.reliability import ReliabilityBin
from shared.training.report.scales import Scale, rates
from shared.training.report.text import count, number, percent

_BARS: Final = 50


def score_distribution_chart(scores: npt.ArrayLike, labels: npt.ArrayLike | None, threshold: float) -> str:
    """Rows by score and class in 50 equal steps, on a logarithmic scale, since frauds are few.

    :param labels: shape (n,), 0 or 1; None where there are none, then all rows are one class.
    """
    s = np.asarray(scores, dtype=np.float64)
    y = None if labels is None else np.asarray(labels)
    parts = [("b", "transactions", s)] if y is None else [("b", "genuine", s[y == 0]), ("a", "fraud", s[y == 1])]
    counts = {text: np.histogram(part, _BARS, (0.0, 1.0))[0] for _, text, part in parts}
    most = max(int(rows.max()) for rows in counts.values())
    plot = Plot(
        Scale(0.0, 1.0, tell=lambda value: number(value, 2)),
        Scale(0.8, 10.0 ** max(ceil(log10(most)), 1), logarithmic=True),
        "score",
        "rows (logarithmic)",
        entries=[(css, text) for css, text, _ in parts],
    )
    edges = np.repeat(np.linspace(0.0, 1.0, _BARS + 1), 2)[1:-1]
    for css, text, _ in parts:
        heights = np.repeat(np.maximum(counts[text], 1e-9), 2)  # an empty step lies on the axis
        plot.area(edges, heights, css)
        plot.line(edges, heights, css)
    plot.upright(threshold, f"threshold {number(threshold, 3)}")
    told = [f"{count(int((part >= threshold).sum()))} of {count(len(part))} {text} rows" for _, text, part in parts]
    return plot.render(
        "score-distribution", "Distribution of the scores", f"At or above the threshold: {'; '.join(told)}."
    )


def reliability_chart(bins: Sequence[ReliabilityBin], before: Sequence[ReliabilityBin] | None = None) -> str:
    """Observed fraud rate against mean score; ``before`` are the bins of the scores before calibration."""
    entries = [("a", "calibrated"), ("b", "before calibration")] if before else []
    plot = Plot(rates(), rates(), "mean score", "share that is fraud", entries=entries)
    plot.diagonal()
    if before:
        plot.line([b.mean_score for b in before], [b.fraud_rate for b in before], "b")
        plot.points([b.mean_score for b in before], [b.fraud_rate for b in before], "b")
    across = [b.mean_score for b in bins]
    plot.whiskers(across, [b.low for b in bins], [b.high for b in bins], "a")
    plot.line(across, [b.fraud_rate for b in bins], "a")
    plot.points(across, [b.fraud_rate for b in bins], "a")
    told = "; ".join(f"score {percent(b.mean_score)}, fraud {percent(b.fraud_rate)} of {count(b.rows)}" for b in bins)
    return plot.render("reliability", "Reliability of the scores", told)
