"""Random forest: scikit-learn grows it some trees a round, XGBoost's predictor serves it.

Every round's trees come from a seed that the round number gives, so a run goes on from the converted trees alone. The
share of frauds in a leaf is drawn towards the base rate by two rows (the m-estimate of Cestnik 1990: a leaf of few rows
is not certain) and then corrected for weight and undersampling. The score is the mean over trees: a probability whose
parts add up without a link function, so contributions are in probability.
"""

from collections.abc import Hashable, Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from shared.training.algorithms.base import Features, Hyperparameters, LabelledHyperparameters
from shared.training.algorithms.booster import BoosterModel, load_booster, raw_predict
from shared.training.algorithms.figures import labelled_figures
from shared.training.algorithms.imbalance import FitSample, fit_sample, round_seed, rows_left_out
from shared.training.algorithms.trees import Trees, of_scikit_learn, to_ubjson
from shared.training.progress import RoundFigures, TrainingProgress
from shared.training.training_set import TrainingSet

TREES_A_ROUND = 4
_PRIOR_ROWS = 2.0  # at the base rate, that every leaf is taken to have besides its own


class RandomForestHyperparameters(LabelledHyperparameters):
    """Defaults for 0.1 to 5 % fraud; bounded so that explaining a transaction takes milliseconds."""

    n_estimators: int = Field(100, ge=1, le=1000, description=f"Trees; they grow {TREES_A_ROUND} a round")
    max_depth: int = Field(10, ge=1, le=20, description="Deepest level of a tree; explaining costs its square")
    min_samples_leaf: int = Field(20, ge=1, description="Fewest rows in a leaf: more is more cautious")
    subsample: float = Field(0.5, gt=0, le=1, description="Rows that a tree draws, with replacement, as a share of all")
    max_features: Annotated[float, Field(gt=0, le=1)] | Literal["sqrt", "log2"] = Field(
        "sqrt", description="Features that a split may choose from: a share, or the root or log of all"
    )
    max_rows: int = Field(
        200_000, ge=1000, le=2_000_000, description="Most rows to learn from: frauds first, genuine ones by lot"
    )


class _Prepared(NamedTuple):
    features: Features
    sample: FitSample


class RandomForest:
    """The algorithm ``random_forest``."""

    name: ClassVar[str] = "random_forest"
    title: ClassVar[str] = "Random forest (scikit-learn)"
    description: ClassVar[str] = (
        "Averages many independent trees: robust without tuning, slower to explain; exact SHAP values in probability."
    )
    needs_labels: ClassVar[bool] = True
    model_file: ClassVar[str] = "model.ubj"
    hyperparameters: ClassVar[type[Hyperparameters]] = RandomForestHyperparameters
    search_space: ClassVar[Mapping[str, Any]] = {
        "max_depth": [6, 8, 10, 14],
        "min_samples_leaf": {"low": 1, "high": 50, "log": True},
        "max_features": ["sqrt", 0.3, 0.6],
        "scale_pos_weight": ["none", "sqrt", "balanced"],
    }
    requires: str | None = None

    def warnings(self, data: TrainingSet, hyperparameters: RandomForestHyperparameters) -> list[str]:
        """Rows beyond ``max_rows``."""
        return rows_left_out(data, hyperparameters.max_rows)

    def total_rounds(self, hyperparameters: RandomForestHyperparameters) -> int:
        """Blocks of trees."""
        return -(-hyperparameters.n_estimators // TREES_A_ROUND)

    def patience(self, hyperparameters: RandomForestHyperparameters) -> None:
        """More trees never make a forest worse."""
        return

    def matrix_key(self, hyperparameters: RandomForestHyperparameters, threads: int) -> Hashable:
        """The rows drawn and their weight."""
        return self.name, *hyperparameters.model_dump(
            include={*LabelledHyperparameters.model_fields, "max_rows"}
        ).items()

    def prepare(self, data: TrainingSet, hyperparameters: RandomForestHyperparameters, threads: int) -> _Prepared:
        """The rows to learn from, copied: scikit-learn does not take an array that it may not write to."""
        sample = fit_sample(data, hyperparameters, hyperparameters.max_rows)
        return _Prepared(np.array(sample.features(data)), sample)

    def start(
        self,
        data: TrainingSet,
        prepared: _Prepared,
        hyperparameters: RandomForestHyperparameters,
        threads: int,
        checkpoint: bytes | None,
    ) -> "_Growing":
        """A forest without trees, or with those of the checkpoint."""
        return _Growing(data, prepared, hyperparameters, threads, checkpoint)

    def finish(
        self,
        data: TrainingSet,
        hyperparameters: RandomForestHyperparameters,
        progress: TrainingProgress,
        checkpoint: bytes,
    ) -> bytes:
        """The trees as UBJSON, each leaf divided by their number."""
        return _averaged(Trees.from_bytes(checkpoint), len(data.table.feature_names))

    def load(self, model: bytes) -> BoosterModel:
        """Read UBJSON. :raises ValueError: not a model."""
        return BoosterModel(load_booster(model), unit="probability")


class _Growing:
    """A run in memory. ``_sum`` adds up what each round's trees say of the validation rows."""

    def __init__(
        self,
        data: TrainingSet,
        prepared: _Prepared,
        hyperparameters: RandomForestHyperparameters,
        threads: int,
        checkpoint: bytes | None,
    ) -> None:
        self._prepared = prepared
        self._hyperparameters = hyperparameters
        self._threads = threads
        self._validation = np.asarray(data.features(data.split.validation))
        self._labels = data.labels(data.split.validation)
        self._sum = np.zeros(len(self._labels))
        self._blocks: list[Trees] = []
        if checkpoint is not None:
            trees = Trees.from_bytes(checkpoint)
            for first in range(0, trees.tree_count, TREES_A_ROUND):
                self._take(trees.part(first, first + TREES_A_ROUND))

    @property
    def rounds(self) -> int:
        """Blocks of trees grown so far."""
        return len(self._blocks)

    def advance(self) -> RoundFigures:
        """Grow some trees and evaluate the forest."""
        from sklearn.ensemble import RandomForestClassifier

        given = self._hyperparameters
        sample = self._prepared.sample
        forest = RandomForestClassifier(
            n_estimators=min(TREES_A_ROUND, given.n_estimators - TREES_A_ROUND * self.rounds),
            max_depth=given.max_depth,
            min_samples_leaf=given.min_samples_leaf,
            max_features=given.max_features,
            max_samples=max(1, round(given.subsample * len(sample.labels))),
            class_weight={0: 1.0, 1: sample.weight},
            random_state=round_seed(given.seed, self.rounds),
            n_jobs=self._threads,
        ).fit(self._prepared.features, sample.labels, sample_weight=sample.recency)
        self._take(Trees.joined(_corrected(tree.tree_, sample) for tree in forest.estimators_))
        grown = sum(block.tree_count for block in self._blocks)
        return labelled_figures(np.clip(self._sum / grown, 0, 1), self._labels)

    def checkpoint(self) -> bytes:
        """All trees so far."""
        return Trees.joined(self._blocks).to_bytes()

    def _take(self, block: Trees) -> None:
        booster = load_booster(to_ubjson(block, self._validation.shape[1], "reg:squarederror"))
        booster.set_param({"nthread": self._threads})
        self._sum += raw_predict(booster, self._validation)
        self._blocks.append(block)


def _corrected(tree: Any, sample: FitSample) -> Trees:
    """A tree whose values are probabilities in the data as it is, and whose covers count rows of it."""
    share: npt.NDArray[np.float64] = tree.value[:, 0, 1]
    rows = tree.weighted_n_node_samples
    prior = 1 / (1 + np.exp(-sample.log_odds))
    drawn = (share * rows + _PRIOR_ROWS * prior) / (rows + _PRIOR_ROWS)
    fraud, genuine = drawn * sample.odds_factor, 1 - drawn
    return of_scikit_learn(tree, fraud / (fraud + genuine), rows * (share * sample.odds_factor + 1 - share))


def _averaged(trees: Trees, features: int) -> bytes:
    return to_ubjson(trees._replace(value=trees.value / np.float32(trees.tree_count)), features, "reg:squarederror")
