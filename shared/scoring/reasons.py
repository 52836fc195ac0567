"""From Shapley values to reasons that a person can read and a program can rely on."""

from collections.abc import Iterable, Mapping
from math import isnan
from typing import TYPE_CHECKING, Final

from shared.features.kinds import FeatureKind
from shared.scoring.model import Direction, Explanation, Reason
from shared.scoring.reason_codes import code_of

if TYPE_CHECKING:
    from shared.training.algorithms.base import ExplanationKind

TOP: Final = 5
_DIGITS = 6


def explanation(names: tuple[str, ...], contributions: list[float], kind: "ExplanationKind") -> Explanation:
    """Contributions as the model gives them (base value last), rounded to six digits.

    :param contributions: shape ``(n_features + 1,)``, in the unit of ``kind``.
    """
    rounded = [round(value, _DIGITS) for value in contributions]
    return Explanation(rounded[-1], dict(zip(names, rounded[:-1], strict=True)), kind)


class Meanings:
    """What features mean: in words, and by the codes of the catalogue."""

    def __init__(self, features: Iterable[FeatureKind], amount_column: str | None) -> None:
        self._features = {feature.name: feature for feature in features}
        self._codes = {
            name: {present: code_of(feature, amount_column, present=present) for present in (True, False)}
            for name, feature in self._features.items()
        }

    def reason(self, name: str, contribution: float, value: float | None) -> Reason:
        """Why a feature with this value, or without one, moved the score."""
        direction: Direction = "raises" if contribution > 0 else "lowers"
        return Reason(
            code=self._codes[name][value is not None],
            feature=name,
            contribution=contribution,
            value=value,
            direction=direction,
            text=f"{self._features[name].tell(value)}; this {direction} the risk",
        )


def reasons(
    found: Explanation, values: Mapping[str, float | None], meanings: Meanings, *, top: int = TOP
) -> list[Reason]:
    """The ``top`` features by absolute contribution; those that contribute nothing are left out."""
    ranked = sorted(found.contributions.items(), key=lambda item: (-abs(item[1]), item[0]))[:top]
    return [meanings.reason(name, part, _known(values.get(name))) for name, part in ranked if part != 0]


def _known(value: float | None) -> float | None:
    return None if value is None or isnan(value) else value
