"""Trees of scikit-learn and LightGBM say the same through XGBoost's predictor as they do themselves."""

from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.ensemble import IsolationForest as SklearnIsolationForest
from sklearn.ensemble import RandomForestClassifier

from shared.training.algorithms.booster import BoosterModel, load_booster, raw_predict
from shared.training.algorithms.isolation import _with_path_lengths, average_path_length, mean_path_lengths
from shared.training.algorithms.lightgbm import of_lightgbm
from shared.training.algorithms.trees import Trees, below, of_scikit_learn, to_ubjson

Matrix = npt.NDArray[np.float32]
FLOAT32_MAX = np.finfo(np.float32).max
# Few distinct values make many rows sit exactly on a threshold; huge, tiny and missing ones are among them.
VALUES = st.one_of(
    st.sampled_from([np.nan, 0.0, -0.0, 1.0, -1.0, 0.5, 3.0, 1e-30, -1e-30, 1e30, 16777216.0]),
    st.floats(-100, 100, width=32),
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[Matrix, npt.NDArray[np.int64], Matrix]:
    """Rows to fit on, their labels with both classes, and rows to predict that may miss what fitting never missed."""
    rows, width = draw(st.integers(12, 60)), draw(st.integers(1, 4))
    fit = draw(hnp.arrays(np.float32, (rows, width), elements=VALUES))
    labels = draw(hnp.arrays(np.int64, rows, elements=st.integers(0, 1)))
    labels[:2] = 0, 1
    new = draw(hnp.arrays(np.float32, (30, width), elements=VALUES))
    return fit, labels, np.vstack((fit, new))


def _without_strange_missing(fit: Matrix, rows: Matrix) -> Matrix:
    """scikit-learn refuses rows that miss a value when fitting missed none at all."""
    return rows if np.isnan(fit).any() else np.nan_to_num(rows)


@settings(max_examples=30, deadline=None)
@given(tables(), st.integers(0, 1000))
def test_a_random_forest_predicts_as_scikit_learn_does(
    table: tuple[Matrix, npt.NDArray[np.int64], Matrix], seed: int
) -> None:
    """The mean of the leaves equals predict_proba, missing values and values on a threshold included."""
    fit, labels, rows = table
    rows = _without_strange_missing(fit, rows)
    forest = RandomForestClassifier(n_estimators=5, max_depth=6, random_state=seed).fit(fit, labels)
    trees = Trees.joined(
        of_scikit_learn(tree.tree_, tree.tree_.value[:, 0, 1] / 5, tree.tree_.weighted_n_node_samples)
        for tree in forest.estimators_
    )
    model = BoosterModel(load_booster(to_ubjson(trees, fit.shape[1], "reg:squarederror")), unit="probability")
    expected = forest.predict_proba(rows)[:, 1]
    np.testing.assert_allclose(model.predict(rows), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(model.contributions(rows).sum(axis=1), expected, rtol=0, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(tables(), st.integers(0, 1000))
def test_an_isolation_forest_ranks_as_scikit_learn_does(
    table: tuple[Matrix, npt.NDArray[np.int64], Matrix], seed: int
) -> None:
    """2^(-E[h] / c) of the converted path lengths is scikit-learn's score."""
    fit, _, rows = table
    rows = _without_strange_missing(fit, rows)
    forest = SklearnIsolationForest(n_estimators=7, max_samples=len(fit), random_state=seed).fit(fit)
    trees = Trees.joined(_with_path_lengths(tree.tree_) for tree in forest.estimators_)
    paths = mean_path_lengths(trees, rows)
    scores = 2 ** (-paths / average_path_length(np.array([float(len(fit))])))
    np.testing.assert_allclose(scores, -forest.score_samples(rows), rtol=0, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(tables(), st.booleans())
def test_a_lightgbm_model_predicts_as_lightgbm_does(
    table: tuple[Matrix, npt.NDArray[np.int64], Matrix], weighted: bool
) -> None:
    """The sum of the leaves is LightGBM's raw score, also for values missing where training saw none."""
    fit, labels, rows = table
    weights = np.where(labels == 1, 3.0, 1.0) if weighted else None
    try:
        booster = _boosted(fit, labels, weights)
    except lightgbm.basic.LightGBMError:  # it refuses some tables with values like 1e30
        reject()
    trees = of_lightgbm(booster.model_to_string())
    ours = load_booster(to_ubjson(trees, fit.shape[1], "reg:squarederror"))
    expected = np.asarray(booster.predict(rows, raw_score=True))
    np.testing.assert_allclose(raw_predict(ours, rows), expected, rtol=1e-6, atol=1e-6)
    contributions = BoosterModel(ours).contributions(rows).sum(axis=1)
    np.testing.assert_allclose(contributions, expected, rtol=1e-5, atol=1e-5)


def test_large_models_convert_as_well() -> None:
    """Hundreds of leaves a tree, on ordinary data."""
    rng = np.random.default_rng(1)
    x = rng.lognormal(size=(5000, 8)).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    y = (np.nan_to_num(x[:, 0] * x[:, 1]) + rng.normal(size=5000) > 3).astype(np.int64)
    forest = RandomForestClassifier(n_estimators=20, min_samples_leaf=2, random_state=0).fit(x, y)
    grown = Trees.joined(
        of_scikit_learn(tree.tree_, tree.tree_.value[:, 0, 1] / 20, tree.tree_.weighted_n_node_samples)
        for tree in forest.estimators_
    )
    ours = load_booster(to_ubjson(grown, 8, "reg:squarederror"))
    np.testing.assert_allclose(raw_predict(ours, x), forest.predict_proba(x)[:, 1], rtol=0, atol=1e-6)
    booster = _boosted(x, y, None, rounds=50, num_leaves=255)
    boosted = load_booster(to_ubjson(of_lightgbm(booster.model_to_string()), 8, "binary:logistic"))
    np.testing.assert_allclose(raw_predict(boosted, x), booster.predict(x), rtol=0, atol=1e-6)


def test_contributions_are_those_of_shap() -> None:
    """The explainer of the shap package, on scikit-learn's own forest, divides each score in the same way."""
    import shap

    rng = np.random.default_rng(2)
    x = rng.normal(size=(600, 5)).astype(np.float32)
    y = (x[:, 0] + x[:, 1] * x[:, 2] > 1).astype(np.int64)
    forest = RandomForestClassifier(n_estimators=8, max_depth=5, random_state=0).fit(x, y)
    trees = Trees.joined(
        of_scikit_learn(tree.tree_, tree.tree_.value[:, 0, 1] / 8, tree.tree_.weighted_n_node_samples)
        for tree in forest.estimators_
    )
    ours = BoosterModel(load_booster(to_ubjson(trees, 5, "reg:squarederror")), unit="probability").contributions(x[:50])
    explainer = shap.TreeExplainer(forest, feature_perturbation="tree_path_dependent")
    np.testing.assert_allclose(ours[:, :-1], explainer.shap_values(x[:50])[..., 1], atol=1e-5)
    np.testing.assert_allclose(ours[:, -1], explainer.expected_value[1], atol=1e-5)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(-FLOAT32_MAX, FLOAT32_MAX, width=32))
def test_the_float32_threshold_decides_as_the_float64_one(threshold: float, value: float) -> None:
    """x < t' says what x <= t says, for every finite float32 x."""
    assert (np.float32(value) < below(np.array([threshold]))[0]) == (value <= threshold)


@pytest.mark.parametrize("threshold", [0.0, -0.0, 1.5, np.nextafter(1.5, 2), np.nextafter(1.5, 1), np.inf, 1e300])
def test_values_beside_a_threshold_stay_on_their_side(threshold: float) -> None:
    """The neighbours of a threshold in float32 are where an error would be."""
    near = np.float32(min(threshold, float(FLOAT32_MAX)))
    above = np.nextafter(near, np.float32(np.inf)) if near < FLOAT32_MAX else near
    for value in (near, np.nextafter(near, np.float32(-np.inf)), above):
        assert (value < below(np.array([threshold]))[0]) == (float(value) <= threshold)


def test_trees_that_xgboost_cannot_say_are_refused() -> None:
    """A categorical split has no counterpart here, and is not mistaken for a number."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 5, size=(200, 1)).astype(np.float32)
    dataset = lightgbm.Dataset(x, x[:, 0] % 2, categorical_feature=[0])
    booster = lightgbm.train({"objective": "binary", "verbosity": -1, "min_data_per_group": 1}, dataset, 2)
    with pytest.raises(ValueError, match="cannot say"):
        of_lightgbm(booster.model_to_string())


def _boosted(
    x: Matrix, y: npt.NDArray[np.int64], weights: npt.NDArray[np.float64] | None, rounds: int = 6, **more: Any
) -> lightgbm.Booster:
    parameters = {"objective": "binary", "verbosity": -1, "min_data_in_leaf": 1, "num_threads": 1, "seed": 1, **more}
    parameters |= {"min_data_in_bin": 1, "min_sum_hessian_in_leaf": 0.0}
    return lightgbm.train(parameters, lightgbm.Dataset(x, y, weight=weights), rounds)
