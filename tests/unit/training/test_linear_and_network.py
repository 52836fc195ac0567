"""Logistic regression and the neural network against scikit-learn and against exact Shapley values."""

from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression as SklearnLogisticRegression

from shared.training.algorithms import algorithm
from shared.training.algorithms.arrays import pack, unpack
from shared.training.algorithms.linear import _ALLOWED as LINEAR
from shared.training.algorithms.linear import LinearModel, sigmoid
from shared.training.algorithms.network import _CHECKPOINT as NETWORK_CHECKPOINT
from shared.training.algorithms.perceptron import MODEL_ARRAYS as NETWORK
from shared.training.algorithms.perceptron import NetworkModel
from shared.training.algorithms.scaling import Scaling
from shared.training.model import UntrainableData
from shared.training.training_set import TrainingSet, in_blocks
from tests.unit.training.runs import fitted, run


def test_scaling_has_the_moments_of_the_known_values(data: TrainingSet) -> None:
    """Merged over blocks, means and deviations are those of all rows; a constant has scale 1."""
    rows = np.array(data.features(data.split.fit))
    rows[:, 2] = 1e6
    scaling = Scaling.fitted(in_blocks(rows, 137))
    expected = rows.astype(np.float64)
    np.testing.assert_allclose(scaling.mean, np.nanmean(expected, axis=0), rtol=1e-12)
    np.testing.assert_allclose(scaling.scale[[0, 1, 3]], np.nanstd(expected, axis=0)[[0, 1, 3]], rtol=1e-10)
    assert scaling.scale[2] == 1
    extreme = scaling.apply(np.array([[np.nan, 1e30, 1e6, -1e30]], dtype=np.float32))
    np.testing.assert_array_equal(extreme, [[0, 10, 0, -10]])


@pytest.mark.parametrize("given", [{}, {"C": 0.01}, {"scale_pos_weight": "balanced"}, {"C": 100.0, "undersampling": 3}])
def test_the_optimum_is_that_of_scikit_learn(data: TrainingSet, given: dict[str, Any]) -> None:
    """Newton's method and lbfgs minimise the same function, with the same weights on the same rows."""
    entry = algorithm("logistic_regression")
    settings = entry.hyperparameters.model_validate(given)
    sample, scaling = entry.prepare(data, settings, 1)
    reference = SklearnLogisticRegression(C=settings.C, tol=1e-10, max_iter=10_000)  # type: ignore[attr-defined]
    reference.fit(scaling.apply(sample.features(data)), sample.labels, sample_weight=sample.weights)
    content, progress = run(data, "logistic_regression", **given)
    arrays = unpack(content, LINEAR)
    np.testing.assert_allclose(arrays["coefficients"], reference.coef_[0], rtol=1e-4, atol=1e-5)
    intercept = float(reference.intercept_[0]) + np.log(sample.odds_factor)
    assert float(arrays["intercept"]) == pytest.approx(intercept, abs=1e-4)
    assert progress.rounds < 20


def test_separable_data_converge_as_well(data: TrainingSet) -> None:
    """The penalty keeps coefficients finite where a feature tells the classes apart."""
    table = data.table
    table = type(table)(np.array(table.features), table.labels, table.times, table.feature_names)
    table.features[:, 0] = table.labels
    model = fitted(TrainingSet(table, data.split), "logistic_regression", C=1e6)
    scores = model.predict(table.features)
    assert scores[table.labels == 1].min() > 0.9 > 0.1 > scores[table.labels == 0].max()


def test_linear_contributions_are_coefficients_times_deviations() -> None:
    """For a linear model that is the Shapley value against the mean row; a missing value has no part."""
    arrays = {
        "mean": np.array([1.0, 10.0]),
        "scale": np.array([2.0, 5.0]),
        "coefficients": np.array([0.5, -1.0]),
        "intercept": np.array(-3.0),
        "rounds": np.array(1),
    }
    model = LinearModel(arrays)
    rows = np.array([[3.0, np.nan], [1.0, 20.0]], dtype=np.float32)
    np.testing.assert_allclose(model.contributions(rows), [[0.5, 0, -3], [0, -2, -3]], atol=1e-7)
    np.testing.assert_allclose(model.predict(rows), sigmoid(np.array([-2.5, -5.0])), rtol=1e-6)
    assert model.explanation.method == "linear_shap"


def _network(width: int = 4, seed: int = 0) -> NetworkModel:
    rng = np.random.default_rng(seed)
    return NetworkModel(
        {
            "mean": np.zeros(width),
            "scale": np.ones(width),
            "weights_0": rng.normal(size=(width, 6)).astype(np.float32),
            "biases_0": rng.normal(size=6).astype(np.float32),
            "weights_1": rng.normal(size=(6, 1)).astype(np.float32),
            "biases_1": rng.normal(size=1).astype(np.float32),
            "rounds": np.array(3),
        }
    )


def _exact_shapley(model: NetworkModel, row: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """By definition: the mean over all orders of what a feature changes when it enters in place of the mean."""

    def margin(known: list[int]) -> float:
        given = np.zeros((1, len(row)), dtype=np.float32)
        given[0, known] = row[known]
        score = float(model.predict(given)[0])
        return float(np.log(score / (1 - score)))

    parts = np.zeros(len(row))
    orders = list(permutations(range(len(row))))
    for order in orders:
        for place, feature in enumerate(order):
            parts[feature] += margin(list(order[: place + 1])) - margin(list(order[:place]))
    return parts / len(orders)


def test_sampled_shapley_values_are_near_the_exact_ones_and_exactly_additive() -> None:
    """Sixteen antithetic pairs come close; the sum is the margin whatever was drawn."""
    model = _network()
    rows = np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)
    sampled = model.contributions(rows)
    for row, parts in zip(rows, sampled, strict=True):
        exact = _exact_shapley(model, row)
        assert np.abs(parts[:-1] - exact).max() < 0.12 * np.abs(exact).max() + 0.02
    np.testing.assert_allclose(sigmoid(sampled.sum(axis=1).astype(np.float64)), model.predict(rows), atol=1e-6)
    np.testing.assert_array_equal(sampled, model.contributions(rows))


def test_the_forward_pass_is_that_of_scikit_learn(data: TrainingSet) -> None:
    """What numpy serves is what the network that was trained would say."""
    entry = algorithm("neural_network")
    settings = entry.hyperparameters.model_validate({"hidden_layer_sizes": [8, 4], "scale_pos_weight": "none"})
    trainer: Any = entry.start(data, entry.prepare(data, settings, 1), settings, 1, None)
    trainer.advance()
    arrays = unpack(trainer.checkpoint(), NETWORK_CHECKPOINT)
    scaling = trainer._prepared.scaling
    model = NetworkModel(
        {
            **scaling._asdict(),
            "rounds": np.array(1),
            **{name.removeprefix("last_"): values for name, values in arrays.items() if name.startswith("last_")},
        }
    )
    rows = np.asarray(data.features(data.split.test))
    expected = trainer._network.predict_proba(scaling.apply(rows).astype(np.float32))[:, 1]
    np.testing.assert_allclose(model.predict(rows), expected, atol=1e-5)


def test_the_best_epoch_is_kept(data: TrainingSet) -> None:
    """Early stopping follows the validation part, and the model is that of its best epoch."""
    content, progress = run(data, "neural_network", learning_rate_init=0.05, max_iter=40, early_stopping_rounds=3)
    assert progress.stopped_early
    assert progress.rounds == progress.best_round + 3
    model = algorithm("neural_network").load(content)
    assert model.rounds == progress.best_round
    short, _ = run(data, "neural_network", learning_rate_init=0.05, max_iter=progress.best_round)
    assert short == content


def test_weights_that_grow_without_bound_fail_with_the_reason(data: TrainingSet) -> None:
    """Too large a step is told by the hyperparameter's name, not by a warning of numpy's."""
    with pytest.raises(UntrainableData, match="learning_rate_init"):
        _diverge(data)


def _diverge(data: TrainingSet) -> None:
    entry = algorithm("neural_network")
    settings = entry.hyperparameters.model_validate({"hidden_layer_sizes": [8]})
    trainer: Any = entry.start(data, entry.prepare(data, settings, 1), settings, 1, None)
    trainer._network.coefs_[0][...] = np.float32(3e38)
    trainer.advance()


@pytest.mark.parametrize(
    "change",
    [
        {"weights_1": np.zeros((5, 1))},
        {"weights_0": np.zeros((3, 6))},
        {"weights_1": np.zeros((6, 2)), "biases_1": np.zeros(2)},
        {"biases_0": np.full(6, np.nan)},
        {"scale": np.array([1.0, 0.0, 1.0, 1.0])},
        {"weights_3": np.zeros((1, 1)), "biases_3": np.zeros(1)},
    ],
)
def test_layers_that_do_not_fit_are_refused(change: dict[str, npt.NDArray[np.float64]]) -> None:
    """Shapes, finiteness and order are checked when a model is read."""
    arrays = {
        "mean": np.zeros(4),
        "scale": np.ones(4),
        "weights_0": np.zeros((4, 6)),
        "biases_0": np.zeros(6),
        "weights_1": np.zeros((6, 1)),
        "biases_1": np.zeros(1),
        "rounds": np.array(1),
    }
    assert algorithm("neural_network").load(pack(arrays, NETWORK)).feature_count == 4
    with pytest.raises(ValueError, match=r"fit|finite|output"):
        algorithm("neural_network").load(pack({**arrays, **change}, NETWORK))
