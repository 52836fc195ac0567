"""Champion against challenger, from counts of pairs of decisions. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class Pairs:
    """How many predictions, and of what amount, had this pair of decisions; ``label`` is None where it is not known,
    ``challenger`` where it could not score.
    """

    champion: bool
    challenger: bool | None
    count: int
    amount: float
    label: bool | None = None


class Share(BaseModel):
    """Predictions and their amount."""

    count: int
    amount: float


class LabelledFigures(BaseModel):
    """One side's decisions where the truth is known; a ratio is None where nothing is below the line.

    ``value`` is money: fraud that it blocks minus genuine purchases that it blocks.
    """

    precision: float | None
    recall: float | None
    false_positive_rate: float | None
    fraud_blocked: Share
    fraud_missed: Share
    genuine_blocked: Share
    value: float


class LabelledComparison(BaseModel):
    """Both sides over the same labelled predictions."""

    count: int
    fraud: int
    champion: LabelledFigures
    challenger: LabelledFigures
    value_difference: float


class Decisions(BaseModel):
    """Both sides over all predictions of a period. ``agreement`` is a share of what both have scored."""

    followed: int
    scored: int
    not_scorable: int
    agreement: float | None
    both_blocked: Share
    both_approved: Share
    newly_blocked: Share
    newly_approved: Share


class Tenth(BaseModel):
    """Scores from ``low`` to a tenth above."""

    low: float
    champion: int
    challenger: int


class Scores(BaseModel):
    """How the scores of both lie to each other; ``correlation`` is Pearson's."""

    correlation: float | None
    champion_mean: float | None
    challenger_mean: float | None
    mean_absolute_difference: float | None
    tenths: list[Tenth]


class Disagreement(BaseModel):
    """A prediction that one blocks and the other approves."""

    prediction_id: UUID
    created_at: datetime
    champion_score: float
    challenger_score: float
    amount: float | None


class ShadowReport(BaseModel):
    """Champion against challenger over a period; ``followed_until`` says how far the challenger has come."""

    model_id: UUID
    champion_ids: list[UUID]
    active: bool
    period_start: datetime
    period_end: datetime
    followed_until: datetime
    decisions: Decisions
    scores: Scores
    labelled: LabelledComparison | None
    newly_blocked_examples: list[Disagreement]
    newly_approved_examples: list[Disagreement]


def compare_decisions(pairs: Iterable[Pairs]) -> Decisions:
    """Counts and amounts of what both agree on and of what would change."""
    found = list(pairs)
    scored = [pair for pair in found if pair.challenger is not None]
    total = sum(pair.count for pair in scored)
    agreed = sum(pair.count for pair in scored if pair.challenger == pair.champion)
    followed = sum(pair.count for pair in found)
    return Decisions(
        followed=followed,
        scored=total,
        not_scorable=followed - total,
        agreement=agreed / total if total else None,
        both_blocked=_share(pair for pair in scored if pair.champion and pair.challenger),
        both_approved=_share(pair for pair in scored if not pair.champion and not pair.challenger),
        newly_blocked=_share(pair for pair in scored if pair.challenger and not pair.champion),
        newly_approved=_share(pair for pair in scored if pair.champion and not pair.challenger),
    )


def compare_labelled(pairs: Iterable[Pairs]) -> LabelledComparison | None:
    """Precision, recall and money of both sides, None where no label is known.

    :param pairs: with their labels, of what both have scored.
    """
    found = [pair for pair in pairs if pair.label is not None and pair.challenger is not None]
    if not found:
        return None
    champion = _figures([(pair, pair.champion) for pair in found])
    challenger = _figures([(pair, bool(pair.challenger)) for pair in found])
    return LabelledComparison(
        count=sum(pair.count for pair in found),
        fraud=sum(pair.count for pair in found if pair.label),
        champion=champion,
        challenger=challenger,
        value_difference=round(challenger.value - champion.value, 2),
    )


def _figures(decided: list[tuple[Pairs, bool]]) -> LabelledFigures:
    fraud_blocked = _share(pair for pair, blocked in decided if pair.label and blocked)
    fraud_missed = _share(pair for pair, blocked in decided if pair.label and not blocked)
    genuine_blocked = _share(pair for pair, blocked in decided if not pair.label and blocked)
    genuine = sum(pair.count for pair, _ in decided if not pair.label)
    return LabelledFigures(
        precision=_ratio(fraud_blocked.count, fraud_blocked.count + genuine_blocked.count),
        recall=_ratio(fraud_blocked.count, fraud_blocked.count + fraud_missed.count),
        false_positive_rate=_ratio(genuine_blocked.count, genuine),
        fraud_blocked=fraud_blocked,
        fraud_missed=fraud_missed,
        genuine_blocked=genuine_blocked,
        value=round(fraud_blocked.amount - genuine_blocked.amount, 2),
    )


def _share(pairs: Iterable[Pairs]) -> Share:
    found = list(pairs)
    return Share(count=sum(pair.count for pair in found), amount=round(sum(pair.amount for pair in found), 2))


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
