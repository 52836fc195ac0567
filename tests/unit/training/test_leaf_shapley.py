"""Shapley values from tables, against the two libraries that compute them by walking the trees."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import shap

from shared.platform.xgboost_runtime import load_xgboost
from shared.training.algorithms.booster import BoosterModel
from shared.training.algorithms.leaf_shapley import LeafTables, Unsupported

Rows = npt.NDArray[np.float32]


def _data(rows: int = 3000, features: int = 12, seed: int = 3) -> tuple[Rows, npt.NDArray[np.int64]]:
    draws = np.random.default_rng(seed)
    values = draws.normal(size=(rows, features)).astype(np.float32)
    values[:, 1] = draws.integers(0, 4, rows)  # many equal values
    margin = values[:, 0] * values[:, 2] + (values[:, 1] == 2) + np.where(values[:, 3] > 1, values[:, 4], 0)
    values[draws.random(values.shape) < 0.1] = np.nan
    return values, (margin + draws.normal(size=rows) * 0.3 > 1).astype(np.int64)


def _trained(rounds: int = 40, **parameters: Any) -> tuple[Any, Rows]:
    xgb = load_xgboost()
    values, labels = _data()
    chosen = {"objective": "binary:logistic", "max_depth": 6, "eta": 0.3, "seed": 1, **parameters}
    return xgb.train(chosen, xgb.DMatrix(values, labels), rounds), values


def _walked(booster: Any, rows: Rows) -> Rows:
    return np.asarray(booster.predict(load_xgboost().DMatrix(rows), pred_contribs=True))


def _tables(booster: Any) -> LeafTables:
    return LeafTables.of(booster, float(_walked(booster, _data(1)[0])[0, -1]))


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"max_depth": 1},
        {"max_depth": 3},
        {"max_depth": 8},
        {"grow_policy": "lossguide", "max_leaves": 20, "max_depth": 0},
        {"scale_pos_weight": 20.0, "min_child_weight": 0},
        {"base_score": 0.01},
        {"num_parallel_tree": 3, "subsample": 0.5, "colsample_bynode": 0.5},
    ],
    ids=str,
)
def test_they_are_those_of_xgboost_and_of_shap(parameters: dict[str, Any]) -> None:
    """Missing values and paths that split on one feature again among them."""
    booster, rows = _trained(rounds=12, **parameters)
    found = _tables(booster).contributions(rows[:300])
    np.testing.assert_allclose(found, _walked(booster, rows[:300]), rtol=0, atol=1e-5)
    oracle = shap.TreeExplainer(booster).shap_values(rows[:300])
    np.testing.assert_allclose(found[:, :-1], oracle, rtol=0, atol=1e-5)


def test_they_add_up_to_the_margin() -> None:
    """With the base value, whatever the row."""
    booster, rows = _trained(rounds=100)
    margin = booster.inplace_predict(rows, predict_type="margin")
    np.testing.assert_allclose(_tables(booster).contributions(rows).sum(axis=1), margin, rtol=0, atol=2e-5)


def test_a_value_at_a_threshold_goes_where_xgboost_sends_it() -> None:
    """Below is left, equal is right, in float32; and the next float32 on either side."""
    booster, rows = _trained(rounds=5)
    frame = booster.trees_to_dataframe()
    splits = frame[frame["Feature"] != "Leaf"]
    probes = []
    for name, threshold in zip(splits["Feature"], splits["Split"].astype(np.float32), strict=True):
        for value in (threshold, np.nextafter(threshold, np.float32(-9e9)), np.nextafter(threshold, np.float32(9e9))):
            row = rows[len(probes) % len(rows)].copy()
            row[int(name.removeprefix("f"))] = value
            probes.append(row)
    found = _tables(booster).contributions(np.array(probes))
    np.testing.assert_allclose(found, _walked(booster, np.array(probes)), rtol=0, atol=1e-5)


def test_rows_do_not_depend_on_their_neighbours() -> None:
    """Alone or among others, with and without missing values: the same numbers, bit for bit."""
    booster, rows = _trained()
    tables = _tables(booster)
    together = tables.contributions(rows[:50])
    alone = np.concatenate([tables.contributions(rows[position : position + 1]) for position in range(50)])
    assert np.array_equal(together, alone)


def test_trees_that_are_too_deep_have_none() -> None:
    """A path of more than eight features does not fit a key; the model walks its trees as before."""
    booster, rows = _trained(rounds=3, max_depth=14, min_child_weight=0, gamma=0)
    with pytest.raises(Unsupported, match="more than 8 features"):
        _tables(booster)
    model = BoosterModel(booster)
    model.prepare_explanations()
    assert not model.explains_at_once
    assert np.array_equal(model.contributions(rows[:5]), _walked(booster, rows[:5]))


def test_other_boosters_have_none() -> None:
    """Linear boosters and weighted trees (DART) are no plain sum of trees."""
    for kind in ("gblinear", "dart"):
        booster, _ = _trained(rounds=2, booster=kind, verbosity=0)
        with pytest.raises(Unsupported):
            LeafTables.of(booster, 0.0)


def test_a_model_uses_them_once_they_are_prepared() -> None:
    """And its contributions stay what they were."""
    booster, rows = _trained()
    model = BoosterModel(booster)
    before = model.contributions(rows[:20])
    assert not model.explains_at_once
    model.prepare_explanations()
    assert model.explains_at_once
    np.testing.assert_allclose(model.contributions(rows[:20]), before, rtol=0, atol=1e-5)
    assert model.contributions(rows[:0]).shape == (0, rows.shape[1] + 1)


def test_a_booster_of_leaves_alone_explains_nothing() -> None:
    """Every row has the base value and contributions of zero."""
    booster, rows = _trained(rounds=3, gamma=1e9)
    found = _tables(booster).contributions(rows[:4])
    assert not found[:, :-1].any()
    np.testing.assert_allclose(found, _walked(booster, rows[:4]), rtol=0, atol=1e-6)
