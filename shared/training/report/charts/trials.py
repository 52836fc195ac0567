"""The trials of a hyperparameter search."""

from collections.abc import Sequence

from shared.training.report.plot import Plot
from shared.training.report.scales import Scale
from shared.training.report.text import number


def trials_chart(numbers: Sequence[int], scores: Sequence[float], winner: int | None, metric: str) -> str:
    """Each trial's last score by its number; the one that won is ringed.

    :param numbers: of the trials that have a score, in the order of ``scores``; higher scores are better.
    """
    low, high = min(scores), max(scores)
    room = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    plot = Plot(
        Scale(min(numbers) - 0.5, max(numbers) + 0.5, tell=lambda value: f"{value:.0f}" if value.is_integer() else ""),
        Scale(low - room, high + room),
        "trial",
        metric,
        height=240,
    )
    plot.points(numbers, scores, "b")
    told = f"{len(scores)} trials, from {number(low)} to {number(high)}."
    if winner is not None and winner in numbers:
        best = scores[numbers.index(winner)]
        plot.points([winner], [best], "chosen", 5)
        told += f" Trial {winner} won with {number(best)}."
    return plot.render("trials", f"{metric} by trial", told)
