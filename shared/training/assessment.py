"""Judging a fitted model: the threshold from the validation part, the figures from the later test part."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from shared.monitoring.profile import FeatureProfile, profile_feature
from shared.training.algorithms.base import FittedModel
from shared.training.evaluation import ScoreCurve, evaluate
from shared.training.model import UntrainableData
from shared.training.threshold import ReviewCapacity, ThresholdPolicy, choose_threshold
from shared.training.training_set import TrainingSet

_EXPLAINED_ROWS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Assessment:
    """``metrics`` are those of :func:`evaluate` on the test part; ``validation`` the same on the part that chose
    the threshold.

    ``feature_importance``: mean absolute SHAP value by feature, in log-odds, largest first.
    ``score_profile``: the distribution of the test scores.
    """

    threshold: float
    policy_met: bool
    metrics: dict[str, Any]
    validation: dict[str, Any]
    feature_importance: dict[str, float]
    score_profile: FeatureProfile


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
    test_scores = model.predict(data.features(split.test))
    return Assessment(
        threshold=threshold,
        policy_met=choice.met and threshold == choice.threshold,
        metrics=evaluate(test_scores, data.labels(split.test), threshold),
        validation=evaluate(validation_scores, validation_labels, threshold),
        feature_importance=_importance(model, data),
        score_profile=profile_feature("fraud_score", test_scores),
    )


def _importance(model: FittedModel, data: TrainingSet) -> dict[str, float]:
    test = data.features(data.split.test)
    rows = np.unique(np.linspace(0, len(test) - 1, min(_EXPLAINED_ROWS, len(test))).astype(np.int64))
    strength = np.abs(model.contributions(test[rows])[:, :-1]).mean(axis=0)
    order = np.argsort(-strength, kind="stable")
    return {data.table.feature_names[i]: round(float(strength[i]), 6) for i in order}
