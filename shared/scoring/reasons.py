"""From exact SHAP values to reasons that a person can read."""

from collections.abc import Mapping
from math import isnan

from shared.scoring.model import Explanation, Reason

TOP = 5
_DIGITS = 6


def explanation(names: tuple[str, ...], contributions: list[float]) -> Explanation:
    """Contributions as the model gives them (base value last), rounded to six digits.

    :param contributions: shape ``(n_features + 1,)``, log-odds.
    """
    rounded = [round(value, _DIGITS) for value in contributions]
    return Explanation(rounded[-1], dict(zip(names, rounded[:-1], strict=True)))


def reasons(
    found: Explanation, values: Mapping[str, float | None], descriptions: Mapping[str, str], *, top: int = TOP
) -> list[Reason]:
    """The ``top`` features by absolute contribution; those that contribute nothing are left out."""
    ranked = sorted(found.contributions.items(), key=lambda item: (-abs(item[1]), item[0]))[:top]
    return [
        Reason(name, contribution, _known(values.get(name)), _text(name, contribution, values.get(name), descriptions))
        for name, contribution in ranked
        if contribution != 0
    ]


def _text(name: str, contribution: float, value: float | None, descriptions: Mapping[str, str]) -> str:
    known = _known(value)
    shown = "is missing" if known is None else f"= {known:.6g}"
    direction = "raises" if contribution > 0 else "lowers"
    return f"{descriptions.get(name, name).rstrip('.')} ({name} {shown}) {direction} the risk"


def _known(value: float | None) -> float | None:
    return None if value is None or isnan(value) else value
