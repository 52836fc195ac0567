"""Judging a fitted model: the threshold from the validation part, the figures from the later test part."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.monitoring.profile import FeatureProfile, profile_feature
from shared.training.algorithms.base import FittedModel
from shared.training.evaluation import ScoreCurve, evaluate
from shared.training.evidence import Evidence, explain
from shared.training.model import UntrainableData
from shared.training.threshold import ReviewCapacity, ThresholdPolicy, choose_threshold
from shared.training.training_set import TrainingSet


@dataclass(frozen=True, slots=True)
class Assessment:
    """``metrics`` are those of :func:`evaluate` on the test part; ``validation`` the same on the part that chose
    the threshold.

    ``feature_importance``: mean absolute SHAP value by feature, in log-odds, largest first.
    ``score_profile``: the distribution of the test scores.
    ``evidence``: the rows that the figures of the test part rest on.
    """

    threshold: float
    policy_met: bool
    metrics: dict[str, Any]
    validation: dict[str, Any]
    feature_importance: dict[str, float]
    score_profile: FeatureProfile
    evidence: Evidence


def assess(model: FittedModel, data: TrainingSet, policy: ThresholdPolicy) -> Assessment:
    """Score the validation and test parts and draw the conclusions.

    :raises UntrainableData: the policy needs times and the data has none.
    """
    split = data.split
    days = data.days(split.validation)
    if isinstance(policy, ReviewCapacity) and days is None:
        raise UntrainableData("review_capacity needs a dataset with a time column", target="threshold_policy")
    validation_scores = model.predict(data.features(split.validation))
    validation_labels = data.labels(split.validation)
    choice = choose_threshold(ScoreCurve.of(validation_scores, validation_labels), policy, days)
    threshold = min(choice.threshold, 1.0)  # above a score of exactly 1 there is no probability left
    labels = np.asarray(data.labels(split.test))
    evidence = Evidence(
        scores=model.predict(data.features(split.test)),
        labels=labels,
        explanation=explain(model, data),
        days=data.days(split.test),
    )
    return Assessment(
        threshold=threshold,
        policy_met=choice.met and threshold == choice.threshold,
        metrics=evaluate(evidence.scores, labels, threshold),
        validation=evaluate(validation_scores, validation_labels, threshold),
        feature_importance=evidence.explanation.importance(data.table.feature_names),
        score_profile=profile_feature("fraud_score", evidence.scores),
        evidence=evidence,
    )
