"""A small neural network: scikit-learn's MLP trains it an epoch a round, numpy serves it.

What an epoch depends on is in the checkpoint: weights, the moments of Adam, and the epoch's number, which gives the
seed of its shuffling. The best epoch's weights are kept beside the last ones.
"""

from collections.abc import Hashable, Mapping
from typing import Annotated, Any, ClassVar, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from shared.training.algorithms.arrays import AllowList, Arrays, pack, require, require_finite, unpack
from shared.training.algorithms.base import Hyperparameters, LabelledHyperparameters
from shared.training.algorithms.figures import labelled_figures
from shared.training.algorithms.imbalance import FitSample, fit_sample, round_seed, rows_left_out
from shared.training.algorithms.perceptron import (
    LAYERS,
    MODEL_ARRAYS,
    MOST_LAYERS,
    NetworkModel,
    Parameters,
    layers_of,
    named_layers,
)
from shared.training.algorithms.scaling import BLOCK_ROWS, SCALING, Scaling, one_blas_thread
from shared.training.model import UntrainableData
from shared.training.progress import RoundFigures, TrainingProgress
from shared.training.training_set import TrainingSet

_CHECKPOINT: Final[AllowList] = {
    "epoch": ("<i8", 0),
    "best_epoch": ("<i8", 0),
    "best_score": ("<f8", 0),
    "steps": ("<i8", 0),
    **{f"{kind}_{name}": spec for kind in ("last", "best", "mean", "variance") for name, spec in LAYERS.items()},
}


class NeuralNetworkHyperparameters(LabelledHyperparameters):
    """Defaults for standardised features and rare fraud."""

    hidden_layer_sizes: list[Annotated[int, Field(ge=1, le=512)]] = Field(
        [64, 32], min_length=1, max_length=MOST_LAYERS - 1, description="Units of each hidden layer"
    )
    alpha: float = Field(1e-3, ge=0, le=100, description="L2 penalty on the weights")
    learning_rate_init: float = Field(1e-3, gt=0, le=1, description="Step size of Adam")
    batch_size: int = Field(512, ge=16, le=65_536, description="Rows of a gradient step")
    max_iter: int = Field(60, ge=1, le=1000, description="Most epochs; early stopping usually ends sooner")
    early_stopping_rounds: int | None = Field(
        8, ge=1, description="Stop after so many epochs without improvement on the validation part; null for never"
    )
    max_rows: int = Field(
        500_000, ge=1000, le=5_000_000, description="Most rows to learn from: frauds first, genuine ones by lot"
    )


class _Prepared(NamedTuple):
    features: npt.NDArray[np.float32]
    sample: FitSample
    scaling: Scaling


class NeuralNetwork:
    """The algorithm ``neural_network``."""

    name: ClassVar[str] = "neural_network"
    title: ClassVar[str] = "Neural network (scikit-learn)"
    description: ClassVar[str] = (
        "A multi-layer perceptron on standardised features; explained by sampled Shapley values, not exact ones."
    )
    needs_labels: ClassVar[bool] = True
    model_file: ClassVar[str] = "model.npz"
    hyperparameters: ClassVar[type[Hyperparameters]] = NeuralNetworkHyperparameters
    search_space: ClassVar[Mapping[str, Any]] = {
        "hidden_layer_sizes": [[32], [64, 32], [128, 64], [64, 64, 32]],
        "alpha": {"low": 1e-5, "high": 0.1, "log": True},
        "learning_rate_init": {"low": 3e-4, "high": 5e-3, "log": True},
        "batch_size": [256, 512, 2048],
    }
    requires: str | None = None

    def warnings(self, data: TrainingSet, hyperparameters: NeuralNetworkHyperparameters) -> list[str]:
        """Rows beyond ``max_rows``."""
        return rows_left_out(data, hyperparameters.max_rows)

    def total_rounds(self, hyperparameters: NeuralNetworkHyperparameters) -> int:
        """``max_iter``."""
        return hyperparameters.max_iter

    def patience(self, hyperparameters: NeuralNetworkHyperparameters) -> int | None:
        """``early_stopping_rounds``."""
        return hyperparameters.early_stopping_rounds

    def matrix_key(self, hyperparameters: NeuralNetworkHyperparameters, threads: int) -> Hashable:
        """The rows drawn and their weight."""
        return self.name, *hyperparameters.model_dump(
            include={*LabelledHyperparameters.model_fields, "max_rows"}
        ).items()

    def prepare(self, data: TrainingSet, hyperparameters: NeuralNetworkHyperparameters, threads: int) -> _Prepared:
        """The rows drawn, standardised: four bytes a value."""
        sample, scaling = _sampled(data, hyperparameters)
        features = np.empty((len(sample.labels), len(scaling.mean)), dtype=np.float32)
        start = 0
        for block in sample.blocks(data, BLOCK_ROWS):
            features[start : start + len(block)] = scaling.apply(block)
            start += len(block)
        return _Prepared(features, sample, scaling)

    def start(
        self,
        data: TrainingSet,
        prepared: _Prepared,
        hyperparameters: NeuralNetworkHyperparameters,
        threads: int,
        checkpoint: bytes | None,
    ) -> "_Epochs":
        """Random weights, or those of the checkpoint."""
        return _Epochs(data, prepared, hyperparameters, checkpoint)

    def finish(
        self,
        data: TrainingSet,
        hyperparameters: NeuralNetworkHyperparameters,
        progress: TrainingProgress,
        checkpoint: bytes,
    ) -> bytes:
        """The best epoch's weights; weight and undersampling are taken out of the last bias."""
        sample, scaling = _sampled(data, hyperparameters)
        state = unpack(checkpoint, _CHECKPOINT)
        kind, rounds = ("last_", progress.rounds) if progress.patience is None else ("best_", progress.best_round)
        return pack(_model_arrays(layers_of(state, kind), scaling, sample, rounds), MODEL_ARRAYS)

    def load(self, model: bytes) -> "NetworkModel":
        """Read the arrays. :raises ValueError: they are not those of a network."""
        arrays = unpack(model, MODEL_ARRAYS)
        require(arrays, *SCALING, "rounds", "weights_0", "biases_0")
        require_finite(arrays)
        return NetworkModel(arrays)


class _Epochs:
    """A run in memory."""

    def __init__(
        self,
        data: TrainingSet,
        prepared: _Prepared,
        hyperparameters: NeuralNetworkHyperparameters,
        checkpoint: bytes | None,
    ) -> None:
        self._data = data
        self._prepared = prepared
        self._hyperparameters = hyperparameters
        self._network = self._untrained()
        self.rounds = self._best_round = 0
        self._best_score = -1.0
        self._best: Parameters = _copied(self._parameters)
        if checkpoint is not None:
            self._restore(unpack(checkpoint, _CHECKPOINT))

    @one_blas_thread()
    def advance(self) -> RoundFigures:
        """One epoch."""
        prepared, validation = self._prepared, self._data.split.validation
        self._network.set_params(random_state=round_seed(self._hyperparameters.seed, self.rounds + 1))
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                self._network.partial_fit(
                    prepared.features, prepared.sample.labels, sample_weight=prepared.sample.weights
                )
                arrays = _model_arrays(self._parameters, prepared.scaling, prepared.sample, self.rounds)
                scores = NetworkModel(arrays).predict(self._data.features(validation))
            figures = labelled_figures(scores, self._data.labels(validation))
        except ValueError as error:  # weights or scores that are not finite
            raise UntrainableData(
                "the weights grew without bound; lower learning_rate_init", target="hyperparameters.learning_rate_init"
            ) from error
        self.rounds += 1
        if figures.score is not None and figures.score > self._best_score:
            self._best_score, self._best_round, self._best = figures.score, self.rounds, _copied(self._parameters)
        return figures

    def checkpoint(self) -> bytes:
        """Last and best weights, and the state of Adam."""
        optimiser = self._network._optimizer
        arrays: Arrays = {
            "epoch": np.array(self.rounds),
            "best_epoch": np.array(self._best_round),
            "best_score": np.array(self._best_score),
            "steps": np.array(optimiser.t),
        }
        held = {"last": self._parameters, "best": self._best, "mean": optimiser.ms, "variance": optimiser.vs}
        for kind, parameters in held.items():
            arrays |= {f"{kind}_{name}": values for name, values in named_layers(parameters).items()}
        return pack(arrays, _CHECKPOINT)

    @property
    def _parameters(self) -> Parameters:
        return [*self._network.coefs_, *self._network.intercepts_]

    def _untrained(self) -> Any:
        """A network with initial weights and an optimiser in its first state.

        scikit-learn makes both when it sees the first rows. A step of size 0 on a few of them leaves the weights as
        they are, and the moments are set back.
        """
        from sklearn.neural_network import MLPClassifier

        given, prepared = self._hyperparameters, self._prepared
        network = MLPClassifier(
            hidden_layer_sizes=tuple(given.hidden_layer_sizes),
            alpha=given.alpha,
            batch_size=2,
            learning_rate_init=np.finfo(np.float64).tiny,
            random_state=round_seed(given.seed, 0),
        )
        network.partial_fit(
            prepared.features[:2], prepared.sample.labels[:2], classes=[0, 1], sample_weight=prepared.sample.weights[:2]
        )
        network.set_params(batch_size=min(given.batch_size, len(prepared.features)))
        optimiser = network._optimizer
        optimiser.learning_rate_init, optimiser.t = given.learning_rate_init, 0
        for moments in (*optimiser.ms, *optimiser.vs):
            moments[...] = 0
        return network

    def _restore(self, state: Arrays) -> None:
        self.rounds, self._best_round = int(state["epoch"]), int(state["best_epoch"])
        self._best_score, self._best = float(state["best_score"]), layers_of(state, "best_")
        optimiser = self._network._optimizer
        optimiser.t = int(state["steps"])
        optimiser.ms, optimiser.vs = layers_of(state, "mean_"), layers_of(state, "variance_")
        for present, stored in zip(self._parameters, layers_of(state, "last_"), strict=True):
            present[...] = stored


def _sampled(data: TrainingSet, hyperparameters: NeuralNetworkHyperparameters) -> tuple[FitSample, Scaling]:
    sample = fit_sample(data, hyperparameters, hyperparameters.max_rows)
    return sample, Scaling.fitted(sample.blocks(data, BLOCK_ROWS))


def _model_arrays(parameters: Parameters, scaling: Scaling, sample: FitSample, rounds: int) -> Arrays:
    """The model's arrays; weight and undersampling are taken out of the last bias."""
    arrays: Arrays = {**scaling._asdict(), **named_layers(parameters), "rounds": np.array(rounds)}
    last = f"biases_{len(parameters) // 2 - 1}"
    arrays[last] = arrays[last] + np.float32(np.log(sample.odds_factor))
    return arrays


def _copied(parameters: Parameters) -> Parameters:
    return [values.copy() for values in parameters]
