"""The beeswarm: every explained row as a dot, by feature, at its SHAP value, coloured by the feature's value.

The layout is that of SHAP's own plot (Lundberg and others 2020): dots that would lie on each other are stacked. To keep
thousands of dots small, positions are cells of two
units, and dots of one colour are one path.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from shared.training.report.charts.intervals import HEAD, PITCH
from shared.training.report.plot import WIDTH, picture
from shared.training.report.scales import Scale
from shared.training.report.svg import element, label

LEVELS: Final = 12
"""Steps of the colour scale, classes ``v0`` (lowest value) to ``v11``; ``vm`` is a missing value."""
_MISSING: Final = -1
_CELL = 2  # units between neighbouring dots
_REACH = 10  # units that a stack may reach up and down
_EDGE = 14.0


def beeswarm_chart(
    names: Sequence[str], values: npt.NDArray[np.float32], contributions: npt.NDArray[np.float32], unit: str
) -> str:
    """One row a feature, in the order of ``names``.

    :param values: shape (r, f), NaN where missing. :param contributions: SHAP values, the same shape.
    """
    bottom = HEAD + PITCH * len(names)
    low, high = min(float(contributions.min()), 0.0), max(float(contributions.max()), 0.0)
    room = 0.03 * (high - low) or 1.0
    scale = Scale(low - room, high + room).onto(_EDGE, WIDTH - _EDGE)
    parts = []
    for value in scale.ticks():
        x = scale.position(value)
        parts.append(element("line", class_="grid" if value else "zero", x1=x, x2=x, y1=HEAD, y2=bottom))
        parts.append(label(x, bottom + 14, scale.tell(value), text_anchor="middle"))
    for row, name in enumerate(names):
        top = HEAD + PITCH * row
        parts.append(label(_EDGE, top + 10, name, limit=64, class_="note"))
        parts.append(_swarm(scale, values[:, row], contributions[:, row], round(top + 24)))
    parts.append(label(_EDGE, bottom + 30, f"SHAP value ({unit}); right raises the risk", class_="axis"))
    parts.append(_colour_key(WIDTH - _EDGE, bottom + 20))
    description = (
        f"{len(values)} test rows for each of {len(names)} features, the most important first. "
        "Dots to the right raised the risk; their colour is the rank of the feature's value."
    )
    return picture("beeswarm", "Beeswarm of SHAP values", description, bottom + 40, *parts)


def value_levels(values: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """The colour step of each value by its rank among the present ones, equal values sharing their middle rank;
    -1 where missing. Shape (r,).
    """
    levels = np.full(len(values), _MISSING, dtype=np.int64)
    present = ~np.isnan(values)
    ordered = np.sort(values[present])
    if len(ordered):
        below = np.searchsorted(ordered, values[present], side="left")
        up_to = np.searchsorted(ordered, values[present], side="right")
        levels[present] = np.minimum((below + up_to) * LEVELS // (2 * len(ordered)), LEVELS - 1)
    return levels


def stacked(columns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How far each dot is moved up or down, in units, so that dots of one column lie beside each other: 0, 1, -1, 2, -2
    and so on in the order of the rows, times what fits. Shape (r,).

    Columns are as high as they are full, measured by one that is fuller than nine tenths of them; the few beyond it, a
    value that many rows share for instance, are pressed together instead of flattening all others.
    """
    order = np.argsort(columns, kind="stable")
    _, starts, sizes = np.unique(columns[order], return_index=True, return_counts=True)
    full = np.maximum(np.quantile(sizes, 0.9), sizes)
    place, apart = np.empty(len(columns), dtype=np.int64), np.empty(len(columns))
    place[order] = np.arange(len(columns)) - np.repeat(starts, sizes)
    apart[order] = np.repeat(np.minimum(1.0, 2 * _REACH / _CELL / full), sizes)
    steps = (place + 1) // 2 * np.where(place % 2, 1, -1)
    moved: npt.NDArray[np.int64] = _CELL * np.rint(steps * apart).astype(np.int64)
    return moved


def _swarm(scale: Scale, values: npt.NDArray[np.float32], shap: npt.NDArray[np.float32], middle: int) -> str:
    """Dots of one feature; several in one place are one dot of their mean colour."""
    columns = np.rint(scale.positions(shap) / _CELL).astype(np.int64)
    ys = middle + stacked(columns)
    levels = value_levels(values)
    places: dict[tuple[int, int], list[int]] = defaultdict(list)
    for x, y, level in zip((columns * _CELL).tolist(), ys.tolist(), levels.tolist(), strict=True):
        places[x, y].append(level)
    by_level: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for place, found in sorted(places.items()):
        present = [level for level in found if level != _MISSING]
        by_level[round(sum(present) / len(present)) if present else _MISSING].append(place)
    return "".join(
        element("path", class_="swarm vm" if level == _MISSING else f"swarm v{level}", d=_dots(dots))
        for level, dots in sorted(by_level.items())
    )


def _dots(places: list[tuple[int, int]]) -> str:
    """Lines of no length, each where the one before it was plus a step; round ends make them dots."""
    before = [(0, 0), *places[:-1]]
    return "".join(f"m{x - u} {y - v}h0" for (x, y), (u, v) in zip(places, before, strict=True))


def _colour_key(right: float, top: float) -> str:
    left = right - 30 - LEVELS * 6
    swatches = [
        element("rect", class_=f"swatch f{level}", x=left + 6 * level, y=top + 1, width=6.0, height=10.0)
        for level in range(LEVELS)
    ]
    low = label(left - 5, top + 10, "value: low", class_="note", text_anchor="end")
    high = label(right, top + 10, "high", class_="note", text_anchor="end")
    return "".join((low, *swatches, high))
