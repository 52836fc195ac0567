"""Gradient-boosted trees by XGBoost's histogram method, cut into rounds.

A run resumed from a checkpoint gives the same model, bit for bit, as one that was never interrupted. Without
sampling that is XGBoost's own property. With sampling (``subsample``, ``colsample_*``) XGBoost carries hidden
random state in its tree updaters, which no model file holds; so each round starts from updaters made anew
(``load_config(save_config())`` does that and keeps the prediction cache) and from a seed that the round number
gives.
"""

import json
import math
from collections.abc import Hashable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from shared.platform.xgboost_runtime import load_xgboost
from shared.training.algorithms.base import Features, Hyperparameters
from shared.training.progress import RoundFigures, TrainingProgress
from shared.training.training_set import TrainingSet, in_blocks

if TYPE_CHECKING:
    import xgboost

_TRAIN_FIGURES_EVERY = 5  # rounds
_HIGHER_IS_BETTER = frozenset({"aucpr", "auc"})


class XGBoostHyperparameters(Hyperparameters):
    """Defaults for 0.1 to 5 % fraud among 10⁴ to 10⁷ rows."""

    n_estimators: int = Field(
        500, ge=1, le=10_000, description="Most boosting rounds; early stopping usually ends sooner"
    )
    learning_rate: float = Field(0.1, gt=0, le=1, description="Share of each tree that is added (eta)")
    max_depth: int = Field(6, ge=1, le=16, description="Deepest level of a tree")
    min_child_weight: float = Field(1.0, ge=0, description="Least sum of Hessians in a leaf: higher is more cautious")
    gamma: float = Field(0.0, ge=0, description="Least loss reduction that justifies a split")
    reg_lambda: float = Field(1.0, ge=0, description="L2 penalty on leaf weights")
    reg_alpha: float = Field(0.0, ge=0, description="L1 penalty on leaf weights")
    max_delta_step: float = Field(0.0, ge=0, description="Largest leaf weight; 0 for no limit")
    subsample: float = Field(1.0, gt=0, le=1, description="Share of the rows that a round draws")
    colsample_bytree: float = Field(1.0, gt=0, le=1, description="Share of the features that a tree draws")
    max_bin: int = Field(256, ge=8, le=1024, description="Histogram bins a feature")
    scale_pos_weight: Annotated[float, Field(gt=0)] | Literal["balanced", "sqrt", "none"] = Field(
        "sqrt",
        description="Weight of a fraud: a number, 'balanced' (genuine / fraud), 'sqrt' (its root) or 'none'; "
        "scores are corrected for it afterwards, so that they stay probabilities",
    )
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

    def total_rounds(self, hyperparameters: XGBoostHyperparameters) -> int:
        """``n_estimators``."""
        return hyperparameters.n_estimators

    def patience(self, hyperparameters: XGBoostHyperparameters) -> int | None:
        """``early_stopping_rounds``."""
        return hyperparameters.early_stopping_rounds

    def matrix_key(self, hyperparameters: XGBoostHyperparameters, threads: int) -> Hashable:
        """Bins are cut once for all runs that want as many."""
        return self.name, hyperparameters.max_bin, threads

    def prepare(self, data: TrainingSet, hyperparameters: XGBoostHyperparameters, threads: int) -> _Matrices:
        """Quantised matrices, one byte a value when nothing is missing; the mapped float matrix is read in place."""
        xgb = load_xgboost()
        split = data.split

        def matrix(part: slice, **cuts: Any) -> Any:
            return xgb.QuantileDMatrix(
                np.asarray(data.features(part)),
                np.asarray(data.labels(part), dtype=np.float32),
                nthread=threads,
                **cuts,
            )

        fit = matrix(split.fit, max_bin=hyperparameters.max_bin)
        return _Matrices(fit, matrix(split.validation, max_bin=hyperparameters.max_bin, ref=fit))

    def start(
        self,
        data: TrainingSet,
        prepared: _Matrices,
        hyperparameters: XGBoostHyperparameters,
        threads: int,
        checkpoint: bytes | None,
    ) -> "_Boosting":
        """A booster at round 0, or at the round of the checkpoint."""
        weight = fraud_weight(hyperparameters.scale_pos_weight, data.labels(data.split.fit))
        return _Boosting(prepared, hyperparameters, weight, threads, checkpoint)

    def finish(
        self,
        data: TrainingSet,
        hyperparameters: XGBoostHyperparameters,
        progress: TrainingProgress,
        checkpoint: bytes,
    ) -> bytes:
        """Cut back to the best round, take the fraud weight out of the scores, and write UBJSON."""
        best = progress.best_round if progress.patience is not None else progress.rounds
        weight = fraud_weight(hyperparameters.scale_pos_weight, data.labels(data.split.fit))
        return without_weight(load_booster(checkpoint)[:best], weight)

    def load(self, model: bytes) -> "XGBoostModel":
        """Read UBJSON. :raises ValueError: not a model."""
        return XGBoostModel(load_booster(model))


class XGBoostModel:
    """A booster that scores."""

    def __init__(self, booster: "xgboost.Booster") -> None:
        self.booster = booster

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
        parts = [
            np.asarray(self.booster.inplace_predict(np.asarray(block), validate_features=False), dtype=np.float32)
            for block in in_blocks(features)
        ]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.float32)

    def contributions(self, features: Features) -> Features:
        """Exact SHAP values in log-odds, shape (n, f + 1), base value last."""
        matrix = load_xgboost().DMatrix(np.asarray(features))
        return np.asarray(self.booster.predict(matrix, pred_contribs=True), dtype=np.float32)


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
        self._frauds = np.asarray(matrices.fit.get_label()) == 1
        self._hyperparameters = hyperparameters
        self._sampling = hyperparameters.subsample < 1 or hyperparameters.colsample_bytree < 1
        parameters = booster_parameters(hyperparameters, weight, threads)
        self._booster = load_xgboost().Booster(cache=list(matrices))
        if checkpoint is not None:
            self._booster.load_model(bytearray(checkpoint))
        metrics = parameters.pop("eval_metric")
        self._booster.set_param([*parameters.items(), *(("eval_metric", metric) for metric in metrics)])

    @property
    def rounds(self) -> int:
        """Trees grown so far."""
        return int(self._booster.num_boosted_rounds())

    def advance(self) -> RoundFigures:
        """Grow one tree and evaluate it."""
        number = self.rounds
        if self._sampling:
            self._booster.load_config(self._booster.save_config())
            self._booster.set_param({"seed": (self._hyperparameters.seed * 1_000_003 + number + 1) % 2**31})
        self._booster.update(self._matrices.fit, number)
        validation = self._validation_figures()
        train = {"logloss": self._fit_log_loss()} if number % _TRAIN_FIGURES_EVERY == 0 else {}
        metric = self._hyperparameters.early_stopping_metric
        score = validation[metric] if metric in _HIGHER_IS_BETTER else -validation[metric]
        return RoundFigures(score, validation, train)

    def _fit_log_loss(self) -> float:
        """From the predictions that boosting keeps anyway; XGBoost's evaluation would sort the whole fitting part."""
        scores = self._booster.predict(self._matrices.fit)
        of_truth = np.where(self._frauds, scores, 1 - scores)
        return -float(np.mean(np.log(np.maximum(of_truth, np.float32(1e-16))), dtype=np.float64))

    def _validation_figures(self) -> dict[str, float]:
        text = self._booster.eval_set([(self._matrices.validation, "part")], self.rounds - 1)
        pairs = (figure.split("part-", 1)[1].rsplit(":", 1) for figure in text.split()[1:])
        return {name: float(value) for name, value in pairs}

    def checkpoint(self) -> bytes:
        """The booster as UBJSON."""
        return bytes(self._booster.save_raw("ubj"))


def booster_parameters(hyperparameters: XGBoostHyperparameters, weight: float, threads: int) -> dict[str, Any]:
    """Parameters of ``xgboost.train`` for the same model; a list under ``eval_metric``."""
    metrics = dict.fromkeys(("logloss", "aucpr", hyperparameters.early_stopping_metric))
    kept = hyperparameters.model_dump(
        exclude={"n_estimators", "scale_pos_weight", "early_stopping_rounds", "early_stopping_metric"}
    )
    return {
        **kept,
        "objective": "binary:logistic",
        "tree_method": "hist",
        "scale_pos_weight": weight,
        "nthread": threads,
        "eval_metric": list(metrics),
    }


def fraud_weight(choice: float | str, labels: npt.NDArray[np.int8]) -> float:
    """The weight of a fraud row relative to a genuine one."""
    if isinstance(choice, int | float):
        return float(choice)
    frauds = int(labels.sum())
    ratio = (len(labels) - frauds) / frauds
    return {"none": 1.0, "sqrt": math.sqrt(ratio), "balanced": ratio}[choice]


def without_weight(booster: "xgboost.Booster", weight: float) -> bytes:
    """The model as UBJSON, its scores corrected for a fraud weight.

    Weighting frauds by w multiplies the odds that the model learns by w; subtracting ln w from the intercept
    divides them again (the prior correction of Saerens, Latinne, Decaestecker 2002). Ranking and SHAP values do not
    change, the base value does.
    """
    document = json.loads(bytes(booster.save_raw("json")))
    parameters = document["learner"]["learner_model_param"]
    intercept = float(np.atleast_1d(json.loads(parameters["base_score"]))[0])
    log_odds = math.log(intercept / (1 - intercept)) - math.log(weight)
    parameters["base_score"] = json.dumps([1 / (1 + math.exp(-log_odds))])
    document["learner"]["attributes"] = {}
    return bytes(load_booster(json.dumps(document).encode()).save_raw("ubj"))


def load_booster(model: bytes) -> "xgboost.Booster":
    """A booster from its JSON or UBJSON.

    :raises ValueError: XGBoost cannot read it.
    """
    xgb = load_xgboost()
    booster: xgboost.Booster = xgb.Booster()
    try:
        booster.load_model(bytearray(model))
    except xgb.core.XGBoostError as error:
        raise ValueError(f"not an XGBoost model: {str(error).splitlines()[0]}") from error
    return booster
