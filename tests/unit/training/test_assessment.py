"""The verdict on a model: figures of the test part, and the curve and threshold that the validation part chose."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from shared.training.algorithms.base import ExplanationKind, Features
from shared.training.assessment import Assessment, assess
from shared.training.calibration import CalibratedModel, CalibrationChoice, SigmoidCalibration
from shared.training.evaluation import evaluate
from shared.training.model import EvaluationOptions, UntrainableData
from shared.training.threshold import LeastCost, MaxF1, ReviewCapacity
from shared.training.training_set import TrainingSet
from tests.unit.training.conftest import NAMES, learnable_frame, training_set


@dataclass(frozen=True)
class _Logistic:
    """A model whose margin is ``slope`` times amount less ``shift``; missing counts as 0."""

    slope: float = 1.5
    shift: float = 4.0
    explanation: ExplanationKind = field(default_factory=ExplanationKind)
    rounds: int = 1
    feature_count: int = len(NAMES)

    def predict(self, features: Features) -> np.ndarray:
        margin = self.contributions(features).sum(axis=1)
        return np.asarray(1 / (1 + np.exp(-margin)), dtype=np.float32)

    def contributions(self, features: Features) -> Features:
        found = np.zeros((len(features), len(NAMES) + 1), dtype=np.float32)
        found[:, 0] = self.slope * np.nan_to_num(features[:, 0])
        found[:, -1] = -self.shift
        return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    """Forty thousand transactions over some months, with a protected attribute."""
    rows = 40_000
    frame = learnable_frame(rows).with_columns(
        pl.Series("__protected_gender", np.array(["F", "M"])[np.arange(rows) % 2]),
        (pl.datetime(2024, 1, 1, time_unit="us", time_zone="UTC") + pl.duration(minutes=pl.int_range(rows) * 8)).alias(
            "__time"
        ),
    )
    return training_set(frame, tmp_path_factory.mktemp("assessed"))


def _assessed(data: TrainingSet, calibration: CalibrationChoice = "none", **model: float) -> Assessment:
    return assess(_Logistic(**model), data, MaxF1(), calibration=calibration)  # type: ignore[arg-type]


def test_every_figure_has_an_interval_around_it(data: TrainingSet) -> None:
    """Flat figures keep their names; each has its interval, and all of it is plain JSON."""
    metrics = _assessed(data).metrics
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert metrics["intervals"].pop("method")["level"] == 0.95
    for name, interval in metrics["intervals"].items():
        assert interval["low"] <= metrics[name] <= interval["high"], name
    assert {"precision", "recall", "f1_score", "fpr", "auc_roc", "auc_pr", "brier", "calibration_error"} < set(
        metrics["intervals"]
    )


def test_the_test_part_is_broken_down_completely(data: TrainingSet) -> None:
    """Months, groups and days of review add up to the whole test part."""
    metrics = _assessed(data).metrics
    groups = metrics["by_group"]["gender"]["groups"]
    assert [group["group"] for group in groups] == ["F", "M"]
    for parts in (metrics["by_month"], groups):
        assert sum(part["rows"] for part in parts) == metrics["rows"]
        assert sum(part["frauds"] for part in parts) == metrics["frauds"]
    assert len(metrics["by_month"]) > 1
    assert metrics["review"]["per_day"] == 100
    assert metrics["recall_at_capacity"] == metrics["review"]["frauds_found"] / metrics["frauds"]
    assert metrics["cost"] is metrics["cost_per_transaction"] is None


def test_costs_and_capacity_come_from_the_request_or_else_from_the_policy(data: TrainingSet) -> None:
    """What the evaluation names is used; a policy that has the number lends it."""
    policy = LeastCost(type="least_cost", missed_fraud=120, false_alarm=4)
    verdict = assess(_Logistic(), data, policy)
    count, cost = verdict.metrics["confusion"], verdict.metrics["cost"]
    assert cost["total"] == 120 * count["false_negatives"] + 4 * count["false_positives"]
    assert cost["per_transaction"] == verdict.metrics["cost_per_transaction"] == cost["total"] / verdict.metrics["rows"]
    assert cost["total"] < cost["without_model"] == 120 * verdict.metrics["frauds"]
    interval = verdict.metrics["intervals"]["cost_total"]
    assert interval["low"] < cost["total"] < interval["high"]

    options = EvaluationOptions(review_capacity_per_day=7, missed_fraud_cost=10, false_alarm_cost=1)
    given = assess(_Logistic(), data, policy, options).metrics
    assert (given["cost"]["missed_fraud"], given["review"]["per_day"]) == (10, 7)
    assert given["threshold"] == verdict.threshold  # the policy's own costs choose it
    lent = assess(_Logistic(), data, ReviewCapacity(type="review_capacity", per_day=9)).metrics
    assert lent["review"]["per_day"] == 9


@pytest.mark.parametrize(
    "given",
    [
        {"missed_fraud_cost": 5},
        {"review_capacity_per_day": 0},
        {"missed_fraud_cost": -1, "false_alarm_cost": 1},
        {"missed_fraud_cost": float("inf"), "false_alarm_cost": 1},
        {"currency": "EUR"},
    ],
)
def test_options_that_say_nothing_sensible_are_refused(given: dict[str, float]) -> None:
    """One cost alone, nothing to review, costs that are not positive numbers, unknown names."""
    with pytest.raises(ValidationError):
        EvaluationOptions.model_validate(given)


def test_without_times_there_are_no_days_and_months(tmp_path: Path) -> None:
    """The other figures stay, and what a review policy cannot do is said."""
    data = training_set(learnable_frame().drop("__time"), tmp_path)
    metrics = _assessed(data).metrics
    assert metrics["review"] is metrics["precision_at_capacity"] is metrics["recall_at_capacity"] is None
    assert (metrics["by_month"], metrics["by_group"]) == ([], {})
    assert "precision_at_capacity" not in metrics["intervals"]
    with pytest.raises(UntrainableData, match="time column"):
        assess(_Logistic(), data, ReviewCapacity(type="review_capacity", per_day=9))


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibrating_changes_probabilities_and_not_decisions(data: TrainingSet, method: CalibrationChoice) -> None:
    """Scores that are too sure are put right: calibration improves, ranking stays, and so do the decisions."""
    before, after = _assessed(data, slope=5, shift=12), _assessed(data, method, slope=5, shift=12)
    assert after.metrics["calibration"]["method"] == method
    for name in ("brier", "log_loss", "calibration_error"):
        assert after.metrics[name] < before.metrics[name], name
    for name in ("auc_roc", "auc_pr", "recall_at_fpr_1pct", "precision_at_capacity"):
        assert after.metrics[name] == pytest.approx(before.metrics[name], abs=1e-6), name
    assert after.metrics["f1_score"] == pytest.approx(before.metrics["f1_score"], abs=0.003)
    assert after.evidence.uncalibrated is not None
    assert np.array_equal(after.evidence.uncalibrated, before.evidence.scores)
    assert before.evidence.uncalibrated is None


def test_what_is_judged_is_what_will_score(data: TrainingSet) -> None:
    """The model behind its curve gives the very scores that the figures rest on, explained to the same sum."""
    model = _Logistic(5, 12)
    verdict = assess(model, data, MaxF1(), calibration="auto")
    assert isinstance(verdict.calibration, SigmoidCalibration)
    served = CalibratedModel(model, verdict.calibration)
    features = np.asarray(data.features(data.split.test))
    assert np.array_equal(served.predict(features), verdict.evidence.scores)
    again = evaluate(served.predict(features), data.labels(data.split.test), verdict.threshold)
    assert {name: verdict.metrics[name] for name in again} == again
    margin = verdict.evidence.explanation.contributions.astype(np.float64).sum(axis=1)
    explained = served.predict(verdict.evidence.explanation.values)
    assert 1 / (1 + np.exp(-margin)) == pytest.approx(explained, abs=1e-5)
