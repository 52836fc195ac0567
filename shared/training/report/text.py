"""Words and numbers for people. Everything that goes into the report's markup passes through here.

Names of features, models and categories are chosen by users, so no text is trusted: markup is escaped, and characters
that are invisible or turn the direction of writing are spelled out.
"""

import unicodedata
from html import escape
from math import isfinite, log10
from typing import Final

NONE: Final = "–"
NO_BREAK: Final = "\N{NO-BREAK SPACE}"
# Control, format (bidirectional ones among them), surrogate, private, unassigned; line and paragraph separators.
_SPELLED_OUT: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def plain(text: object, limit: int | None = None) -> str:
    """``text`` with every character visible, cut to ``limit`` characters; not yet escaped."""
    shown = "".join(
        f"⟨U+{ord(character):04X}⟩" if unicodedata.category(character) in _SPELLED_OUT else character
        for character in str(text)
    )
    return shown if limit is None or len(shown) <= limit else shown[: limit - 1] + "…"


def escaped(text: object, limit: int | None = None) -> str:
    """``text`` for an element's content or an attribute's value."""
    return escape(plain(text, limit))


def prose(text: str) -> str:
    """A sentence of the report's own as markup, without line breaks before a per cent sign."""
    return escaped(text.replace(" %", f"{NO_BREAK}%"))


def number(value: float | None, digits: int = 4, *, padded: bool = False) -> str:
    """A figure with ``digits`` significant digits, thousands apart: ``0.9692``, ``1,234``, ``0.00021``; zeros at the
    end only when ``padded``, for columns of figures of one precision.
    """
    if value is None or not isfinite(value):
        return NONE
    if value == 0:
        return "0"
    exponent = int(f"{abs(value):.{digits - 1}e}".split("e")[1])  # of the rounded value
    if exponent >= 15 or exponent < -6:
        return f"{value:.{digits - 1}e}"
    decimals = max(digits - 1 - exponent, 0)
    shown = f"{value:,.{decimals}f}"
    return shown.rstrip("0").rstrip(".") if "." in shown and not padded else shown


def count(value: float) -> str:
    """A whole number, thousands apart."""
    return f"{value:,.0f}"


def percent(share: float | None, digits: int = 3) -> str:
    """A share as per cent: ``98.9 %``, ``0.053 %``."""
    return NONE if share is None or not isfinite(share) else f"{number(100 * share, digits, padded=True)}{NO_BREAK}%"


def axis_percent(share: float) -> str:
    """A share on an axis, as short as it can be told."""
    return f"{100 * share:.10g}{NO_BREAK}%"


def compact(value: float) -> str:
    """A number on an axis: ``1M``, ``20k``, ``0.05``."""
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size and log10(abs(value)) < 15:
            return f"{value / size:.4g}{sign}"
    return f"{value:.4g}"
