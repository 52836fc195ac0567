"""From Shapley values to reasons that a person can read."""

from collections.abc import Callable, Mapping
from math import isnan
from typing import TYPE_CHECKING

from shared.scoring.model import Explanation, Reason

if TYPE_CHECKING:
    from shared.training.algorithms.base import ExplanationKind

TOP = 5
_DIGITS = 6


def explanation(names: tuple[str, ...], contributions: list[float], kind: "ExplanationKind") -> Explanation:
    """Contributions as the model gives them (base value last), rounded to six digits.

    :param contributions: shape ``(n_features + 1,)``, in the unit of ``kind``.
    """
    rounded = [round(value, _DIGITS) for value in contributions]
    return Explanation(rounded[-1], dict(zip(names, rounded[:-1], strict=True)), kind)


Sentences = Mapping[str, Callable[[float | None], str]]


def reasons(
    found: Explanation, values: Mapping[str, float | None], sentences: Sentences, *, top: int = TOP
) -> list[Reason]:
    """The ``top`` features by absolute contribution; those that contribute nothing are left out.

    :param sentences: by feature, what a value of it, or its absence, means in words.
    """
    ranked = sorted(found.contributions.items(), key=lambda item: (-abs(item[1]), item[0]))[:top]
    chosen = [(name, contribution, _known(values.get(name))) for name, contribution in ranked if contribution != 0]
    return [Reason(name, part, value, _text(name, part, value, sentences)) for name, part, value in chosen]


def _text(name: str, contribution: float, value: float | None, sentences: Sentences) -> str:
    return f"{sentences[name](value)}; this {'raises' if contribution > 0 else 'lowers'} the risk"


def _known(value: float | None) -> float | None:
    return None if value is None or isnan(value) else value
