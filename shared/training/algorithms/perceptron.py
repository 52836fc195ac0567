"""A multi-layer perceptron as it is stored and served: arrays of layers, computed and explained by numpy."""

from typing import Final

import numpy as np
import numpy.typing as npt

from shared.training.algorithms.arrays import AllowList, Arrays
from shared.training.algorithms.base import ExplanationKind, Features
from shared.training.algorithms.linear import sigmoid
from shared.training.algorithms.scaling import BLOCK_ROWS, SCALING, Scaling
from shared.training.training_set import in_blocks

MOST_LAYERS: Final = 4  # three hidden ones and the output
LAYERS: Final[AllowList] = {
    name: spec
    for layer in range(MOST_LAYERS)
    for name, spec in ((f"weights_{layer}", ("<f4", 2)), (f"biases_{layer}", ("<f4", 1)))
}
MODEL_ARRAYS: Final[AllowList] = {**SCALING, **LAYERS, "rounds": ("<i8", 0)}
_KINDS: Final = ("weights_", "biases_")
_PERMUTATIONS: Final = 16  # each is walked forwards and backwards
_EXPLAIN_SEED: Final = 20_260_101


Parameters = list[npt.NDArray[np.float32]]  # weights of every layer, then biases of every layer


class NetworkModel:
    """A multi-layer perceptron with rectified units and one logistic output. Computes in float64."""

    def __init__(self, arrays: Arrays) -> None:
        """:raises ValueError: the layers do not fit each other."""
        self._scaling = Scaling.of(arrays)
        self.rounds = int(arrays["rounds"])
        parameters = layers_of(arrays)
        count = len(parameters) // 2
        self._weights = [layer.astype(np.float64) for layer in parameters[:count]]
        self._biases = [layer.astype(np.float64) for layer in parameters[count:]]
        width = len(self._scaling.mean)
        for weights, biases in zip(self._weights, self._biases, strict=True):
            if weights.shape != (width, len(biases)):
                raise ValueError("the layers do not fit each other")
            width = len(biases)
        if width != 1:
            raise ValueError("the last layer does not have one output")

    @property
    def explanation(self) -> ExplanationKind:
        """Estimated Shapley values against the row that has the mean of every feature."""
        return ExplanationKind(method="sampled_shapley", unit="log_odds")

    @property
    def feature_count(self) -> int:
        """How many features the first layer takes."""
        return len(self._scaling.mean)

    def predict(self, features: Features) -> npt.NDArray[np.float32]:
        """Probabilities of fraud, shape (n,); memory stays at one block of rows."""
        scores = np.empty(len(features), dtype=np.float32)
        for start, block in zip(range(0, len(features), BLOCK_ROWS), in_blocks(features, BLOCK_ROWS), strict=True):
            inputs = self._scaling.apply(block) @ self._weights[0] + self._biases[0]
            scores[start : start + len(block)] = sigmoid(self._margins(inputs))
        return scores

    def contributions(self, features: Features) -> Features:
        """Shapley values by permutation sampling (Castro et al. 2009), antithetic pairs (Mitchell et al. 2022).

        Features enter one by one, in an order drawn by lot and then in its reverse, in place of the mean; a feature's
        part is the mean change of the margin. Whatever the orders, a row's parts and the base value add up to its
        margin. The orders are fixed, so equal rows have equal parts. Shape (n, f + 1), log-odds, base value last.
        """
        standardised = self._scaling.apply(np.asarray(features))
        rows, width = standardised.shape
        parts = np.zeros((rows, width))
        base = float(self._margins(self._biases[0][None, :])[0])
        rng = np.random.default_rng(_EXPLAIN_SEED)
        for _ in range(_PERMUTATIONS):
            order = rng.permutation(width)
            for walk in (order, order[::-1]):
                inputs = np.tile(self._biases[0], (rows, 1))
                before = np.full(rows, base)
                for feature in walk:
                    inputs += standardised[:, feature, None] * self._weights[0][feature]
                    after = self._margins(inputs)
                    parts[:, feature] += after - before
                    before = after
        return np.column_stack((parts / (2 * _PERMUTATIONS), np.full(rows, base))).astype(np.float32)

    @property
    def explains_at_once(self) -> bool:
        """No: thousands of margins a row."""
        return False

    def prepare_explanations(self) -> None:
        """Nothing to prepare."""

    def _margins(self, inputs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """From what enters the first layer's units, shape (n, units), to log-odds, shape (n,)."""
        for weights, biases in zip(self._weights[1:], self._biases[1:], strict=True):
            inputs = np.maximum(inputs, 0) @ weights + biases
        return inputs[:, 0]


def named_layers(parameters: Parameters) -> Arrays:
    """By the names of the file: the first half are weights, the second half biases."""
    count = len(parameters) // 2
    return {
        **{f"weights_{layer}": values for layer, values in enumerate(parameters[:count])},
        **{f"biases_{layer}": values for layer, values in enumerate(parameters[count:])},
    }


def layers_of(arrays: Arrays, prefix: str = "") -> Parameters:
    """:raises ValueError: weights without biases, or a layer is left out."""
    found = [[name for name in LAYERS if name.startswith(kind) and prefix + name in arrays] for kind in _KINDS]
    if [name.removeprefix(_KINDS[0]) for name in found[0]] != [str(layer) for layer in range(len(found[1]))]:
        raise ValueError("the layers do not fit each other")
    return [arrays[prefix + name].copy() for names in found for name in names]
