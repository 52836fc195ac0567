"""The frame that the charts share: axes, grid, legend, and marks at the right places."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from shared.training.report.scales import Scale
from shared.training.report.svg import element, label, polyline, thinned
from shared.training.report.text import escaped

WIDTH: Final = 460.0
_RIGHT, _TOP, _BOTTOM = 26.0, 26.0, 44.0
_LEGEND = 20.0
_CHARACTER = 6.4  # width of one, about, in the charts' 12 px


def picture(name: str, title: str, description: str, height: float, *content: str) -> str:
    """An SVG image with the words that stand in for it; ``name`` is its id in the page, ``content`` markup."""
    return element(
        "svg",
        element("title", escaped(title), id=f"{name}-title"),
        element("desc", escaped(description), id=f"{name}-desc"),
        *content,
        xmlns="http://www.w3.org/2000/svg",
        class_="chart",
        id=name,
        viewBox=f"0 0 {WIDTH:.0f} {height:.0f}",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )


def legend(entries: list[tuple[str, str]], left: float, top: float) -> str:
    """Swatches with words in one line: pairs of CSS class and text."""
    parts, x = [], left
    for css, text in entries:
        parts.append(element("rect", class_=f"swatch {css}", x=x, y=top, width=12.0, height=10.0))
        parts.append(label(x + 17, top + 9, text, class_="note"))
        x += 17 + _CHARACTER * len(text) + 14
    return "".join(parts)


@dataclass
class Plot:
    """A plot under construction: scales in, marks drawn with them, SVG out.

    ``x`` and ``y`` are placed by the plot. The marks' arrays have shape (m,), in units of the data.
    """

    x: Scale
    y: Scale
    x_title: str
    y_title: str
    height: float = 300.0
    left: float = 54.0
    entries: list[tuple[str, str]] = field(default_factory=list)
    _marks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.top = _TOP + (_LEGEND if self.entries else 0)
        self.bottom = self.height - _BOTTOM
        self.right = WIDTH - _RIGHT
        self.x = self.x.onto(self.left, self.right)
        self.y = self.y.onto(self.bottom, self.top)

    def line(self, xs: npt.ArrayLike, ys: npt.ArrayLike, css: str) -> None:
        """A line through points, thinned to half a unit."""
        points = np.column_stack((self.x.positions(xs), self.y.positions(ys)))
        self._marks.append(element("path", class_=f"line {css}", d=polyline(thinned(points))))

    def area(self, xs: npt.ArrayLike, ys: npt.ArrayLike, css: str) -> None:
        """The surface under a line down to the axis."""
        points = thinned(np.column_stack((self.x.positions(xs), self.y.positions(ys))))
        closed = np.vstack(([points[0, 0], self.bottom], points, [points[-1, 0], self.bottom]))
        self._marks.append(element("path", class_=f"area {css}", d=polyline(closed) + "Z"))

    def band(self, xs: npt.ArrayLike, low: npt.ArrayLike, high: npt.ArrayLike, css: str) -> None:
        """The surface between two lines over the same ``xs``."""
        across = self.x.positions(xs)
        there = np.column_stack((across, self.y.positions(high)))
        back = np.column_stack((across, self.y.positions(low)))[::-1]
        self._marks.append(element("path", class_=f"band {css}", d=polyline(np.vstack((there, back))) + "Z"))

    def points(self, xs: npt.ArrayLike, ys: npt.ArrayLike, css: str, radius: float = 3.5) -> None:
        """Dots."""
        for x, y in zip(self.x.positions(xs), self.y.positions(ys), strict=True):
            self._marks.append(element("circle", class_=f"dot {css}", cx=float(x), cy=float(y), r=radius))

    def whiskers(self, xs: npt.ArrayLike, low: npt.ArrayLike, high: npt.ArrayLike, css: str) -> None:
        """Vertical intervals."""
        for x, a, b in zip(self.x.positions(xs), self.y.positions(low), self.y.positions(high), strict=True):
            self._marks.append(
                element("line", class_=f"whisker {css}", x1=float(x), x2=float(x), y1=float(a), y2=float(b))
            )

    def upright(self, value: float, text: str, css: str = "mark", *, low: bool = False) -> None:
        """A vertical line at ``value``, with a word at its top, or before its foot if ``low``."""
        x = self.x.position(value)
        near_right = x > (self.left + self.right) / 2
        self._marks.append(element("line", class_=css, x1=x, x2=x, y1=self.top, y2=self.bottom))
        before = low or near_right
        y = self.bottom - 6 if low else self.top + 11
        self._marks.append(label(x + (-5 if before else 5), y, text, text_anchor="end" if before else "start"))

    def diagonal(self, css: str = "chance") -> None:
        """From the lower left corner to the upper right one."""
        ends = np.array([[self.left, self.bottom], [self.right, self.top]])
        self._marks.append(element("path", class_=css, d=polyline(ends)))

    def level(self, value: float, text: str, css: str = "chance") -> None:
        """A horizontal line at ``value``, with a word above its end."""
        y = self.y.position(value)
        self._marks.append(element("line", class_=css, x1=self.left, x2=self.right, y1=y, y2=y))
        self._marks.append(label(self.right, y - 5, text, class_="note", text_anchor="end"))

    def render(self, name: str, title: str, description: str) -> str:
        """The finished picture."""
        return picture(name, title, description, self.height, self._frame(), *self._marks)

    def _frame(self) -> str:
        parts = [legend(self.entries, self.left, 6)] if self.entries else []
        for value in self.y.ticks():
            y = self.y.position(value)
            parts.append(element("line", class_="grid", x1=self.left, x2=self.right, y1=y, y2=y))
            parts.append(label(self.left - 7, y + 4, self.y.tell(value), text_anchor="end"))
        for value in self.x.ticks():
            x = self.x.position(value)
            parts.append(element("line", class_="grid", x1=x, x2=x, y1=self.top, y2=self.bottom))
            parts.append(label(x, self.bottom + 17, self.x.tell(value), text_anchor="middle"))
        middle = (self.left + self.right) / 2
        parts.append(label(middle, self.height - 8, self.x_title, class_="axis", text_anchor="middle"))
        parts.append(label(4, self.top - 13, self.y_title, class_="axis"))
        return "".join(parts)
