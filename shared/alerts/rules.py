"""Limits that people set on the figures of monitoring, and when they are broken."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator

from shared.alerts.metrics import METRICS
from shared.alerts.model import Severity, Signal, Source

Operator = Literal["gte", "lte", "eq", "gt", "lt"]

_HOLDS: Final[Mapping[str, Callable[[float, float], bool]]] = MappingProxyType(
    {"gte": operator.ge, "lte": operator.le, "eq": operator.eq, "gt": operator.gt, "lt": operator.lt}
)
_SIGNS: Final[Mapping[str, str]] = MappingProxyType({"gte": "≥", "lte": "≤", "eq": "=", "gt": ">", "lt": "<"})

_Name = Annotated[str, Field(min_length=1, max_length=255)]


class RuleSettings(BaseModel):
    """What a rule watches. It is broken when ``metric operator threshold`` holds."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, protected_namespaces=(), allow_inf_nan=False)

    name: _Name
    metric: str = Field(description="A figure of drift, performance or bias")
    operator: Operator = Field(description="The rule is broken when the figure stands so to the threshold")
    threshold: float
    severity: Severity = Severity.WARNING
    model_id: UUID | None = Field(None, description="Only figures of this model; default: of any")
    subject: _Name | None = Field(None, description="Only figures of this feature or protected attribute; default: any")
    windows: int = Field(1, ge=1, le=100, description="So many windows in a row must break it, or keep it again")
    cool_down_minutes: int = Field(0, ge=0, le=525_600, description="Least time from a closed alert to the next")
    auto_retrain: bool = Field(False, description="The alert asks for the model to be trained again")
    is_active: bool = True

    @field_validator("metric")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in METRICS:
            raise ValueError(f"must be one of {', '.join(sorted(METRICS))}")
        return value


class Rule(RuleSettings):
    """A row of ``alert_rules``."""

    model_config = ConfigDict(extra="ignore")

    id: UUID
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime

    @property
    def cool_down(self) -> timedelta:
        """Least time from a closed alert to the next."""
        return timedelta(minutes=self.cool_down_minutes)


@dataclass(frozen=True, slots=True)
class Observation:
    """A figure of one window. ``subject`` is the feature or protected attribute that it is of, None for the whole.

    ``source_id`` is the row of drift_metrics or bias_metrics that holds it.
    """

    metric: str
    value: float
    model_id: UUID
    window_end: datetime
    subject: str | None = None
    source_id: UUID | None = None


def watches(rule: Rule, seen: Observation) -> bool:
    """Whether the rule is about this figure."""
    return (
        rule.metric == seen.metric
        and rule.model_id in (None, seen.model_id)
        and (rule.subject is None or rule.subject == seen.subject)
    )


def is_broken(rule: Rule, value: float) -> bool:
    """Whether the figure crosses the rule's limit; NaN crosses none."""
    return _HOLDS[rule.operator](value, rule.threshold)


def cause_of(rule: Rule, seen: Observation) -> str:
    """One open alert for each rule, model and subject."""
    return f"rule:{rule.id}:{seen.model_id}:{seen.subject or ''}"


def signal_of(rule: Rule, seen: Observation, windows: int) -> Signal:
    """What is reported once ``windows`` windows in a row have broken the rule."""
    source: Source = METRICS[rule.metric]
    of = f" of {seen.subject}" if seen.subject else ""
    limit = f"{_SIGNS[rule.operator]} {rule.threshold:g}"
    details: dict[str, Any] = {
        "rule": rule.name,
        "metric": rule.metric,
        "subject": seen.subject,
        "value": seen.value,
        "threshold": rule.threshold,
        "operator": rule.operator,
        "windows": windows,
        "window_end": seen.window_end.isoformat(),
    }
    return Signal(
        cause=cause_of(rule, seen),
        source=source,
        alert_type="RULE",
        severity=rule.severity,
        title=f"{rule.name}: {rule.metric}{of} is {seen.value:.4g} ({limit})",
        description=f"The rule is broken when {rule.metric}{of} {limit}, in {rule.windows} windows in a row.",
        details=details,
        model_id=seen.model_id,
        source_id=seen.source_id,
        rule_id=rule.id,
        retrain=rule.auto_retrain,
    )
