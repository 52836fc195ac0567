"""Transactions to score, and predictions as they are stored and answered."""

from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator

from shared.platform.errors import FieldError, InvalidContent

if TYPE_CHECKING:
    from shared.training.algorithms.base import ExplanationKind

MOST_AT_ONCE = 1000
_MAX_FIELDS = 500
_MAX_NAME = 200
MAX_TEXT = 10_000
MAX_TRANSACTION_ID = 255


class ScoreRequest(BaseModel):
    """One transaction, by the column names of the dataset that the model was trained on."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    transaction: dict[str, Any] = Field(min_length=1, max_length=_MAX_FIELDS)
    model_id: UUID | None = Field(None, description="A model in STAGING or PRODUCTION; default: the one in production.")

    @field_validator("transaction")
    @classmethod
    def _flat_and_finite(cls, value: dict[str, Any]) -> dict[str, Any]:
        if max(map(len, value)) > _MAX_NAME:
            raise ValueError(f"field names must have at most {_MAX_NAME} characters")
        if all(map(_is_fine, value.values())):
            return value
        if problems := [f"{name} {reason}" for name, item in value.items() if (reason := refusal(item))]:
            raise ValueError("; ".join(problems[:20]))
        return value


class BatchScoreRequest(BaseModel):
    """Up to 1,000 transactions; each is checked by itself, as :class:`ScoreRequest` says."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    transactions: list[Any] = Field(min_length=1, max_length=MOST_AT_ONCE)
    model_id: UUID | None = Field(None, description="A model in STAGING or PRODUCTION; default: the one in production.")


def _is_fine(value: object) -> bool:
    """What :func:`refusal` finds nothing wrong with, told in a third of the time."""
    kind = value.__class__
    if kind is float:
        return isfinite(value)  # type: ignore[arg-type]  # a float
    return value is None or kind is int or kind is bool or (kind is str and len(value) <= MAX_TEXT)  # type: ignore[arg-type]


def refusal(value: object) -> str | None:
    """Why a transaction may not hold this value, if so."""
    if isinstance(value, float):
        return None if isfinite(value) else "must be a finite number"
    if isinstance(value, str):
        return None if len(value) <= MAX_TEXT else f"must have at most {MAX_TEXT} characters"
    if value is None or isinstance(value, bool | int):
        return None
    return "must be a number, a string, true, false or null"


def transaction_id(transaction: dict[str, Any], id_column: str | None) -> str | None:
    """The transaction's own id: ``transaction_id``, else the plan's id column, as text.

    :raises InvalidContent: it is neither text nor an integer, or longer than 255 characters.
    """
    field = "transaction_id" if "transaction_id" in transaction else id_column
    value = None if field is None else transaction.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidContent("the transaction id is not valid", details=[FieldError(str(field), "must be a string")])
    text = str(value)
    if not 0 < len(text) <= MAX_TRANSACTION_ID:
        reason = f"must have 1 to {MAX_TRANSACTION_ID} characters"
        raise InvalidContent("the transaction id is not valid", details=[FieldError(str(field), reason)])
    return text


class Prediction(BaseModel):
    """A row of ``predictions``."""

    model_config = ConfigDict(protected_namespaces=())

    id: UUID
    model_id: UUID
    transaction_id: str | None
    input_features: dict[str, Any]
    fraud_score: float
    is_fraud: bool
    confidence: float | None
    explanation: dict[str, Any] | None
    actual_label: bool | None
    labeled_at: datetime | None
    latency_ms: int | None
    created_at: datetime


Direction = Literal["raises", "lowers"]


@dataclass(frozen=True, slots=True)
class Reason:
    """One feature's part in a score, in the unit of the model's explanation; positive towards fraud.

    ``code`` is the catalogue's, ``direction`` says which way the feature moved the score, ``text`` says it in words.
    """

    code: str
    feature: str
    contribution: float
    value: float | None
    direction: Direction
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Shapley values. ``kind`` says how they were made, and what ``base_value`` plus all contributions is: the
    margin whose sigmoid is the score, or the score itself; calibrated or as it was before.
    """

    base_value: float
    contributions: dict[str, float]
    kind: "ExplanationKind"


def confidence(score: float, threshold: float) -> float:
    """How clear-cut the decision is: 0 at the threshold, 1 at the far end of the side that the score is on."""
    if score >= threshold:
        return 1.0 if threshold >= 1 else (score - threshold) / (1 - threshold)
    return (threshold - score) / threshold
