"""Judging a fitted model: curve and threshold from the validation part, the figures from the later test part."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.monitoring.profile import ScoreProfile, profile_scores
from shared.training.algorithms.base import FittedModel
from shared.training.breakdown import by_group, by_month
from shared.training.calibration import (
    CalibratedModel,
    CalibrationChoice,
    IsotonicCalibration,
    SigmoidCalibration,
    calibrate,
)
from shared.training.evaluation import ScoreCurve, evaluate
from shared.training.evidence import Evidence, explain
from shared.training.intervals import figure_intervals, method
from shared.training.model import EvaluationOptions, UntrainableData
from shared.training.resampling import Costs
from shared.training.review import ReviewDays
from shared.training.threshold import WITHOUT_LABELS, ReviewCapacity, ThresholdPolicy, choose_threshold
from shared.training.training_set import TrainingSet


@dataclass(frozen=True, slots=True)
class Assessment:
    """``metrics`` are the figures of the test part (:func:`figures_of_test`) and what became of calibration;
    ``validation`` are those of :func:`evaluate` on the part that chose the curve and the threshold.

    ``calibration``: the curve that every score here has gone through, None where there is none.
    ``feature_importance``: mean absolute contribution by feature, largest first.
    ``score_profile``: the distribution of the test scores, cut at the threshold.
    ``evidence``: the rows that the figures of the test part rest on.
    """

    threshold: float
    policy_met: bool
    calibration: SigmoidCalibration | IsotonicCalibration | None
    metrics: dict[str, Any]
    validation: dict[str, Any]
    feature_importance: dict[str, float]
    score_profile: ScoreProfile
    evidence: Evidence


def assess(
    model: FittedModel,
    data: TrainingSet,
    policy: ThresholdPolicy,
    options: EvaluationOptions | None = None,
    calibration: CalibrationChoice = "auto",
) -> Assessment:
    """Score the validation and test parts and draw the conclusions.

    :raises UntrainableData: the policy needs times and the data has none.
    """
    if not data.labelled:
        return _assess_without_labels(model, data, policy)
    split = data.split
    days = data.days(split.validation)
    if isinstance(policy, ReviewCapacity) and days is None:
        raise UntrainableData("review_capacity needs a dataset with a time column", target="threshold_policy")
    validation_scores = model.predict(data.features(split.validation))
    validation_labels = data.labels(split.validation)
    calibrated = calibrate(validation_scores, validation_labels, calibration)
    curve = calibrated.calibration
    scores = uncalibrated = model.predict(data.features(split.test))
    if curve is not None:
        validation_scores, scores = curve.apply(validation_scores), curve.apply(uncalibrated)
    choice = choose_threshold(ScoreCurve.of(validation_scores, validation_labels), policy, days)
    threshold = min(choice.threshold, 1.0)  # above a score of exactly 1 there is no probability left
    evidence = Evidence(
        scores=scores,
        labels=np.asarray(data.labels(split.test)),
        explanation=explain(model if curve is None else CalibratedModel(model, curve), data),
        days=data.days(split.test),
        uncalibrated=None if curve is None else uncalibrated,
    )
    figures = figures_of_test(evidence, data, threshold, policy, options or EvaluationOptions())
    return Assessment(
        threshold=threshold,
        policy_met=choice.met and threshold == choice.threshold,
        calibration=curve,
        metrics={**figures, "calibration": calibrated.to_json()},
        validation=evaluate(validation_scores, validation_labels, threshold),
        feature_importance=evidence.explanation.importance(data.table.feature_names),
        score_profile=profile_scores(scores, threshold),
        evidence=evidence,
    )


def _assess_without_labels(model: FittedModel, data: TrainingSet, policy: ThresholdPolicy) -> Assessment:
    """The threshold, and how many rows it flags; without labels nothing can be said of being right."""
    days, validation_scores = data.days(data.split.validation), model.predict(data.features(data.split.validation))
    if not isinstance(policy, WITHOUT_LABELS) or (isinstance(policy, ReviewCapacity) and days is None):
        raise UntrainableData(f"{policy.type} needs labels or times that are not there", target="threshold_policy")
    none_fraud = np.zeros(len(validation_scores), dtype=np.int8)
    choice = choose_threshold(ScoreCurve.of(validation_scores, none_fraud), policy, days)
    threshold = min(choice.threshold, 1.0)
    scores = model.predict(data.features(data.split.test))
    evidence = Evidence(scores=scores, labels=None, explanation=explain(model, data), days=data.days(data.split.test))
    return Assessment(
        threshold=threshold,
        policy_met=choice.met and threshold == choice.threshold,
        calibration=None,
        metrics=_flagged(scores, threshold),
        validation=_flagged(validation_scores, threshold),
        feature_importance=evidence.explanation.importance(data.table.feature_names),
        score_profile=profile_scores(scores, threshold),
        evidence=evidence,
    )


def _flagged(scores: npt.NDArray[np.float32], threshold: float) -> dict[str, Any]:
    return {"threshold": threshold, "rows": len(scores), "flag_rate": float((scores >= threshold).mean())}


def figures_of_test(
    evidence: Evidence, data: TrainingSet, threshold: float, policy: ThresholdPolicy, options: EvaluationOptions
) -> dict[str, Any]:
    """The figures of :func:`evaluate` on the test part, and beside them:

    - ``precision_at_capacity recall_at_capacity`` (None without times) with ``review``, what a team would find;
    - ``cost_per_transaction`` with ``cost`` (None where no costs are given);
    - ``intervals`` by the name of the figure, and the ``method`` they are made by;
    - ``by_month`` (empty without times) and ``by_group`` of each protected attribute.
    """
    scores, labels, test = evidence.scores, evidence.labels, data.split.test
    assert labels is not None
    figures, times, costs = evaluate(scores, labels, threshold), data.times(test), options.costs(policy)
    intervals = figure_intervals(scores, labels, figures, costs, times)
    review = None
    if times is not None:
        days = ReviewDays.of(scores, labels, times, options.review_capacity(policy))
        review = days.summary()
        intervals |= days.intervals()
    cost = None if costs is None else _cost(figures, costs)
    return {
        **figures,
        "precision_at_capacity": review and review["precision"],
        "recall_at_capacity": review and review["recall"],
        "cost_per_transaction": cost and cost["per_transaction"],
        "review": review,
        "cost": cost,
        "intervals": {"method": method(times), **intervals},
        "by_month": [] if times is None else by_month(scores, labels, times, threshold),
        "by_group": {
            name: by_group(scores, labels, attribute.codes[test], attribute.groups, threshold)
            for name, attribute in data.table.protected.items()
        },
    }


def _cost(figures: dict[str, Any], costs: Costs) -> dict[str, float]:
    """``without_model``: what letting everything through would cost."""
    count = figures["confusion"]
    total = costs.missed_fraud * count["false_negatives"] + costs.false_alarm * count["false_positives"]
    return {
        **costs._asdict(),
        "total": total,
        "per_transaction": total / figures["rows"],
        "without_model": costs.missed_fraud * figures["frauds"],
    }
