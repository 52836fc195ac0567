"""Alerts, and the states they pass through."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.platform.errors import Conflict


class Source(StrEnum):
    """Where an alert comes from."""

    DRIFT = "DRIFT"
    BIAS = "BIAS"
    PERFORMANCE = "PERFORMANCE"
    SYSTEM = "SYSTEM"


class Severity(StrEnum):
    """How soon somebody should look."""

    INFO = "INFO"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"

    @property
    def rank(self) -> int:
        """0 for INFO, 2 for CRITICAL."""
        return list(Severity).index(self)


class AlertStatus(StrEnum):
    """Life of an alert; ACTIVE and ACKNOWLEDGED are open."""

    ACTIVE = "ACTIVE"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    RESOLVED = "RESOLVED"
    DISMISSED = "DISMISSED"


@dataclass(frozen=True, slots=True)
class Signal:
    """Something is wrong. ``cause`` is its key: as long as an alert of the same cause is open, a signal refreshes it.

    ``details`` are plain values for whoever investigates; never secrets or personal data. ``retrain`` asks for the
    model to be trained again.
    """

    cause: str
    source: Source
    alert_type: str
    severity: Severity
    title: str
    description: str
    details: Mapping[str, Any] = field(default_factory=dict)
    model_id: UUID | None = None
    source_id: UUID | None = None
    rule_id: UUID | None = None
    retrain: bool = False


class Alert(BaseModel):
    """A row of ``alerts``."""

    model_config = ConfigDict(protected_namespaces=())

    id: UUID
    model_id: UUID | None
    source_type: Source
    source_id: UUID | None
    alert_type: str
    severity: Severity
    title: str
    description: str | None
    details: dict[str, Any] | None
    cause: str | None
    occurrences: int
    last_seen_at: datetime | None
    status: AlertStatus
    acknowledged_by: UUID | None
    acknowledged_at: datetime | None
    resolved_by: UUID | None
    resolved_at: datetime | None
    resolution_notes: str | None
    rule_id: UUID | None
    quiet_windows: int
    last_quiet_at: datetime | None
    retraining_requested: bool
    triggered_retraining: bool
    retraining_job_id: UUID | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Which alerts; None is any."""

    status: AlertStatus | None = None
    severity: Severity | None = None
    source_type: Source | None = None
    model_id: UUID | None = None


ANY_ALERT: Final = AlertFilter()


class Resolution(BaseModel):
    """How an alert was settled."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    resolution_notes: str = Field(min_length=1, max_length=5000)


class Dismissal(BaseModel):
    """Why an alert needs nothing."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    reason: str = Field(min_length=1, max_length=5000)


_NEXT: Final[Mapping[AlertStatus, tuple[AlertStatus, ...]]] = MappingProxyType(
    {
        AlertStatus.ACTIVE: (AlertStatus.ACKNOWLEDGED, AlertStatus.RESOLVED, AlertStatus.DISMISSED),
        AlertStatus.ACKNOWLEDGED: (AlertStatus.RESOLVED, AlertStatus.DISMISSED),
        AlertStatus.RESOLVED: (),
        AlertStatus.DISMISSED: (),
    }
)


def check_move(current: AlertStatus, target: AlertStatus) -> None:
    """Return when an alert may go from ``current`` to ``target``.

    :raises Conflict: it may not; the message lists what is possible instead.
    """
    legal = _NEXT[current]
    if target not in legal:
        instead = f"it can become {' or '.join(legal)}" if legal else "it stays so"
        raise Conflict(f"the alert is {current.value}; {instead}", target="status")
