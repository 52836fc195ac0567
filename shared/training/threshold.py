"""From scores to decisions: the policies that choose a model's threshold.

A threshold is chosen on the validation part, never on the test part that the model is then judged on. Decisions are
``score >= threshold``.
"""

from dataclasses import dataclass
from typing import Annotated, Final, Literal, assert_never

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from shared.training.evaluation import Floats, ScoreCurve


class _Policy(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class MaxF1(_Policy):
    """The threshold with the highest F1 score."""

    type: Literal["max_f1"] = "max_f1"


class TargetPrecision(_Policy):
    """The highest recall at which at least ``precision`` of the flagged transactions are fraud."""

    type: Literal["target_precision"]
    precision: float = Field(gt=0, le=1, description="Smallest share of frauds among the flagged")


class FprLimit(_Policy):
    """The highest recall at which at most ``fpr`` of the genuine transactions are flagged."""

    type: Literal["fpr_limit"]
    fpr: float = Field(gt=0, lt=1, description="Largest share of genuine transactions flagged")


class ReviewCapacity(_Policy):
    """Flag the riskiest transactions, no more than ``per_day`` of them on an average day."""

    type: Literal["review_capacity"]
    per_day: float = Field(gt=0, description="Transactions that analysts can review in a day")


class LeastCost(_Policy):
    """The threshold at which missed frauds and false alarms together cost least."""

    type: Literal["least_cost"]
    missed_fraud: float = Field(gt=0, description="Cost of one fraud let through")
    false_alarm: float = Field(gt=0, description="Cost of one genuine transaction flagged, in the same currency")


class Fixed(_Policy):
    """A threshold set by hand."""

    type: Literal["fixed"]
    threshold: float = Field(ge=0, le=1, description="Flag transactions that score at least this")


ThresholdPolicy = Annotated[
    MaxF1 | TargetPrecision | FprLimit | ReviewCapacity | LeastCost | Fixed, Field(discriminator="type")
]


WITHOUT_LABELS: Final = (Fixed, ReviewCapacity)  # what can be chosen where nothing is labelled


@dataclass(frozen=True, slots=True)
class ThresholdChoice:
    """The threshold, and whether what the policy asks for could be had on the rows it was chosen on."""

    threshold: float
    met: bool


def choose_threshold(curve: ScoreCurve, policy: ThresholdPolicy, days: float | None = None) -> ThresholdChoice:
    """Apply a policy to a curve.

    Where the policy cannot be met (no threshold is that precise) the nearest thing is chosen and ``met`` is False:
    the most precise threshold, or one just above every score.

    :param curve: of the validation part.
    :param days: time that the curve's rows span; only ``review_capacity`` needs it.
    :raises ValueError: ``review_capacity`` without ``days``.
    """
    match policy:
        case Fixed(threshold=threshold):
            return ThresholdChoice(threshold, met=True)
        case MaxF1():
            return ThresholdChoice(_between(curve, int(np.argmax(curve.f1))), met=True)
        case TargetPrecision(precision=target):
            enough = np.flatnonzero(curve.precision >= target)
            best = int(enough[-1]) if len(enough) else int(np.argmax(curve.precision))
            return ThresholdChoice(_between(curve, best), met=len(enough) > 0)
        case FprLimit(fpr=limit):
            return _last_within(curve, curve.false_positive_rate, limit)
        case ReviewCapacity(per_day=per_day):
            if days is None:
                raise ValueError("review_capacity needs a dataset with a time column")
            return _last_within(curve, curve.flagged.astype(np.float64), per_day * days)
        case LeastCost(missed_fraud=missed, false_alarm=alarm):
            cost = missed * (curve.positives - curve.true_positives) + alarm * curve.false_positives
            best = int(np.argmin(cost))
            if cost[best] >= missed * curve.positives:  # flagging nothing is cheapest
                return ThresholdChoice(_above_all(curve), met=True)
            return ThresholdChoice(_between(curve, best), met=True)
        case _:
            assert_never(policy)


def _last_within(curve: ScoreCurve, rising: Floats, limit: float) -> ThresholdChoice:
    allowed = int(np.searchsorted(rising, limit, side="right"))
    if not allowed:
        return ThresholdChoice(_above_all(curve), met=False)
    return ThresholdChoice(_between(curve, allowed - 1), met=True)


def _between(curve: ScoreCurve, index: int) -> float:
    """Halfway to the next lower score, so that rounding a score in transport changes no decision."""
    score = float(curve.scores[index])
    if index + 1 == len(curve.scores):
        return score
    middle = (score + float(curve.scores[index + 1])) / 2
    return middle if middle > curve.scores[index + 1] else score


def _above_all(curve: ScoreCurve) -> float:
    return float(np.nextafter(curve.scores[0], np.inf))
