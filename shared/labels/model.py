"""Labels as they are sent, kept and folded into what is known of a prediction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, model_validator

from shared.platform.errors import FieldError, InvalidContent

MAX_LABELS: Final = 10_000
#: A transaction id that names more predictions than this names none of them.
MAX_PREDICTIONS: Final = 100
_CLOCK_SKEW: Final = timedelta(minutes=5)
_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MOST_DETAILS: Final = 100


def _text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class NewLabel(BaseModel):
    """What became known of one prediction, or of every prediction of one transaction."""

    model_config = ConfigDict(extra="forbid")

    transaction_id: Annotated[str | None, BeforeValidator(_text)] = Field(None, min_length=1, max_length=255)
    prediction_id: UUID | None = None
    is_fraud: StrictBool
    labeled_at: AwareDatetime | None = Field(None, description="When it became known; default: when it is sent.")
    source: str | None = Field(None, min_length=1, max_length=100, description="Who says so, such as chargeback.")

    @model_validator(mode="after")
    def _names_one(self) -> "NewLabel":
        if (self.transaction_id is None) == (self.prediction_id is None):
            raise ValueError("give either transaction_id or prediction_id")
        return self


class LabelBatch(BaseModel):
    """Labels, in the order in which they arrived."""

    model_config = ConfigDict(extra="forbid")

    labels: list[NewLabel] = Field(min_length=1, max_length=MAX_LABELS)


def check_times(labels: Sequence[NewLabel], now: datetime) -> None:
    """Return when every event time can be true.

    :raises InvalidContent: a time is to come (beyond five minutes of clock skew) or before the year 2000.
    """
    details = []
    for position, label in enumerate(labels):
        if label.labeled_at is None:
            continue
        if label.labeled_at > now + _CLOCK_SKEW:
            details.append(FieldError(f"labels.{position}.labeled_at", "must not be in the future"))
        elif label.labeled_at < _EARLIEST:
            details.append(FieldError(f"labels.{position}.labeled_at", "must not be before the year 2000"))
    if details:
        raise InvalidContent("a label's time is not valid", target=details[0].field, details=details[:_MOST_DETAILS])


class Outcome(StrEnum):
    """What came of a label; of several predictions of a transaction, the first of these that one of them had."""

    CORRECTED = "corrected"
    LABELLED = "labelled"
    SUPERSEDED = "superseded"
    CONFIRMED = "confirmed"
    UNCHANGED = "unchanged"
    PENDING = "pending"
    AMBIGUOUS = "ambiguous"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class LabelOutcome:
    """What came of one label, and of how many predictions that is said."""

    transaction_id: str | None
    prediction_id: UUID | None
    outcome: Outcome
    predictions: int


class RecordedLabel(BaseModel):
    """A row of ``prediction_labels``, as it is shown."""

    id: int
    is_fraud: bool
    labeled_at: datetime
    source: str | None
    recorded_at: datetime
    recorded_by: UUID | None
    previous: bool | None
