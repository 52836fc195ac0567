"""Figures with their confidence intervals, and strengths as bars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.training.report.plot import WIDTH, picture
from shared.training.report.scales import Scale
from shared.training.report.svg import element, label
from shared.training.report.text import axis_percent, number

_ROW = 26.0
_NAME = 168.0
_EDGE = 14.0
PITCH = 36.0
"""Height of a feature's row, the same for importance and beeswarm, so that the two can be read across."""
HEAD = 8.0


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure between 0 and 1, and the interval that it lies in with 95 % confidence; None where unknown."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


def interval_chart(name: str, title: str, figures: Sequence[Interval], *, top: float = 1.0) -> str:
    """A row a figure: the estimate as a dot, the interval as a line, on a scale from 0 to ``top``."""
    height = HEAD + _ROW * len(figures) + 26
    scale = Scale(0.0, top, tell=axis_percent).onto(_NAME, WIDTH - _EDGE - 6)
    bottom = height - 24
    parts = []
    for value in scale.ticks():
        x = scale.position(value)
        parts.append(element("line", class_="grid", x1=x, x2=x, y1=HEAD, y2=bottom))
        parts.append(label(x, bottom + 16, scale.tell(value), text_anchor="middle"))
    for row, figure in enumerate(figures):
        y = HEAD + _ROW * (row + 0.5)
        parts.append(label(_NAME - 10, y + 4, figure.name, limit=26, text_anchor="end"))
        if figure.low is not None and figure.high is not None:
            a, b = scale.position(figure.low), scale.position(figure.high)
            parts.append(element("line", class_="span", x1=a, x2=b, y1=y, y2=y))
        parts.append(element("circle", class_="dot a", cx=scale.position(figure.value), cy=y, r=3.0))
    told = "; ".join(
        f"{f.name} {number(f.value)}" + ("" if f.low is None else f" ({number(f.low)} to {number(f.high)})")
        for f in figures
    )
    return picture(name, title, told, height, *parts)


def importance_chart(importance: Mapping[str, float], unit: str) -> str:
    """Mean absolute SHAP values as bars, in the order given, each below its feature's name."""
    height = HEAD + PITCH * len(importance) + 40
    strongest = max(importance.values(), default=0.0)
    scale = Scale(0.0, strongest or 1.0).onto(_EDGE, WIDTH - 80)
    bottom = HEAD + PITCH * len(importance)
    parts = [element("line", class_="grid", x1=_EDGE, x2=_EDGE, y1=HEAD, y2=bottom)]
    for row, (name, strength) in enumerate(importance.items()):
        top = HEAD + PITCH * row
        end = scale.position(strength)
        parts.append(label(_EDGE, top + 10, name, limit=64))
        parts.append(element("rect", class_="bar b", x=_EDGE, y=top + 15, width=end - _EDGE, height=13.0))
        parts.append(label(end + 6, top + 26, number(strength, 3, padded=True), class_="note"))
    parts.append(label(_EDGE, bottom + 30, f"mean absolute SHAP value ({unit})", class_="axis"))
    told = "; ".join(f"{name} {number(strength, 3)}" for name, strength in importance.items())
    return picture("importance", "Global importance", told, height, *parts)
