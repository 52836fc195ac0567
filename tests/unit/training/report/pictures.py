"""Reading back what was drawn."""

import re
from xml.etree import ElementTree

import numpy as np

from shared.training.report.svg import Floats

SVG = "{http://www.w3.org/2000/svg}"
_NUMBER = re.compile(r"-?\d+\.?\d*")


def parsed(markup: str) -> ElementTree.Element:
    """The picture as XML; fails on markup that is not well-formed."""
    return ElementTree.fromstring(markup)


def of_class(picture: ElementTree.Element, tag: str, css: str) -> list[ElementTree.Element]:
    """Elements of a tag and CSS class, in the order drawn."""
    return [found for found in picture.iter(SVG + tag) if found.get("class") == css]


def path_points(element: ElementTree.Element) -> Floats:
    """Corners of a path of lines, shape (m, 2)."""
    return np.array(_NUMBER.findall(element.get("d", "")), dtype=np.float64).reshape(-1, 2)


def dots(picture: ElementTree.Element, css: str) -> Floats:
    """Centres of circles of a CSS class, shape (m, 2)."""
    return np.array(
        [(float(dot.get("cx", "")), float(dot.get("cy", ""))) for dot in of_class(picture, "circle", f"dot {css}")]
    )


def read_off(picture: ElementTree.Element, points: Floats) -> Floats:
    """Values of positions, shape (m, 2), by the labelled ticks of two linear axes, as a reader would find them."""
    columns = [("middle", "x", points[:, 0]), ("end", "y", points[:, 1])]
    return np.column_stack([_by_ticks(picture, anchor, axis, at) for anchor, axis, at in columns])


def _by_ticks(picture: ElementTree.Element, anchor: str, axis: str, positions: Floats) -> Floats:
    ticks = []
    for text in picture.iter(SVG + "text"):
        said = "".join(text.itertext())
        if text.get("text-anchor") == anchor and text.get("class") is None and _NUMBER.match(said):
            value = float(said.split("\N{NO-BREAK SPACE}")[0]) / (100 if "%" in said else 1)
            ticks.append(
                (float(text.get(axis, "")) - (4 if axis == "y" else 0), value)
            )  # a label's baseline is 4 below
    (first, low), (last, high) = ticks[0], ticks[-1]
    return low + (positions - first) / (last - first) * (high - low)
