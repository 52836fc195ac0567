"""Challengers, what they would have decided, and how they compare with the champion."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from shared.registry.lifecycle import ModelStatus

MOST_CHALLENGERS = 3


class Challenger(BaseModel):
    """A row of ``challengers`` with its model's ``status``."""

    model_config = ConfigDict(protected_namespaces=())

    model_id: UUID
    started_at: datetime
    started_by: UUID | None
    stopped_at: datetime | None
    position_at: datetime
    position_id: UUID
    status: ModelStatus

    @property
    def active(self) -> bool:
        """Whether it scores: a promotion or an archiving stops it, whoever has noticed."""
        return self.stopped_at is None and self.status is ModelStatus.STAGING


@dataclass(frozen=True, slots=True)
class Followed:
    """A prediction of the model in production, with its input as it is stored."""

    id: UUID
    created_at: datetime
    model_id: UUID
    fraud_score: float
    is_fraud: bool
    transaction: dict[str, Any]
    features: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class ShadowPrediction:
    """What a challenger would have decided about a prediction; ``score`` is None where it could not."""

    of: Followed
    score: float | None
    is_fraud: bool | None
    amount: float | None


@dataclass(frozen=True, slots=True)
class Period:
    """``start`` inclusive, ``until`` exclusive."""

    start: datetime
    until: datetime
