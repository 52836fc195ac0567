"""How much features matter to a small boosted model (XGBoost, imported when it is fitted)."""

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.platform.xgboost_runtime import load_xgboost

if TYPE_CHECKING:
    import xgboost

ROUNDS: Final = 100
_PARAMETERS: Final[dict[str, Any]] = {
    "objective": "binary:logistic",
    "tree_method": "hist",
    "max_depth": 6,
    "eta": 0.1,
    "verbosity": 0,
}


def small_model(values: NDArray[np.float32], labels: NDArray[np.int8], seed: int) -> "xgboost.Booster":
    """A model of :data:`ROUNDS` trees.

    :param values: shape (n, f), NaN where missing.
    :param labels: shape (n,), 0 or 1.
    """
    library = load_xgboost()
    matrix = library.QuantileDMatrix(values, label=labels)
    model: xgboost.Booster = library.train(_PARAMETERS | {"seed": seed}, matrix, num_boost_round=ROUNDS)
    return model


def gain_shares(model: "xgboost.Booster") -> NDArray[np.float64]:
    """Share of each feature in the total gain of all splits, shape (f,)."""
    found = model.get_score(importance_type="total_gain")
    gains = np.array([float(np.mean(found.get(f"f{position}", 0.0))) for position in range(model.num_features())])
    return gains / (gains.sum() or 1.0)


def mean_absolute_shap(model: "xgboost.Booster", values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean absolute SHAP value of each feature in log-odds over the rows of ``values``, shape (f,)."""
    contributions = model.predict(load_xgboost().DMatrix(values), pred_contribs=True)
    strength: NDArray[np.float64] = np.abs(contributions[:, :-1].astype(np.float64)).mean(axis=0)
    return strength


def fraud_scores(model: "xgboost.Booster", values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probability of fraud of each row, shape (n,)."""
    scores: NDArray[np.float32] = model.inplace_predict(values)
    return scores
