"""A model's metadata and evidence, as evaluation leaves them."""

from typing import Any
from uuid import UUID

import numpy as np

from shared.training.evaluation import evaluate
from shared.training.evidence import Evidence, Explanation
from shared.training.intervals import figure_intervals, method

MONTHS = ("2024-01", "2024-02", "2024-03")


def evidence(rows: int = 4_000, features: int = 8, *, seed: int = 0, explained: int = 500) -> Evidence:
    """Scores that rank well, and SHAP values that follow the features' values; some values are missing."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(rows) < 0.02).astype(np.int8)
    labels[0], labels[-1] = 1, 0
    scores = 1 / (1 + np.exp(4 - 4 * labels - 1.5 * rng.normal(size=rows)))
    values = rng.normal(size=(min(explained, rows), features)).astype(np.float32)
    strength = np.linspace(1, 0, features, dtype=np.float32)
    contributions = np.column_stack((values * strength, np.full(len(values), -4))).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = np.nan
    return Evidence(scores.astype(np.float32), labels, Explanation(values, contributions), days=30.0)


def description(found: Evidence, names: list[str] | None = None, **changes: Any) -> dict[str, Any]:
    """Everything that metadata can say, with figures of ``found``."""
    names = names or [f"feature_{i}" for i in range(found.explanation.values.shape[1])]
    threshold = 0.5
    metrics: dict[str, Any] = {"threshold": threshold, "rows": len(found.scores)}
    if found.labels is not None:
        metrics = evaluate(found.scores, found.labels, threshold)
        metrics["validation"] = dict(metrics)
        metrics["intervals"] = {
            "method": method(),
            **figure_intervals(found.scores, found.labels, metrics, resamples=50),
        }
        metrics["by_month"] = [_month(name) for name in MONTHS]
        metrics["by_group"] = {"gender": _groups()}
        metrics["calibration"] = {
            "requested": "auto",
            "method": "sigmoid",
            "log_loss": {"none": 0.02, "sigmoid": 0.018, "isotonic": None},
        }
    rounds = list(range(1, 41))
    return {
        "model_id": UUID(int=7),
        "name": "card fraud",
        "algorithm": "xgboost",
        "hyperparameters": {"max_depth": 9},
        "feature_set_id": UUID(int=1),
        "dataset_id": UUID(int=2),
        "training_job_id": UUID(int=3),
        "feature_names": names,
        "threshold": threshold,
        "threshold_policy": {"type": "least_cost", "missed_fraud": 100.0, "false_alarm": 5.0, "met": True},
        "model_file": "model.ubj",
        "metrics": metrics,
        "feature_importance": found.explanation.importance(names),
        "training": {
            "split": {
                "rows": 5 * len(found.scores),
                "fit_end": 3 * len(found.scores),
                "train_end": 4 * len(found.scores),
                "ordered_by": "time",
                "validation_from": 1_700_000_000_000_000,
                "test_from": 1_710_000_000_000_000,
            },
            "rounds": 30,
            "best_round": 30,
            "curves": {
                "train": {"round": rounds[::5], "logloss": [1 / n for n in rounds[::5]]},
                "validation": {"round": rounds, "logloss": [1 / n + 0.1 for n in rounds], "aucpr": [0.5] * 40},
            },
            "search": _search(),
            "warnings": ["constant in the fitting part: feature_7"],
        },
        "versions": {"python": "3.12.1", "xgboost": "3.1"},
        **changes,
    }


def _month(name: str) -> dict[str, Any]:
    return {
        "month": name,
        "rows": 100,
        "frauds": 2,
        "fraud_rate": 0.02,
        "flag_rate": 0.03,
        "precision": 0.5,
        "recall": None,
        "fpr": 0.001,
        "auc_roc": 0.9,
        "auc_pr": 0.4,
    }


def _groups() -> dict[str, Any]:
    figures = {"selection_rate": 0.02, "tpr": 0.8, "fpr": 0.01, "precision": 0.5}
    known = {
        "group": "F",
        "rows": 400,
        "frauds": 9,
        "fraud_rate": 0.02,
        "mean_score": 0.03,
        **figures,
        "intervals": {name: {"low": value / 2, "high": value} for name, value in figures.items()},
    }
    unknown = {"group": "X", "rows": 3, "frauds": 0, "intervals": {}, **dict.fromkeys(figures)}
    return {"minimum_rows": 100, "missing_rows": 5, "groups": [known, unknown]}


def _search() -> dict[str, Any]:
    trial = {"rung": 0, "scores": [0.5], "rounds": 40, "seconds": 1.0, "reason": None}
    return {
        "method": "successive_halving",
        "metric": "auc_pr",
        "seed": 1,
        "resource": "rounds",
        "rungs": [0.25, 1.0],
        "space": {"max_depth": [3, 6, 9]},
        "winner": 1,
        "trials": [
            {"number": 0, "hyperparameters": {"max_depth": 3}, "status": "STOPPED", "score": 0.5, **trial},
            {"number": 1, "hyperparameters": {"max_depth": 9}, "status": "COMPLETED", "score": 0.7, **trial, "rung": 1},
            {
                "number": 2,
                "hyperparameters": {"max_depth": 6},
                "status": "FAILED",
                "score": None,
                **trial,
                "reason": "out of memory",
            },
        ],
    }
