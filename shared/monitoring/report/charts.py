"""Charts of drift: shares side by side, figures over time."""

from datetime import datetime
from typing import Final

from shared.monitoring.level import Level
from shared.monitoring.model import DriftLine, DriftSeries
from shared.monitoring.report.subject import Bars
from shared.training.report.plot import WIDTH, Plot, legend, picture
from shared.training.report.scales import Scale, rounded_up
from shared.training.report.svg import element, label
from shared.training.report.text import number, percent

_ROW: Final = 30.0
_LEFT: Final = 132.0
_RIGHT: Final = 62.0
_LONGEST: Final = 19  # characters of a bar's name


def bars_chart(name: str, bars: Bars) -> str:
    """Two bars a group: the reference's share above, the window's below with its value."""
    most = max(*bars.reference, *bars.current)
    width = (WIDTH - _LEFT - _RIGHT) / most
    parts = [legend([("b", "reference"), ("a", "window")], _LEFT, 6)]
    for row, (text, r, c) in enumerate(zip(bars.labels, bars.reference, bars.current, strict=True)):
        y = 28 + row * _ROW
        parts.append(label(_LEFT - 8, y + 15, text, limit=_LONGEST, text_anchor="end"))
        parts.append(element("rect", class_="bar b", x=_LEFT, y=y, width=r * width, height=10.0))
        parts.append(element("rect", class_="bar a", x=_LEFT, y=y + 11, width=c * width, height=10.0))
        parts.append(label(_LEFT + max(r, c) * width + 6, y + 15, percent(c, 2), class_="note"))
    told = "; ".join(
        f"{text}: {percent(r, 2)}, now {percent(c, 2)}"
        for text, r, c in zip(bars.labels, bars.reference, bars.current, strict=True)
    )
    return picture(name, "Shares in the reference and in the window", told, 34 + len(bars.labels) * _ROW, *parts)


def line_chart(name: str, series: DriftSeries, line: DriftLine) -> str | None:
    """A figure over time with the limit that it was held against; windows that drifted are dots. None where fewer than
    two windows have it."""
    known = [
        (end, value, status, threshold)
        for end, value, status, threshold in zip(
            series.window_ends, line.values, line.statuses, line.thresholds, strict=True
        )
        if value is not None
    ]
    if len(known) < 2:
        return None
    days = [_days(end, series.window_ends[0]) for end, _, _, _ in known]
    limits = [threshold for _, _, _, threshold in known if threshold is not None]
    top = rounded_up(max(*(value for _, value, _, _ in known), *(limits or [0.0])))
    plot = Plot(
        Scale(days[0], days[-1]), Scale(0.0, top), f"days since {series.window_ends[0]:%Y-%m-%d}", series.metric
    )
    plot.line(days, [value for _, value, _, _ in known], "b")
    drifted = [
        (day, value) for day, (_, value, status, _) in zip(days, known, strict=True) if status not in (None, Level.OK)
    ]
    plot.points([day for day, _ in drifted], [value for _, value in drifted], "a")
    if limits:
        plot.level(min(limits), f"limit {number(min(limits), 2)}")
    told = f"{len(known)} windows, the last {number(known[-1][1], 3)}; {len(drifted)} drifted."
    return plot.render(name, f"{series.metric} over time", told)


def _days(end: datetime, first: datetime) -> float:
    return (end - first).total_seconds() / 86_400
