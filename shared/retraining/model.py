"""Retraining jobs: what is asked for, and the states they pass through."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, Literal
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field

_NAMESPACE: Final = UUID("5b0e3a53-0d6c-4bb7-9a0e-6a1f4bb0b7a4")


class _Strategy(BaseModel):
    model_config = ConfigDict(extra="forbid")

    maturity_days: float = Field(
        30, ge=0, le=365, description="A prediction counts once it is so old: labels that come late have come"
    )
    unlabelled: Literal["skip", "genuine"] = Field(
        "skip", description="What a prediction without a label is, once it is mature: left out, or taken for genuine"
    )


class Append(_Strategy):
    """The champion's dataset and everything scored since."""

    type: Literal["append"] = "append"


class Replace(_Strategy):
    """Only what was scored in the last days, none of the champion's dataset."""

    type: Literal["replace"] = "replace"
    days: float = Field(90, ge=1, le=3650, description="Days before the newest mature prediction that are taken")


class Weighted(_Strategy):
    """As ``append``, and rows weigh less the older they are."""

    type: Literal["weighted"] = "weighted"
    half_life_days: float = Field(90, gt=0, le=36_500, description="Age at which a row weighs half as much")


class SlidingWindow(_Strategy):
    """As ``append``, of which only the last days stay."""

    type: Literal["sliding_window"] = "sliding_window"
    days: float = Field(180, ge=1, le=3650, description="Days before the newest row that stay")


DataStrategy = Annotated[Append | Replace | Weighted | SlidingWindow, Field(discriminator="type")]


class RetrainingOptions(BaseModel):
    """How a model is trained again."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, protected_namespaces=(), allow_inf_nan=False)

    data_strategy: DataStrategy = Append()
    auto_promote: bool = Field(False, description="Promote what passes; otherwise it waits for approval")
    tolerance: float = Field(
        0.0, ge=0, le=0.5, description="How much lower the challenger's average precision on the same rows may be"
    )
    approval_hours: float = Field(72, gt=0, le=720, description="How long an approval is waited for")


class RetrainingRequest(RetrainingOptions):
    """What ``POST retraining/trigger`` asks for."""

    model_id: UUID | None = Field(None, description="The model to train again; default: the one in production")
    reason: str = Field(min_length=1, max_length=2000)


class Decision(BaseModel):
    """Whether a challenger that waits is put into production, and why."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    reason: str = Field(min_length=1, max_length=2000)


class RetrainingStatus(StrEnum):
    """Life of a retraining job."""

    PENDING = "PENDING"
    ASSEMBLING = "ASSEMBLING"
    ENGINEERING = "ENGINEERING"
    TRAINING = "TRAINING"
    JUDGING = "JUDGING"
    AWAITING_APPROVAL = "AWAITING_APPROVAL"
    PROMOTED = "PROMOTED"
    REJECTED = "REJECTED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def final(self) -> bool:
        """Whether nothing follows."""
        return self in _FINAL


_FINAL: Final = frozenset(
    {RetrainingStatus.PROMOTED, RetrainingStatus.REJECTED, RetrainingStatus.FAILED, RetrainingStatus.CANCELLED}
)


class RetrainingJob(BaseModel):
    """A row of ``retraining_jobs``.

    ``data``: what the new dataset was made of. ``verdict``: champion and challenger on the same rows, and each rule
    with its numbers.
    """

    model_config = ConfigDict(frozen=True)

    id: UUID
    champion_id: UUID
    alert_id: UUID | None
    reason: str
    options: RetrainingOptions
    status: RetrainingStatus
    dataset_id: UUID | None
    feature_set_id: UUID | None
    training_job_id: UUID | None
    challenger_id: UUID | None
    data: dict[str, Any] | None
    verdict: dict[str, Any] | None
    error_message: str | None
    orchestration_id: str
    approval_until: datetime | None
    decided_by: UUID | None
    decision_reason: str | None
    created_by: UUID | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None


class RetrainingLimits(BaseModel):
    """What keeps retraining in bounds.

    ``cool_down``, ``weekly_budget`` and ``maturity_days`` hold for alerts; people may ask for more.
    ``minimum_labels`` and ``minimum_frauds`` of new rows hold for both.
    """

    model_config = ConfigDict(frozen=True)

    cool_down: timedelta = timedelta(hours=24)
    weekly_budget: int = 5
    maturity_days: float = 30
    minimum_labels: int = 200
    minimum_frauds: int = 20


def dataset_id_of(retraining_id: UUID) -> UUID:
    """The id of the one dataset that a job makes, however often its activity runs."""
    return uuid5(_NAMESPACE, f"dataset:{retraining_id}")


def orchestration_id_of(retraining_id: UUID) -> str:
    """The durable instance that runs a job."""
    return f"retraining-{retraining_id}"
