"""SVG elements as text. A number that is not finite never gets into one."""

from math import isfinite

import numpy as np
import numpy.typing as npt

from shared.training.report.text import escaped

Floats = npt.NDArray[np.float64]


def coordinate(value: float) -> str:
    """A length in user units, to a tenth. :raises ValueError: it is not finite."""
    if not isfinite(value):
        raise ValueError(f"{value} cannot be drawn")
    shown = f"{value:.1f}".removesuffix(".0")
    return "0" if shown == "-0" else shown


def element(tag: str, *content: str, **attributes: str | float) -> str:
    """An element; ``content`` is markup. Attribute names are written with ``-`` for ``_``, ``class_`` as ``class``."""
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escaped(value) if isinstance(value, str) else coordinate(value)}"'
        for name, value in attributes.items()
    )
    return f"<{tag}{written}>{''.join(content)}</{tag}>" if content else f"<{tag}{written}/>"


def label(x: float, y: float, text: object, *, limit: int | None = None, **attributes: str | float) -> str:
    """A line of text with its baseline at ``y``."""
    return element("text", escaped(text, limit), x=x, y=y, **attributes)


def polyline(points: Floats) -> str:
    """The ``d`` of a path through ``points``, shape (m, 2). :raises ValueError: a coordinate is not finite."""
    return "M" + "L".join(f"{coordinate(float(x))},{coordinate(float(y))}" for x, y in points)


def thinned(points: Floats, cell: float = 0.5) -> Floats:
    """Fewer points for the same line, shape (m, 2) to (k, 2).

    Of points that follow each other within one square of side ``cell`` only the first is kept, and the last of all. So
    no point of the line that is left out is further than ``cell`` in x or in y from one that is drawn.
    """
    squares = np.floor(points / cell).astype(np.int64)
    kept = np.append(True, (squares[1:] != squares[:-1]).any(axis=1))
    kept[-1] = True
    few: Floats = points[kept]
    return few
