"""Protected attributes as people register them, and what is found about them."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Annotated, Any, Final, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, FiniteFloat, field_validator, model_validator

from shared.monitoring.fairness import DEFAULT_LIMITS, Limit
from shared.monitoring.level import Level

LONGEST: Final = timedelta(days=366)
_EARLIEST_YEAR: Final = 2000  # times near the first of all cannot be reckoned back from
# Names of thresholds, as the specification has them, and of the figures they limit.
THRESHOLDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "demographic_parity_diff": "demographic_parity_diff",
        "demographic_parity_ratio_min": "demographic_parity_ratio",
        "disparate_impact_min": "disparate_impact",
        "equalized_odds_diff": "equalized_odds_diff",
        "fpr_diff": "fpr_diff",
        "calibration_diff": "calibration_diff",
    }
)
_Group = Annotated[str, Field(min_length=1, max_length=100)]


class NewProtectedAttribute(BaseModel):
    """An attribute that groups must not be treated unlike by.

    ``groups`` are those that are compared, named as the column's values, or as the bands that training made of a
    numeric column ("25 to 34"); everybody else belongs to no group.
    """

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    attribute_name: str = Field(min_length=1, max_length=100)
    column_name: str = Field(min_length=1, max_length=100, description="The transactions' field")
    groups: list[_Group] = Field(min_length=2, max_length=100)
    thresholds: dict[str, FiniteFloat] = Field(
        default_factory=dict, description=f"By name: {', '.join(THRESHOLDS)}; what is left out takes its default"
    )
    description: str | None = Field(None, max_length=10_000)

    @field_validator("groups")
    @classmethod
    def _each_once(cls, value: list[str]) -> list[str]:
        if len(set(value)) != len(value):
            raise ValueError("a group appears twice")
        return value

    @field_validator("thresholds")
    @classmethod
    def _known(cls, value: dict[str, float]) -> dict[str, float]:
        if unknown := sorted(set(value) - set(THRESHOLDS)):
            raise ValueError(f"{unknown[0]} is not one of {', '.join(THRESHOLDS)}")
        if any(not 0 <= limit <= 1 for limit in value.values()):
            raise ValueError("thresholds lie between 0 and 1")
        return value

    def limits(self) -> dict[str, Limit]:
        """By figure: this attribute's thresholds, else the defaults."""
        own = {
            THRESHOLDS[name]: Limit(at_least=value) if name.endswith("_min") else Limit(at_most=value)
            for name, value in self.thresholds.items()
        }
        return {**DEFAULT_LIMITS, **own}


class ProtectedAttribute(NewProtectedAttribute):
    """A row of ``protected_attributes``."""

    model_config = ConfigDict(extra="ignore")

    id: UUID
    is_active: bool
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime


class BiasMetric(BaseModel):
    """A row of ``bias_metrics``. ``protected_attribute`` names several joined by "&" for an intersection."""

    model_config = ConfigDict(protected_namespaces=())

    id: UUID
    model_id: UUID
    protected_attribute: str
    metric_name: str
    overall_value: float
    group_values: dict[str, float]
    status: Level
    threshold_used: float | None
    sample_size: int | None
    group_sizes: dict[str, int] | None
    window_start: datetime | None
    window_end: datetime | None
    interval_low: float | None
    interval_high: float | None
    p_value: float | None
    computed_at: datetime | None


class AuditPeriod(BaseModel):
    """A period to look at; by default the last 30 days."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    period_start: AwareDatetime | None = Field(None, description="A full hour; default: 30 days before the end.")
    period_end: AwareDatetime | None = Field(None, description="A full hour; default: up to what is counted.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for moment in (self.period_start, self.period_end):
            if moment is not None and (moment.minute or moment.second or moment.microsecond):
                raise ValueError("periods begin and end at full hours")
            if moment is not None and moment.year < _EARLIEST_YEAR:
                raise ValueError(f"periods begin and end in {_EARLIEST_YEAR} or later")
        if self.period_start and self.period_end:
            if self.period_start >= self.period_end:
                raise ValueError("the period ends before it begins")
            if self.period_end - self.period_start > LONGEST:
                raise ValueError(f"a period is at most {LONGEST.days} days long")
        return self


class AuditRequest(AuditPeriod):
    """A period to look at, of a model; by default of the one in production."""

    model_id: UUID | None = None


class BiasFigure(BaseModel):
    """A gap between groups with its 95 % interval and the corrected p of the test that all are alike."""

    metric: str
    value: float
    low: float
    high: float
    p: float
    status: Level
    threshold: float | None
    groups: dict[str, float]
    sizes: dict[str, int]


class AttributeBias(BaseModel):
    """One attribute, or several together. ``rates``: each group's rates with intervals."""

    attribute: str
    status: Level
    rows: int
    labelled: int
    figures: list[BiasFigure]
    rates: list[dict[str, Any]]


class BiasReport(BaseModel):
    """What was found in a period. ``unknown``: registered attributes that the model's profile has no groups of."""

    model_config = ConfigDict(protected_namespaces=())

    model_id: UUID
    model_name: str
    model_version: str
    period_start: datetime
    period_end: datetime
    rows: int
    labelled: int
    minimum_group: int
    attributes: list[AttributeBias]
    unknown: list[str]
