"""Tables of Shapley values, for boosters and rows of any kind."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.platform.xgboost_runtime import load_xgboost
from shared.training.algorithms.leaf_shapley import LeafTables


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    depth=st.integers(1, 7),
    features=st.integers(1, 9),
    distinct=st.sampled_from([2, 5, 1000]),
    missing=st.sampled_from([0.0, 0.3, 0.9]),
)
def test_tables_agree_with_xgboost_and_add_up(
    seed: int, depth: int, features: int, distinct: int, missing: float
) -> None:
    """Few distinct values put many rows exactly at a threshold; rows may miss anything."""
    xgb = load_xgboost()
    draws = np.random.default_rng(seed)
    rows = (draws.integers(0, distinct, (400, features)) / 7).astype(np.float32)
    labels = (rows.sum(axis=1) + draws.normal(size=400) > rows.sum(axis=1).mean()).astype(np.int64)
    rows[draws.random(rows.shape) < missing] = np.nan
    matrix = xgb.DMatrix(rows, labels)
    booster = xgb.train({"objective": "binary:logistic", "max_depth": depth, "eta": 0.5, "nthread": 1}, matrix, 6)
    walked = booster.predict(matrix, pred_contribs=True)
    found = LeafTables.of(booster, float(walked[0, -1])).contributions(rows)
    np.testing.assert_allclose(found, walked, rtol=0, atol=1e-5)
    margin = booster.predict(matrix, output_margin=True)
    np.testing.assert_allclose(found.sum(axis=1), margin, rtol=0, atol=1e-5)
