"""Rare fraud: which rows are learned from, how much a fraud weighs, and what that does to the odds.

Drawing and weighting change the odds that a model learns by a known factor, and :attr:`FitSample.odds_factor` undoes
it: weighting frauds by w multiplies the odds by w (Saerens, Latinne, Decaestecker 2002); keeping a share beta of the
genuine rows divides them by beta, so that p = beta p_s / (1 - p_s + beta p_s) (Dal Pozzolo et al. 2015).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.training.algorithms.base import Features, LabelledHyperparameters
from shared.training.model import UntrainableData
from shared.training.training_set import UNKNOWN_TIME, TrainingSet, in_blocks


@dataclass(frozen=True, eq=False)
class FitSample:
    """The rows of the fitting part that a model learns from.

    ``rows``: sorted positions within the fitting part, shape (n,); None for all of it. ``labels``: theirs, int8.
    ``weight``: of a fraud relative to a genuine row. ``recency``: what each row weighs beside that for its age, float32
    of shape (n,), None where all weigh alike. ``odds_factor``: what the odds of a model that has learned from
    these rows with this weight must be multiplied by.
    """

    rows: npt.NDArray[np.int64] | None
    labels: npt.NDArray[np.int8]
    weight: float
    odds_factor: float
    recency: npt.NDArray[np.float32] | None = None

    @property
    def weights(self) -> npt.NDArray[np.float32]:
        """The weight of each row."""
        of_class = np.where(self.labels == 1, np.float32(self.weight), np.float32(1))
        return of_class if self.recency is None else of_class * self.recency

    @property
    def log_odds(self) -> float:
        """Of a fraud, as the weighted sample has it."""
        frauds = int(self.labels.sum())
        return math.log(self.weight * frauds / (len(self.labels) - frauds))

    def features(self, data: TrainingSet) -> Features:
        """Their features, shape (n, f): a view of the mapped file where all rows are used, else a copy."""
        fit = data.features(data.split.fit)
        return np.asarray(fit if self.rows is None else fit[self.rows])

    def blocks(self, data: TrainingSet, rows: int) -> Iterator[Features]:
        """Their features, at most ``rows`` rows at a time."""
        fit = data.features(data.split.fit)
        if self.rows is None:
            yield from in_blocks(fit, rows)
        else:
            for start in range(0, len(self.rows), rows):
                yield fit[self.rows[start : start + rows]]


def fit_sample(data: TrainingSet, hyperparameters: LabelledHyperparameters, max_rows: int | None = None) -> FitSample:
    """Draw the rows to learn from; equal seeds draw equal rows.

    Frauds stay as long as they are at most half of ``max_rows``; genuine rows make room.

    :raises UntrainableData: rows shall weigh by their age and the data has no times.
    """
    labels = np.asarray(data.labels(data.split.fit))
    frauds, genuine = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    all_frauds, all_genuine = len(frauds), len(genuine)
    rng = np.random.default_rng((hyperparameters.seed, 1))
    if max_rows is not None:
        frauds = _drawn(frauds, max_rows // 2, rng)
    wanted = all_genuine if max_rows is None else max_rows - len(frauds)
    if hyperparameters.undersampling is not None:
        wanted = min(wanted, max(1, round(hyperparameters.undersampling * len(frauds))))
    genuine = _drawn(genuine, wanted, rng)
    kept = (len(genuine) / all_genuine) / (len(frauds) / all_frauds)
    rows = None
    if len(frauds) + len(genuine) < len(labels):
        rows = np.sort(np.concatenate((frauds, genuine)))
        labels = labels[rows]
    weight = fraud_weight(hyperparameters.scale_pos_weight, labels)
    recency = None
    if hyperparameters.half_life_days is not None:
        recency = _recency(data, hyperparameters.half_life_days)
        recency = recency if rows is None else recency[rows]
    return FitSample(rows, labels, weight, kept / weight, recency)


def _recency(data: TrainingSet, half_life_days: float) -> npt.NDArray[np.float32]:
    """What each row of the fitting part weighs for its age, at least a millionth; one whose time is unknown is as old
    as the oldest."""
    times = data.times(data.split.fit)
    if times is None:
        raise UntrainableData("half_life_days needs a dataset with a time column", target="hyperparameters")
    oldest = times[times != UNKNOWN_TIME].min(initial=times[-1])
    days = (times[-1] - np.maximum(times, oldest)) / 86_400e6
    weights: npt.NDArray[np.float32] = np.maximum(np.exp2(-days / half_life_days), 1e-6).astype(np.float32)
    return weights


def rows_left_out(data: TrainingSet, max_rows: int) -> list[str]:
    """A warning where the fitting part has more rows than an algorithm takes."""
    rows = len(data.labels(data.split.fit))
    if rows <= max_rows:
        return []
    return [f"of {rows:,} rows in the fitting part {max_rows:,} are learned from (max_rows), frauds first"]


def fraud_weight(choice: float | str, labels: npt.NDArray[np.int8]) -> float:
    """The weight of a fraud row relative to a genuine one."""
    if isinstance(choice, int | float):
        return float(choice)
    frauds = int(labels.sum())
    ratio = (len(labels) - frauds) / frauds
    return {"none": 1.0, "sqrt": math.sqrt(ratio), "balanced": ratio}[choice]


def round_seed(seed: int, number: int) -> int:
    """The seed of a round, so that no round depends on where the one before was computed."""
    return (seed * 1_000_003 + number + 1) % 2**31


def _drawn(positions: npt.NDArray[np.int64], count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    return positions if len(positions) <= count else rng.choice(positions, count, replace=False)
