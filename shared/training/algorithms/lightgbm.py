"""Gradient-boosted trees by LightGBM, an optional extra: needed to train, not to serve.

Each round asks LightGBM for one tree on top of the margins so far, with a seed that the round number gives, and adds
what the converted tree says, so that the model that is served is exactly the one that was boosted, and a run goes on
from its trees alone.
"""

import importlib.util
import threading
from collections.abc import Hashable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from shared.platform.xgboost_runtime import load_xgboost
from shared.training.algorithms.base import Features, Hyperparameters, LabelledHyperparameters
from shared.training.algorithms.booster import BoosterModel, load_booster, raw_predict
from shared.training.algorithms.figures import labelled_figures
from shared.training.algorithms.imbalance import FitSample, fit_sample, round_seed
from shared.training.algorithms.trees import Trees, one_tree, to_ubjson
from shared.training.progress import RoundFigures, TrainingProgress
from shared.training.training_set import TrainingSet

_CATEGORICAL, _DEFAULT_LEFT, _MISSING_TYPE, _ZERO, _NAN = 1, 2, 12, 4, 8  # bits of decision_type


class LightGBMHyperparameters(LabelledHyperparameters):
    """Defaults for 0.1 to 5 % fraud among 10⁴ to 10⁷ rows."""

    n_estimators: int = Field(
        500, ge=1, le=10_000, description="Most boosting rounds; early stopping usually ends sooner"
    )
    learning_rate: float = Field(0.05, gt=0, le=1, description="Share of each tree that is added")
    num_leaves: int = Field(31, ge=2, le=1024, description="Most leaves of a tree")
    max_depth: int | None = Field(
        8, ge=1, le=32, description="Deepest level of a tree, null for no limit; explaining costs its square"
    )
    min_child_samples: int = Field(20, ge=1, description="Fewest rows in a leaf")
    min_child_weight: float = Field(1.0, ge=0, description="Least sum of Hessians in a leaf: higher is more cautious")
    reg_lambda: float = Field(1.0, ge=0, description="L2 penalty on leaf weights")
    reg_alpha: float = Field(0.0, ge=0, description="L1 penalty on leaf weights")
    subsample: float = Field(1.0, gt=0, le=1, description="Share of the rows that a round draws")
    colsample_bytree: float = Field(1.0, gt=0, le=1, description="Share of the features that a tree draws")
    max_bin: int = Field(255, ge=8, le=1024, description="Histogram bins a feature")
    early_stopping_rounds: int | None = Field(
        40, ge=1, description="Stop after so many rounds without improvement on the validation part; null for never"
    )


class _Prepared(NamedTuple):
    """``lock`` is held while a run sets its margins in the dataset: two jobs with equal settings share it."""

    dataset: Any
    features: Features
    sample: FitSample
    lock: threading.Lock


class LightGBM:
    """The algorithm ``lightgbm``."""

    name: ClassVar[str] = "lightgbm"
    title: ClassVar[str] = "Gradient-boosted trees (LightGBM)"
    description: ClassVar[str] = (
        "Grows the leaf that helps most, wherever it is; often as good as XGBoost and sometimes better. An extra."
    )
    needs_labels: ClassVar[bool] = True
    model_file: ClassVar[str] = "model.ubj"
    hyperparameters: ClassVar[type[Hyperparameters]] = LightGBMHyperparameters
    search_space: ClassVar[Mapping[str, Any]] = {
        "learning_rate": {"low": 0.02, "high": 0.2, "log": True},
        "num_leaves": {"low": 8, "high": 256, "log": True},
        "min_child_samples": {"low": 5, "high": 200, "log": True},
        "min_child_weight": {"low": 0.01, "high": 20, "log": True},
        "reg_lambda": {"low": 0.1, "high": 20, "log": True},
        "subsample": {"low": 0.6, "high": 1.0},
        "colsample_bytree": {"low": 0.4, "high": 1.0},
    }

    @property
    def requires(self) -> str | None:
        """``lightgbm``, where it is not installed."""
        return None if importlib.util.find_spec("lightgbm") else "lightgbm"

    def warnings(self, data: TrainingSet, hyperparameters: LightGBMHyperparameters) -> list[str]:
        """None: every row is learned from."""
        return []

    def total_rounds(self, hyperparameters: LightGBMHyperparameters) -> int:
        """``n_estimators``."""
        return hyperparameters.n_estimators

    def patience(self, hyperparameters: LightGBMHyperparameters) -> int | None:
        """``early_stopping_rounds``."""
        return hyperparameters.early_stopping_rounds

    def matrix_key(self, hyperparameters: LightGBMHyperparameters, threads: int) -> Hashable:
        """Everything: LightGBM fixes most settings when it bins the rows."""
        return self.name, *hyperparameters.model_dump().items(), threads

    def prepare(self, data: TrainingSet, hyperparameters: LightGBMHyperparameters, threads: int) -> _Prepared:
        """The binned matrix, about one byte a value; the mapped float matrix is read in place."""
        lightgbm = _load()
        sample = fit_sample(data, hyperparameters)
        features = sample.features(data)
        dataset = lightgbm.Dataset(
            features,
            sample.labels,
            weight=sample.weights,
            params=tree_parameters(hyperparameters, threads),
            free_raw_data=True,
        ).construct()
        return _Prepared(dataset, features, sample, threading.Lock())

    def start(
        self,
        data: TrainingSet,
        prepared: _Prepared,
        hyperparameters: LightGBMHyperparameters,
        threads: int,
        checkpoint: bytes | None,
    ) -> "_Boosting":
        """Boosting at round 0, or at the round of the checkpoint."""
        return _Boosting(data, prepared, hyperparameters, threads, checkpoint)

    def finish(
        self,
        data: TrainingSet,
        hyperparameters: LightGBMHyperparameters,
        progress: TrainingProgress,
        checkpoint: bytes,
    ) -> bytes:
        """Cut back to the best round, take weight and undersampling out of the scores, and write UBJSON."""
        trees, sample = Trees.from_bytes(checkpoint), fit_sample(data, hyperparameters)
        best = progress.best_round if progress.patience is not None else progress.rounds
        base = sample.log_odds + float(np.log(sample.odds_factor))
        return to_ubjson(trees.part(0, best), len(data.table.feature_names), "binary:logistic", base)

    def load(self, model: bytes) -> BoosterModel:
        """Read UBJSON. :raises ValueError: not a model."""
        return BoosterModel(load_booster(model))


class _Boosting:
    """A run in memory."""

    def __init__(
        self,
        data: TrainingSet,
        prepared: _Prepared,
        hyperparameters: LightGBMHyperparameters,
        threads: int,
        checkpoint: bytes | None,
    ) -> None:
        self._prepared = prepared
        self._hyperparameters = hyperparameters
        self._threads = threads
        self._validation = np.asarray(data.features(data.split.validation))
        self._labels = data.labels(data.split.validation)
        sample = prepared.sample
        self._fit_margins = np.full(len(prepared.features), sample.log_odds)
        self._margins = np.full(len(self._validation), sample.log_odds + np.log(sample.odds_factor))
        self._trees: list[Trees] = []
        if checkpoint is not None:
            trees = Trees.from_bytes(checkpoint)
            for first in range(trees.tree_count):
                self._take(trees.part(first, first + 1))

    @property
    def rounds(self) -> int:
        """Trees grown so far."""
        return len(self._trees)

    def advance(self) -> RoundFigures:
        """Grow one tree and evaluate the sum."""
        lightgbm = _load()
        seed = round_seed(self._hyperparameters.seed, self.rounds)
        parameters = {**tree_parameters(self._hyperparameters, self._threads), "seed": seed}
        with self._prepared.lock:
            self._prepared.dataset.set_init_score(self._fit_margins)
            booster = lightgbm.Booster(parameters, self._prepared.dataset)
        booster.update()
        self._take(of_lightgbm(booster.model_to_string()))
        return labelled_figures(1 / (1 + np.exp(-self._margins)), self._labels)

    def checkpoint(self) -> bytes:
        """All trees so far."""
        return Trees.joined(self._trees).to_bytes()

    def _take(self, tree: Trees) -> None:
        booster = load_booster(to_ubjson(tree, self._validation.shape[1], "reg:squarederror"))
        booster.set_param({"nthread": self._threads})
        self._fit_margins += raw_predict(booster, self._prepared.features)
        self._margins += raw_predict(booster, self._validation)
        self._trees.append(tree)


def _load() -> Any:
    """``lightgbm``, after XGBoost: its loader tells OpenMP's threads to sleep while they wait."""
    load_xgboost()
    import lightgbm

    return lightgbm


def tree_parameters(hyperparameters: LightGBMHyperparameters, threads: int) -> dict[str, Any]:
    """LightGBM's own parameters."""
    kept = hyperparameters.model_dump(
        exclude={
            "n_estimators",
            "scale_pos_weight",
            "undersampling",
            "half_life_days",
            "early_stopping_rounds",
            "max_depth",
            "seed",
        }
    )
    return {
        **kept,
        "max_depth": hyperparameters.max_depth or -1,
        "subsample_freq": 1 if hyperparameters.subsample < 1 else 0,
        "objective": "binary",
        "boost_from_average": False,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": threads,
        "verbosity": -1,
    }


def of_lightgbm(model: str) -> Trees:
    """The trees of a model in LightGBM's text form.

    :raises ValueError: categorical or linear trees, or zeros taken for missing values, which this app never asks for.
    """
    return Trees.joined(_tree(block) for block in model.split("\nTree=")[1:])


def _tree(block: str) -> Trees:
    fields = dict(line.split("=", 1) for line in block.split("\n\n")[0].splitlines() if "=" in line)
    leaves = int(fields["num_leaves"])
    inner = leaves - 1

    def column(name: str, size: int) -> npt.NDArray[np.float64]:
        # A tree that found nothing to split is one leaf, without a weight.
        return np.array(fields.get(name, "").split() or ["0"] * size, dtype=np.float64)

    decisions = column("decision_type", inner).astype(np.int64)
    kinds = decisions & _MISSING_TYPE
    if (decisions & _CATEGORICAL).any() or (kinds == _ZERO).any() or fields.get("is_linear", "0") != "0":
        raise ValueError("a tree that XGBoost cannot say")
    threshold = column("threshold", inner)
    # Where training saw no missing value in a feature, LightGBM takes a missing value for zero.
    missing_left = np.where(kinds == _NAN, (decisions & _DEFAULT_LEFT) > 0, threshold >= 0)
    left = _children(column("left_child", inner), inner, leaves)
    right = _children(column("right_child", inner), inner, leaves)
    cover = np.concatenate((np.zeros(inner), np.maximum(column("leaf_weight", leaves), 1e-6)))
    for node in reversed(range(inner)):  # children come after their parents
        cover[node] = cover[left[node]] + cover[right[node]]
    return one_tree(
        left,
        right,
        _nodes(column("split_feature", inner), leaves).astype(np.int64),
        _nodes(threshold, leaves),
        _nodes(missing_left, leaves),
        np.concatenate((column("internal_value", inner), column("leaf_value", leaves))),
        cover,
    )


def _children(given: npt.NDArray[np.float64], inner: int, leaves: int) -> npt.NDArray[np.int32]:
    """LightGBM numbers inner nodes from 0 up and leaves from -1 down; here leaves follow the inner nodes."""
    number = given.astype(np.int32)
    return _nodes(np.where(number < 0, inner - number - 1, number), leaves, -1).astype(np.int32)


def _nodes(of_inner: npt.NDArray[Any], leaves: int, of_leaf: int = 0) -> npt.NDArray[Any]:
    return np.concatenate((of_inner, np.full(leaves, of_leaf, dtype=of_inner.dtype)))
