"""What a model's figures rest on: the scored rows of the test part, and explanations of a sample of them.

Computed once; the importance, the registry's figures and the report all read the same arrays.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from shared.training.algorithms.base import ExplanationKind, Features, FittedModel
from shared.training.training_set import TrainingSet

_EXPLAINED_ROWS: Final = 2_000


@dataclass(frozen=True, eq=False)
class Explanation:
    """A sample of test rows, explained.

    ``values``: the features, shape (r, f), NaN where missing. ``contributions``: SHAP values of the same rows, shape
    (r, f + 1), the base value last; ``kind`` says how they were computed and what a row's sum is.
    """

    values: Features
    contributions: Features
    kind: ExplanationKind = field(default_factory=ExplanationKind)

    def importance(self, names: Sequence[str]) -> dict[str, float]:
        """Mean absolute SHAP value by feature, in the unit of the contributions, largest first."""
        strength = np.abs(self.contributions[:, :-1]).mean(axis=0)
        order = np.argsort(-strength, kind="stable")
        return {names[i]: round(float(strength[i]), 6) for i in order}


@dataclass(frozen=True, eq=False)
class Evidence:
    """The test part, scored.

    ``scores``: shape (n,), as the model gives them in use. ``labels``: shape (n,), 0 or 1, or None where the data has
    none. ``uncalibrated``: the scores before calibration, shape (n,), or None where there is none. ``days``: the time
    that the rows span, None without known times.
    """

    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int8] | None
    explanation: Explanation
    days: float | None = None
    uncalibrated: npt.NDArray[np.float32] | None = None


def explain(model: FittedModel, data: TrainingSet) -> Explanation:
    """Explain up to 2,000 test rows, evenly spaced in time."""
    test = data.features(data.split.test)
    rows = np.unique(np.linspace(0, len(test) - 1, min(_EXPLAINED_ROWS, len(test))).astype(np.int64))
    values = np.asarray(test[rows])
    return Explanation(values, np.asarray(model.contributions(values), dtype=np.float32), model.explanation)
