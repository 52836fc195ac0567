"""Recursive elimination: drop the weakest features round by round while a model of the rest stays as good.

Guyon et al., Gene selection for cancer classification using support vector machines, Machine Learning 46 (2002), with
mean absolute SHAP values of boosted trees for the ranking, and later rows for the score.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.features.config import RecursiveElimination
from shared.features.importance import fraud_scores, mean_absolute_shap, small_model
from shared.platform.errors import invalid_field

#: The rest of the rows, later ones, judge.
_FITTING_SHARE: Final = 0.75
# SHAP values cost far more than scores, and their means settle early.
_EXPLAINED_ROWS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Round:
    """A model of so many features, and its average precision on the later rows."""

    features: int
    average_precision: float


@dataclass(frozen=True, slots=True)
class Elimination:
    """The rounds, from all features to the fewest, and what is left: ``kept`` in the order given."""

    rounds: tuple[Round, ...]
    kept: tuple[str, ...]
    fitting_rows: int
    judging_rows: int

    @property
    def chosen(self) -> Round:
        """The round whose features are kept."""
        return next(entry for entry in self.rounds if entry.features == len(self.kept))

    def report(self) -> dict[str, Any]:
        """What ``selection_report.recursive_elimination`` holds."""
        return {
            "rounds": [asdict(entry) for entry in self.rounds],
            "kept": len(self.kept),
            "average_precision": self.chosen.average_precision,
            "fitting_rows": self.fitting_rows,
            "judging_rows": self.judging_rows,
            "how": "mean absolute SHAP value; average precision on the later quarter of the sample",
        }


def eliminate(
    ordered: Sequence[str],
    columns: Mapping[str, NDArray[np.float32]],
    labels: NDArray[np.int8],
    config: RecursiveElimination,
    seed: int,
) -> Elimination:
    """Find the smallest set of features that is within the tolerance of the best.

    :param ordered: names of the candidates, at least one, best first; of equally weak ones the last goes first.
    :param columns: values of sampled training rows in order of time, shape (n,).
    :param labels: 0 or 1 of the same rows.
    :raises InvalidContent: the earlier or the later rows lack a class.
    """
    fitting = int(len(labels) * _FITTING_SHARE)
    if any(len(np.unique(part)) < 2 for part in (labels[:fitting], labels[fitting:])):
        raise invalid_field(
            "config.selection.recursive_elimination",
            "needs fraudulent and genuine rows in the earlier three quarters of the sample and in the later quarter",
        )
    left = list(ordered)
    sets: list[tuple[Round, list[str]]] = []
    while True:
        precision, strength = _judged(left, columns, labels, fitting, seed)
        sets.append((Round(len(left), round(precision, 6)), left))
        if len(left) <= config.min_features:
            break
        keep = max(config.min_features, len(left) - max(1, math.floor(config.step * len(left))))
        strongest = np.sort(np.argsort(-strength, kind="stable")[:keep])
        left = [left[position] for position in strongest]
    rounds = tuple(entry for entry, _ in sets)
    enough = max(entry.average_precision for entry in rounds) - config.tolerance
    kept = min((names for entry, names in sets if entry.average_precision >= enough), key=len)
    return Elimination(rounds, tuple(kept), fitting, len(labels) - fitting)


def _judged(
    names: Sequence[str],
    columns: Mapping[str, NDArray[np.float32]],
    labels: NDArray[np.int8],
    fitting: int,
    seed: int,
) -> tuple[float, NDArray[np.float64]]:
    """Average precision on the later rows, and how strong each feature is on the earlier ones."""
    from sklearn.metrics import average_precision_score

    values = np.column_stack([columns[name] for name in names])
    model = small_model(values[:fitting], labels[:fitting], seed)
    precision = float(average_precision_score(labels[fitting:], fraud_scores(model, values[fitting:])))
    return precision, mean_absolute_shap(model, values[: fitting : math.ceil(fitting / _EXPLAINED_ROWS)])
