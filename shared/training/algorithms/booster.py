"""Trees as XGBoost's predictor holds them: read, score, explain. Serves every algorithm that ends in trees."""

from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from shared.platform.xgboost_runtime import load_xgboost
from shared.training.algorithms.base import ExplanationKind, Features
from shared.training.algorithms.leaf_shapley import LeafTables, Unsupported
from shared.training.training_set import in_blocks

if TYPE_CHECKING:
    import xgboost

# Up to so many rows one thread is done before a second has been woken; measured, and less CPU in any case.
_ROWS_OF_ONE_THREAD = 512
_PROBES = 8
_TOLERANCE = 1e-4  # of the largest contribution; float32 sums in another order differ by a millionth


class BoosterModel:
    """A booster that scores.

    :param unit: ``log_odds`` where the booster's objective is logistic; ``probability`` where the sum of its leaves is
        the score.
    """

    def __init__(self, booster: "xgboost.Booster", unit: Literal["log_odds", "probability"] = "log_odds") -> None:
        self.booster = booster
        self._unit: Literal["log_odds", "probability"] = unit
        self._single = booster.copy()
        self._single.set_param({"nthread": 1})
        self._tables: LeafTables | None = None

    @property
    def explanation(self) -> ExplanationKind:
        """Exact SHAP values of trees (Lundberg et al. 2020, path-dependent)."""
        return ExplanationKind(method="tree_shap", unit=self._unit)

    @property
    def rounds(self) -> int:
        """Number of trees."""
        return int(self.booster.num_boosted_rounds())

    @property
    def feature_count(self) -> int:
        """How many features the trees know; XGBoost spells names that are not ASCII another way, so it gets none."""
        return int(self.booster.num_features())

    def predict(self, features: Features) -> npt.NDArray[np.float32]:
        """Probabilities of fraud, shape (n,); memory stays at one block of rows."""
        booster = self._single if len(features) <= _ROWS_OF_ONE_THREAD else self.booster
        scores = raw_predict(booster, features)
        return scores if self._unit == "log_odds" else np.clip(scores, 0, 1)

    def contributions(self, features: Features) -> Features:
        """Exact SHAP values, shape (n, f + 1), base value last; from tables once they are prepared."""
        if self._tables is not None:
            return self._tables.contributions(np.asarray(features))
        return self._walked(features)

    @property
    def explains_at_once(self) -> bool:
        """Once the tables are there."""
        return self._tables is not None

    def prepare_explanations(self) -> None:
        """Make the tables, where these trees have some: 0.3 s for 200 trees of depth 6, some megabytes, and explaining
        a row takes a thirtieth of the time from then on. Tables that disagree with XGBoost itself are not used.
        """
        probes = _probes(self.feature_count)
        expected = self._walked(probes)
        try:
            tables = LeafTables.of(self.booster, base_value=float(expected[0, -1]))
        except Unsupported:
            return
        if np.abs(tables.contributions(probes) - expected).max() <= _TOLERANCE * (1 + np.abs(expected).max()):
            self._tables = tables

    def _walked(self, features: Features) -> Features:
        """As XGBoost computes them."""
        matrix = load_xgboost().DMatrix(np.asarray(features))
        return np.asarray(self.booster.predict(matrix, pred_contribs=True), dtype=np.float32)


def _probes(features: int) -> Features:
    """Some rows of any kind, with missing values among them."""
    draws = np.random.default_rng(0)
    rows = (draws.standard_normal((_PROBES, features)) * 10.0 ** draws.integers(-2, 4, (_PROBES, 1))).astype(np.float32)
    rows[draws.random(rows.shape) < 0.2] = np.nan
    return rows


def raw_predict(booster: "xgboost.Booster", features: Features) -> npt.NDArray[np.float32]:
    """What the booster's objective makes of the sum of its leaves, shape (n,), block by block."""
    parts = [
        np.asarray(booster.inplace_predict(np.asarray(block), validate_features=False), dtype=np.float32)
        for block in in_blocks(features)
    ]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.float32)


def load_booster(model: bytes) -> "xgboost.Booster":
    """A booster from its JSON or UBJSON.

    :raises ValueError: XGBoost cannot read it.
    """
    xgb = load_xgboost()
    if len(model) < 2:  # XGBoost looks at the second byte before it looks at the length
        raise ValueError("not an XGBoost model: no content")
    booster: xgboost.Booster = xgb.Booster()
    try:
        booster.load_model(bytearray(model))
    except xgb.core.XGBoostError as error:
        raise ValueError(f"not an XGBoost model: {str(error).splitlines()[0]}") from error
    return booster
