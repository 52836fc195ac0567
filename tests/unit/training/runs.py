"""Training runs in one process, in slices of given lengths."""

import threading
from typing import Any

from shared.training.algorithms import algorithm, parse
from shared.training.algorithms.base import FittedModel
from shared.training.progress import TrainingProgress
from shared.training.slices import SliceLimits, run_slice
from shared.training.training_set import TrainingSet

THREADS = 2
# Settings with which a run takes a second; every other one is the default.
QUICK: dict[str, dict[str, Any]] = {
    "xgboost": {"n_estimators": 20, "max_depth": 4, "early_stopping_rounds": None},
    "lightgbm": {"n_estimators": 20, "learning_rate": 0.1, "num_leaves": 8, "early_stopping_rounds": None},
    "random_forest": {"n_estimators": 16, "max_depth": 8},
    "logistic_regression": {},
    "neural_network": {"hidden_layer_sizes": [16, 8], "max_iter": 12, "batch_size": 128, "learning_rate_init": 0.01},
    "isolation_forest": {"n_estimators": 30, "contamination": 0.04},
}
LABELLED = [name for name in QUICK if algorithm(name).needs_labels]


def run(
    data: TrainingSet, name: str, cuts: tuple[int | None, ...] = (None,), **given: Any
) -> tuple[bytes, TrainingProgress]:
    """The model file of a run whose slices have so many rounds (None: to the end), each anew from its checkpoint."""
    entry, hyperparameters = algorithm(name), parse(name, {**QUICK[name], **given})
    progress = TrainingProgress(
        total_rounds=entry.total_rounds(hyperparameters), patience=entry.patience(hyperparameters), threads=THREADS
    )
    checkpoint: bytes | None = None
    for rounds in cuts:
        prepared = entry.prepare(data, hyperparameters, THREADS)
        trainer = entry.start(data, prepared, hyperparameters, THREADS, checkpoint)
        limits = SliceLimits(seconds=1e9, rounds=rounds)
        checkpoint = run_slice(trainer, progress, limits, threading.Event(), lambda _: None)
        progress = TrainingProgress.from_json(progress.to_json())
    assert progress.finished
    assert checkpoint is not None
    return entry.finish(data, hyperparameters, progress, checkpoint), progress


def fitted(data: TrainingSet, name: str, **given: Any) -> FittedModel:
    """The model of an uninterrupted run, read back."""
    return algorithm(name).load(run(data, name, **given)[0])
