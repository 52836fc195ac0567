"""Isolation forest (Liu, Ting, Zhou 2008): how quickly random cuts set a row apart from the others. No labels needed.

scikit-learn grows it some trees a round, XGBoost's predictor serves it. A row's mean path length, which ranks rows as
the paper's score 2^(-E[h]/c) does, is put on the scale of log-odds by a straight line through two points: a path
typical of the fitting part (its median) scores ``contamination``, and the path that the shortest ``contamination`` of
the rows stay below scores 0.5. So scores behave like probabilities as long as ``contamination`` is a fair guess, 0.5 is
the threshold that flags that share, and exact SHAP values add up to the margin as they do for boosted trees.
"""

import math
from collections.abc import Hashable, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from shared.training.algorithms.base import Features, Hyperparameters
from shared.training.algorithms.booster import BoosterModel, load_booster, raw_predict
from shared.training.algorithms.imbalance import round_seed
from shared.training.algorithms.trees import Trees, of_scikit_learn, to_ubjson
from shared.training.progress import RoundFigures, TrainingProgress
from shared.training.training_set import TrainingSet

TREES_A_ROUND = 10
_POOL_ROWS = 65_536  # what one round's trees draw their rows from
_SCALE_ROWS = 200_000


class IsolationForestHyperparameters(Hyperparameters):
    """The defaults of the paper, and a guess of how much fraud there is."""

    n_estimators: int = Field(100, ge=1, le=1000, description=f"Trees; they grow {TREES_A_ROUND} a round")
    max_samples: int = Field(256, ge=2, le=4096, description="Rows that each tree draws")
    contamination: float = Field(
        0.01, gt=0, lt=0.5, description="Share of the rows to flag: about this share scores 0.5 or more"
    )


class IsolationForest:
    """The algorithm ``isolation_forest``."""

    name: ClassVar[str] = "isolation_forest"
    title: ClassVar[str] = "Isolation forest (scikit-learn)"
    description: ClassVar[str] = (
        "Finds unusual transactions without labels; labels, where there are any, choose the threshold and judge it."
    )
    needs_labels: ClassVar[bool] = False
    model_file: ClassVar[str] = "model.ubj"
    hyperparameters: ClassVar[type[Hyperparameters]] = IsolationForestHyperparameters
    search_space: ClassVar[Mapping[str, Any]] = {
        "max_samples": {"low": 64, "high": 4096, "log": True},
    }
    requires: str | None = None

    def warnings(self, data: TrainingSet, hyperparameters: IsolationForestHyperparameters) -> list[str]:
        """None: every row has its chance of being drawn."""
        return []

    def total_rounds(self, hyperparameters: IsolationForestHyperparameters) -> int:
        """Blocks of trees."""
        return -(-hyperparameters.n_estimators // TREES_A_ROUND)

    def patience(self, hyperparameters: IsolationForestHyperparameters) -> None:
        """There is nothing to improve on."""
        return

    def matrix_key(self, hyperparameters: IsolationForestHyperparameters, threads: int) -> Hashable:
        """The rows are used as they are."""
        return self.name

    def prepare(self, data: TrainingSet, hyperparameters: IsolationForestHyperparameters, threads: int) -> None:
        """Nothing: rounds read the few rows that they draw."""
        return

    def start(
        self,
        data: TrainingSet,
        prepared: None,
        hyperparameters: IsolationForestHyperparameters,
        threads: int,
        checkpoint: bytes | None,
    ) -> "_Growing":
        """A forest without trees, or with those of the checkpoint."""
        return _Growing(data, hyperparameters, None if checkpoint is None else Trees.from_bytes(checkpoint))

    def finish(
        self,
        data: TrainingSet,
        hyperparameters: IsolationForestHyperparameters,
        progress: TrainingProgress,
        checkpoint: bytes,
    ) -> bytes:
        """The trees as UBJSON, path lengths on the scale of log-odds."""
        trees, width = Trees.from_bytes(checkpoint), len(data.table.feature_names)
        slope, intercept = _scale(mean_path_lengths(trees, _evenly(data)), hyperparameters.contamination)
        # The intercept is spread over the leaves: as a base score it would pass through a probability near 1.
        value = (slope * trees.value.astype(np.float64) + intercept) / trees.tree_count
        return to_ubjson(trees._replace(value=value.astype(np.float32)), width, "binary:logistic")

    def load(self, model: bytes) -> BoosterModel:
        """Read UBJSON. :raises ValueError: not a model."""
        return BoosterModel(load_booster(model))


class _Growing:
    """A run in memory."""

    def __init__(self, data: TrainingSet, hyperparameters: IsolationForestHyperparameters, trees: Trees | None) -> None:
        self._data = data
        self._hyperparameters = hyperparameters
        self._blocks = [] if trees is None else [trees.part(i, i + TREES_A_ROUND) for i in _firsts(trees)]

    @property
    def rounds(self) -> int:
        """Blocks of trees grown so far."""
        return len(self._blocks)

    def advance(self) -> RoundFigures:
        """Grow some trees; the figures say how deep they put the validation rows."""
        from sklearn.ensemble import IsolationForest as Forest

        given = self._hyperparameters
        seed = round_seed(given.seed, self.rounds)
        fit = self._data.features(self._data.split.fit)
        if len(fit) > _POOL_ROWS:
            fit = fit[np.sort(np.random.default_rng(seed).choice(len(fit), _POOL_ROWS, replace=False))]
        forest = Forest(
            n_estimators=min(TREES_A_ROUND, given.n_estimators - TREES_A_ROUND * self.rounds),
            max_samples=min(given.max_samples, len(fit)),
            random_state=seed,
        ).fit(np.array(fit))
        self._blocks.append(Trees.joined(_with_path_lengths(tree.tree_) for tree in forest.estimators_))
        paths = mean_path_lengths(self._blocks[-1], self._data.features(self._data.split.validation))
        # Improvement has no meaning without labels: the last round counts as the best.
        return RoundFigures(float(self.rounds), {"mean_path_length": float(paths.mean())}, {})

    def checkpoint(self) -> bytes:
        """All trees so far."""
        return Trees.joined(self._blocks).to_bytes()


def mean_path_lengths(trees: Trees, features: Features) -> npt.NDArray[np.float64]:
    """E[h] of each row, shape (n,): the mean over trees of its leaf's depth plus what the leaf's rows would add."""
    booster = load_booster(to_ubjson(trees, features.shape[1], "reg:squarederror"))
    return raw_predict(booster, features).astype(np.float64) / trees.tree_count


def average_path_length(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """c(n), the mean depth of an unsuccessful search in a binary tree of n rows (Liu et al. 2008, equation 1)."""
    many = np.maximum(rows, 3)
    long = 2 * (np.log(many - 1) + np.euler_gamma) - 2 * (many - 1) / many
    return np.select([rows <= 1, rows <= 2], [0.0, 1.0], long)


def _with_path_lengths(tree: Any) -> Trees:
    rows = tree.n_node_samples.astype(np.float64)
    depth = tree.compute_node_depths() - 1.0
    return of_scikit_learn(tree, depth + average_path_length(rows), rows)


def _scale(paths: npt.NDArray[np.float64], contamination: float) -> tuple[float, float]:
    """Slope and intercept of the line from path lengths to log-odds; flat where all paths are alike."""
    cut, middle = np.quantile(paths, [contamination, 0.5])
    typical = math.log(contamination / (1 - contamination))
    if middle - cut < 1e-6:
        return 0.0, typical
    slope = typical / float(middle - cut)
    return slope, -slope * float(cut)


def _firsts(trees: Trees) -> range:
    return range(0, trees.tree_count, TREES_A_ROUND)


def _evenly(data: TrainingSet) -> Features:
    """At most 200,000 rows of the fitting part, evenly spaced."""
    fit = data.features(data.split.fit)
    return fit[:: -(-len(fit) // _SCALE_ROWS)]
