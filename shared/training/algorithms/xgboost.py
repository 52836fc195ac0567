"""Gradient-boosted trees by XGBoost's histogram method, cut into rounds.

A run resumed from a checkpoint gives the same model, bit for bit, as one that was never interrupted. Without
sampling that is XGBoost's own property. With sampling (``subsample``, ``colsample_*``) XGBoost carries hidden
random state in its tree updaters, which no model file holds; so each round starts from updaters made anew
(``load_config(save_config())`` does that and keeps the prediction cache) and from a seed that the round number
gives.
"""

import json
import math
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field

from shared.platform.xgboost_runtime import load_xgboost
from shared.training.algorithms.base import Hyperparameters, LabelledHyperparameters
from shared.training.algorithms.booster import BoosterModel, load_booster
from shared.training.algorithms.figures import BoostingFigures
from shared.training.algorithms.imbalance import fit_sample, round_seed
from shared.training.mapped import release_pages
from shared.training.progress import RoundFigures, TrainingProgress
from shared.training.training_set import TrainingSet

if TYPE_CHECKING:
    import xgboost

_FIGURES_EVERY = 2  # rounds; looking at the validation part costs a tenth of growing a tree
_TRAIN_FIGURES_EVERY = 10  # rounds
HIGHER_IS_BETTER = frozenset({"aucpr", "auc"})


class XGBoostHyperparameters(LabelledHyperparameters):
    """Defaults for 0.1 to 5 % fraud among 10⁴ to 10⁷ rows."""

    n_estimators: int = Field(
        500, ge=1, le=10_000, description="Most boosting rounds; early stopping usually ends sooner"
    )
    learning_rate: float = Field(0.1, gt=0, le=1, description="Share of each tree that is added (eta)")
    max_depth: int = Field(6, ge=1, le=16, description="Deepest level of a tree")
    min_child_weight: float = Field(5.0, ge=0, description="Least sum of Hessians in a leaf: higher is more cautious")
    gamma: float = Field(0.0, ge=0, description="Least loss reduction that justifies a split")
    reg_lambda: float = Field(1.0, ge=0, description="L2 penalty on leaf weights")
    reg_alpha: float = Field(0.0, ge=0, description="L1 penalty on leaf weights")
    max_delta_step: float = Field(0.0, ge=0, description="Largest leaf weight; 0 for no limit")
    subsample: float = Field(1.0, gt=0, le=1, description="Share of the rows that a round draws")
    colsample_bytree: float = Field(1.0, gt=0, le=1, description="Share of the features that a tree draws")
    max_bin: int = Field(256, ge=8, le=1024, description="Histogram bins a feature")
    early_stopping_rounds: int | None = Field(
        40, ge=1, description="Stop after so many rounds without improvement on the validation part; null for never"
    )
    early_stopping_metric: Literal["aucpr", "auc", "logloss"] = Field(
        "aucpr", description="What improvement means; average precision suits rare fraud"
    )


class _Matrices(NamedTuple):
    fit: "xgboost.QuantileDMatrix"
    validation: "xgboost.QuantileDMatrix"


class XGBoost:
    """The algorithm ``xgboost``."""

    name: ClassVar[str] = "xgboost"
    title: ClassVar[str] = "Gradient-boosted trees (XGBoost)"
    description: ClassVar[str] = (
        "The default: strong on tables, takes missing values as they are, explained by exact SHAP values."
    )
    needs_labels: ClassVar[bool] = True
    model_file: ClassVar[str] = "model.ubj"
    hyperparameters: ClassVar[type[Hyperparameters]] = XGBoostHyperparameters
    search_space: ClassVar[Mapping[str, Any]] = {
        "learning_rate": {"low": 0.03, "high": 0.3, "log": True},
        "max_depth": [3, 4, 5, 6, 8, 10],
        "min_child_weight": {"low": 0.5, "high": 50, "log": True},
        "gamma": [0.0, 0.1, 1.0],
        "reg_lambda": {"low": 0.1, "high": 30, "log": True},
        "subsample": [0.6, 0.8, 1.0],
        "colsample_bytree": [0.5, 0.75, 1.0],
        "scale_pos_weight": ["none", "sqrt", "balanced"],
    }
    requires: str | None = None

    def warnings(self, data: TrainingSet, hyperparameters: XGBoostHyperparameters) -> list[str]:
        """None: every row is learned from."""
        return []

    def total_rounds(self, hyperparameters: XGBoostHyperparameters) -> int:
        """``n_estimators``."""
        return hyperparameters.n_estimators

    def patience(self, hyperparameters: XGBoostHyperparameters) -> int | None:
        """``early_stopping_rounds``."""
        return hyperparameters.early_stopping_rounds

    def matrix_key(self, hyperparameters: XGBoostHyperparameters, threads: int) -> Hashable:
        """Bins are cut once for all runs that want as many, of the same rows."""
        drawn = hyperparameters.undersampling and (hyperparameters.undersampling, hyperparameters.seed)
        return self.name, hyperparameters.max_bin, drawn, hyperparameters.half_life_days, threads

    def prepare(self, data: TrainingSet, hyperparameters: XGBoostHyperparameters, threads: int) -> _Matrices:
        """Quantised matrices, one byte a value when nothing is missing; the mapped float matrix is read in place."""
        xgb = load_xgboost()
        sample, validation = fit_sample(data, hyperparameters), data.split.validation
        shared = {"nthread": threads, "max_bin": hyperparameters.max_bin}
        fit = xgb.QuantileDMatrix(
            sample.features(data), sample.labels.astype(np.float32), weight=sample.recency, **shared
        )
        labels = np.asarray(data.labels(validation), dtype=np.float32)
        later = xgb.QuantileDMatrix(np.asarray(data.features(validation)), labels, ref=fit, **shared)
        release_pages(data.table.features)
        return _Matrices(fit, later)

    def start(
        self,
        data: TrainingSet,
        prepared: _Matrices,
        hyperparameters: XGBoostHyperparameters,
        threads: int,
        checkpoint: bytes | None,
    ) -> "_Boosting":
        """A booster at round 0, or at the round of the checkpoint."""
        return _Boosting(prepared, hyperparameters, fit_sample(data, hyperparameters).weight, threads, checkpoint)

    def finish(
        self,
        data: TrainingSet,
        hyperparameters: XGBoostHyperparameters,
        progress: TrainingProgress,
        checkpoint: bytes,
    ) -> bytes:
        """Cut back to the best round, take weight and undersampling out of the scores, and write UBJSON."""
        best = progress.best_round if progress.patience is not None else progress.rounds
        return with_odds(load_booster(checkpoint)[:best], fit_sample(data, hyperparameters).odds_factor)

    def load(self, model: bytes) -> BoosterModel:
        """Read UBJSON. :raises ValueError: not a model."""
        return BoosterModel(load_booster(model))


class _Boosting:
    """A run in memory."""

    def __init__(
        self,
        matrices: _Matrices,
        hyperparameters: XGBoostHyperparameters,
        weight: float,
        threads: int,
        checkpoint: bytes | None,
    ) -> None:
        self._matrices = matrices
        self._figures = BoostingFigures(np.asarray(matrices.validation.get_label()))
        self._fit_figures = BoostingFigures(np.asarray(matrices.fit.get_label()))
        self._hyperparameters = hyperparameters
        self._sampling = hyperparameters.subsample < 1 or hyperparameters.colsample_bytree < 1
        parameters = booster_parameters(hyperparameters, weight, threads)
        self._booster = load_xgboost().Booster(cache=list(matrices))
        if checkpoint is not None:
            self._booster.load_model(bytearray(checkpoint))
        del parameters["eval_metric"]
        self._booster.set_param(parameters)

    @property
    def rounds(self) -> int:
        """Trees grown so far."""
        return int(self._booster.num_boosted_rounds())

    def advance(self) -> RoundFigures:
        """Grow one tree; every second time, and the first and the last, look how the model stands."""
        number = self.rounds
        if self._sampling:
            self._booster.load_config(self._booster.save_config())
            self._booster.set_param({"seed": round_seed(self._hyperparameters.seed, number)})
        self._booster.update(self._matrices.fit, number)
        if number % _FIGURES_EVERY and number + 1 < self._hyperparameters.n_estimators:
            return RoundFigures(None, {}, {})
        scores = self._booster.predict(self._matrices.validation)
        validation = self._figures.of(scores)
        train = {}
        if number % _TRAIN_FIGURES_EVERY == 0:  # from the predictions that boosting keeps anyway
            train["logloss"] = self._fit_figures.log_loss(self._booster.predict(self._matrices.fit))
        return RoundFigures(score_of(validation, self._hyperparameters), validation, train)

    def checkpoint(self) -> bytes:
        """The booster as UBJSON."""
        return bytes(self._booster.save_raw("ubj"))


def score_of(figures: Mapping[str, float], hyperparameters: XGBoostHyperparameters) -> float:
    """What early stopping follows, higher being better, from the figures of the validation part."""
    metric = hyperparameters.early_stopping_metric
    return figures[metric] if metric in HIGHER_IS_BETTER else -figures[metric]


def booster_parameters(hyperparameters: XGBoostHyperparameters, weight: float, threads: int) -> dict[str, Any]:
    """Parameters of ``xgboost.train`` for the same model; a list under ``eval_metric``."""
    metrics = dict.fromkeys(("logloss", "aucpr", hyperparameters.early_stopping_metric))
    kept = hyperparameters.model_dump(
        exclude={
            "n_estimators",
            "scale_pos_weight",
            "undersampling",
            "half_life_days",
            "early_stopping_rounds",
            "early_stopping_metric",
        }
    )
    return {
        **kept,
        "objective": "binary:logistic",
        "tree_method": "hist",
        "scale_pos_weight": weight,
        "nthread": threads,
        "eval_metric": list(metrics),
    }


def with_odds(booster: "xgboost.Booster", factor: float) -> bytes:
    """The model as UBJSON, the odds of its scores multiplied by ``factor``: an addition to its intercept.

    Ranking and SHAP values do not change, the base value does.
    """
    document = json.loads(bytes(booster.save_raw("json")))
    parameters = document["learner"]["learner_model_param"]
    intercept = float(np.atleast_1d(json.loads(parameters["base_score"]))[0])
    log_odds = math.log(intercept / (1 - intercept)) + math.log(factor)
    parameters["base_score"] = json.dumps([1 / (1 + math.exp(-log_odds))])
    document["learner"]["attributes"] = {}
    return bytes(load_booster(json.dumps(document).encode()).save_raw("ubj"))
