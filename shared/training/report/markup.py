"""The parts that a page is made of. Text is escaped here; only what is named ``markup`` is taken as it is."""

from collections.abc import Collection, Sequence
from typing import Final

from shared.training.report.text import escaped, prose

_LONGEST: Final = 240  # characters of a cell
_STRONG: Final = ' class="strong"'


def section(anchor: str, title: str, *markup: str) -> str:
    """A part of the page under a heading of its own."""
    body = "".join(markup)
    return (
        f'<section id="{anchor}" aria-labelledby="{anchor}-h"><h2 id="{anchor}-h">{escaped(title)}</h2>{body}</section>'
    )


def grid(*markup: str) -> str:
    """Figures side by side where there is room."""
    return f'<div class="grid">{"".join(markup)}</div>'


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{prose(text)}</p>"


def figure(title: str, chart_markup: str, reading: str) -> str:
    """A chart with the words that say how to read it."""
    return f"<figure><h3>{escaped(title)}</h3>{chart_markup}<figcaption>{prose(reading)}</figcaption></figure>"


def omitted(title: str, why: str) -> str:
    """In place of a figure that this model cannot have."""
    return f'<figure class="omitted"><h3>{escaped(title)}</h3><figcaption>{escaped(why)}</figcaption></figure>'


def table(
    caption: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    strong: int | None = None,
    words: Collection[int] = (0,),
) -> str:
    """A table that scrolls by itself where it is too wide.

    :param rows: cells in the order of ``head``; the first of each row names it.
    :param strong: the row to point out. :param words: the columns that hold words; the others hold numbers.
    """
    columns = "".join(f'<th scope="col"{_align(i, words)}>{escaped(text)}</th>' for i, text in enumerate(head))
    lines = "".join(
        f'<tr{_STRONG if number == strong else ""}><th scope="row">{escaped(row[0], _LONGEST)}</th>'
        + "".join(f"<td{_align(i, words)}>{escaped(text, _LONGEST)}</td>" for i, text in enumerate(row[1:], 1))
        + "</tr>"
        for number, row in enumerate(rows)
    )
    return (
        f'<div class="table" role="region" tabindex="0" aria-label="{escaped(caption)}"><table>'
        f"<caption>{escaped(caption)}</caption><thead><tr>{columns}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def tiles(entries: Sequence[tuple[str, str, str]]) -> str:
    """Figures to see first: name, value, and what is said below."""
    cells = "".join(
        f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}<small>{escaped(note)}</small></dd></div>"
        for name, value, note in entries
    )
    return f'<dl class="tiles">{cells}</dl>'


def _align(column: int, words: Collection[int]) -> str:
    return "" if column in words else ' class="n"'
