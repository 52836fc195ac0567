"""Logistic regression with an L2 penalty, by Newton's method: one step a round, the data read block by block."""

from collections.abc import Hashable, Mapping
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from shared.training.algorithms.arrays import AllowList, Arrays, pack, require, require_finite, unpack
from shared.training.algorithms.base import ExplanationKind, Features, Hyperparameters, LabelledHyperparameters
from shared.training.algorithms.figures import labelled_figures
from shared.training.algorithms.imbalance import FitSample, fit_sample
from shared.training.algorithms.scaling import BLOCK_ROWS, SCALING, Scaling, one_blas_thread
from shared.training.progress import RoundFigures, TrainingProgress
from shared.training.training_set import TrainingSet, in_blocks

_ALLOWED: Final[AllowList] = {**SCALING, "coefficients": ("<f8", 1), "intercept": ("<f8", 0), "rounds": ("<i8", 0)}
_CHECKPOINT: Final[AllowList] = {"weights": ("<f8", 1), "rounds": ("<i8", 0)}
_HALVINGS: Final = 10
_NEGLIGIBLE: Final = 1e-13

Floats = npt.NDArray[np.float64]


class LogisticRegressionHyperparameters(LabelledHyperparameters):
    """Defaults for standardised features."""

    C: float = Field(1.0, gt=0, le=1e6, description="Inverse of the L2 penalty: lower is more cautious")
    max_iter: int = Field(50, ge=1, le=1000, description="Most Newton steps; about ten are needed")


class _Prepared(NamedTuple):
    sample: FitSample
    scaling: Scaling


class _Point(NamedTuple):
    """The loss and its derivatives at ``weights``, shape (f + 1,), the intercept last."""

    weights: Floats
    loss: float
    gradient: Floats
    hessian: Floats


class LogisticRegression:
    """The algorithm ``logistic_regression``. Its optimum is that of scikit-learn's estimator of the same name."""

    name: ClassVar[str] = "logistic_regression"
    title: ClassVar[str] = "Logistic regression"
    description: ClassVar[str] = (
        "One weight a feature: the yardstick that others must beat. Seconds at a million rows, exact SHAP values."
    )
    needs_labels: ClassVar[bool] = True
    model_file: ClassVar[str] = "model.npz"
    hyperparameters: ClassVar[type[Hyperparameters]] = LogisticRegressionHyperparameters
    search_space: ClassVar[Mapping[str, Any]] = {
        "C": {"low": 1e-4, "high": 100, "log": True},
        "scale_pos_weight": ["none", "sqrt", "balanced"],
    }
    requires: str | None = None

    def warnings(self, data: TrainingSet, hyperparameters: LogisticRegressionHyperparameters) -> list[str]:
        """None: every row is learned from."""
        return []

    def total_rounds(self, hyperparameters: LogisticRegressionHyperparameters) -> int:
        """``max_iter``."""
        return hyperparameters.max_iter

    def patience(self, hyperparameters: LogisticRegressionHyperparameters) -> int:
        """A step that improves nothing was the last: the optimum is reached."""
        return 1

    def matrix_key(self, hyperparameters: LogisticRegressionHyperparameters, threads: int) -> Hashable:
        """The rows drawn and their weight."""
        return self.name, *hyperparameters.model_dump(include=set(LabelledHyperparameters.model_fields)).items()

    def prepare(self, data: TrainingSet, hyperparameters: LogisticRegressionHyperparameters, threads: int) -> _Prepared:
        """Which rows, and their means and deviations."""
        sample = fit_sample(data, hyperparameters)
        return _Prepared(sample, Scaling.fitted(sample.blocks(data, BLOCK_ROWS)))

    def start(
        self,
        data: TrainingSet,
        prepared: _Prepared,
        hyperparameters: LogisticRegressionHyperparameters,
        threads: int,
        checkpoint: bytes | None,
    ) -> "_Newton":
        """At the base rate, or at the weights of the checkpoint."""
        return _Newton(data, prepared, hyperparameters, checkpoint)

    def finish(
        self,
        data: TrainingSet,
        hyperparameters: LogisticRegressionHyperparameters,
        progress: TrainingProgress,
        checkpoint: bytes,
    ) -> bytes:
        """Weights, means and deviations."""
        prepared, state = self.prepare(data, hyperparameters, progress.threads), unpack(checkpoint, _CHECKPOINT)
        return pack(_model_arrays(prepared, state["weights"], int(state["rounds"])), _ALLOWED)

    def load(self, model: bytes) -> "LinearModel":
        """Read the arrays. :raises ValueError: they are not those of a linear model."""
        arrays = unpack(model, _ALLOWED)
        require(arrays, *_ALLOWED)
        require_finite(arrays)
        return LinearModel(arrays)


class LinearModel:
    """Log-odds as a weighted sum of standardised features."""

    def __init__(self, arrays: Arrays) -> None:
        """:raises ValueError: there are not as many coefficients as features."""
        self._scaling = Scaling.of(arrays)
        self._coefficients: Floats = arrays["coefficients"]
        self._intercept = float(arrays["intercept"])
        self.rounds = int(arrays["rounds"])
        if self._coefficients.shape != self._scaling.mean.shape:
            raise ValueError("coefficients and features do not fit")

    @property
    def explanation(self) -> ExplanationKind:
        """Exact Shapley values against the row that has the mean of every feature."""
        return ExplanationKind(method="linear_shap", unit="log_odds")

    @property
    def feature_count(self) -> int:
        """How many features there are coefficients for."""
        return len(self._coefficients)

    def predict(self, features: Features) -> npt.NDArray[np.float32]:
        """Probabilities of fraud, shape (n,); memory stays at one block of rows."""
        scores = np.empty(len(features), dtype=np.float32)
        for start, block in zip(range(0, len(features), BLOCK_ROWS), in_blocks(features, BLOCK_ROWS), strict=True):
            margins = self._scaling.apply(block) @ self._coefficients + self._intercept
            scores[start : start + len(block)] = sigmoid(margins)
        return scores

    def contributions(self, features: Features) -> Features:
        """Coefficient times standardised value, shape (n, f + 1); the base value is the intercept."""
        parts = self._scaling.apply(np.asarray(features)) * self._coefficients
        return np.column_stack((parts, np.full(len(parts), self._intercept))).astype(np.float32)

    @property
    def explains_at_once(self) -> bool:
        """One multiplication a row."""
        return True

    def prepare_explanations(self) -> None:
        """Nothing to prepare."""


class _Newton:
    """A run in memory: minimises the weighted log loss plus ``|coefficients|² / 2C``."""

    def __init__(
        self,
        data: TrainingSet,
        prepared: _Prepared,
        hyperparameters: LogisticRegressionHyperparameters,
        checkpoint: bytes | None,
    ) -> None:
        self._data = data
        self._sample, self._scaling = prepared
        width = len(data.table.feature_names)
        self._penalty = np.append(np.full(width, 1 / hyperparameters.C), 0.0)
        self._weights = np.append(np.zeros(width), self._sample.log_odds)
        self._here: _Point | None = None
        self.rounds = 0
        if checkpoint is not None:
            state = unpack(checkpoint, _CHECKPOINT)
            self._weights, self.rounds = state["weights"], int(state["rounds"])

    @one_blas_thread()
    def advance(self) -> RoundFigures:
        """One Newton step, halved until it improves."""
        here = self._here or self._at(self._weights)
        step = np.linalg.solve(here.hessian, here.gradient)
        promised = float(step @ here.gradient) / 2  # what the step gains if the loss is as it seems, a parabola
        for halving in range(_HALVINGS if promised > _NEGLIGIBLE * here.loss else 0):
            there = self._at(here.weights - step / 2**halving)
            if there.loss < here.loss:
                here = there
                break
        self._here, self._weights = here, here.weights
        self.rounds += 1
        model = LinearModel(self._arrays())
        figures = labelled_figures(
            model.predict(self._data.features(self._data.split.validation)),
            self._data.labels(self._data.split.validation),
        )
        # Improvement means the loss that is minimised; rounded, so that at the optimum the last bits do not count.
        return figures._replace(score=-round(here.loss / len(self._sample.labels), 10))

    def checkpoint(self) -> bytes:
        """Weights, the intercept last."""
        return pack({"weights": self._weights, "rounds": np.array(self.rounds)}, _CHECKPOINT)

    def _arrays(self) -> Arrays:
        return _model_arrays(_Prepared(self._sample, self._scaling), self._weights, self.rounds)

    def _at(self, weights: Floats) -> _Point:
        """Loss, gradient and Hessian, summed over blocks of rows."""
        loss = float(self._penalty @ weights**2) / 2
        gradient, hessian = self._penalty * weights, np.diag(self._penalty)
        start = 0
        for block in self._sample.blocks(self._data, BLOCK_ROWS):
            part = slice(start, start + len(block))
            rows = np.column_stack((self._scaling.apply(block), np.ones(len(block))))
            labels, weight = self._sample.labels[part], self._sample.weights[part].astype(np.float64)
            margins = rows @ weights
            scores = sigmoid(margins)
            loss += float(weight @ (np.logaddexp(0, margins) - labels * margins))
            gradient += rows.T @ (weight * (scores - labels))
            hessian += rows.T @ (rows * (weight * scores * (1 - scores))[:, None])
            start = part.stop
        return _Point(weights, loss, gradient, hessian)


def sigmoid(margins: Floats) -> Floats:
    """1 / (1 + e^-m), without overflow."""
    half: Floats = 1 / (1 + np.exp(-np.clip(margins, -700, 700)))
    return half


def _model_arrays(prepared: _Prepared, weights: Floats, rounds: int) -> Arrays:
    """The model's arrays; weight and undersampling are taken out of the intercept."""
    return {
        **prepared.scaling._asdict(),
        "coefficients": weights[:-1],
        "intercept": weights[-1] + np.log(prepared.sample.odds_factor),
        "rounds": np.array(rounds),
    }
