"""Models, baselines and the promotion gate."""

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from math import isclose, isfinite
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, field_validator

from shared.registry.lifecycle import ModelStatus


class Operator(StrEnum):
    """How a metric must compare with its threshold."""

    GTE = "gte"
    LTE = "lte"
    EQ = "eq"
    GT = "gt"
    LT = "lt"


_COMPARE: Final[Mapping[Operator, Callable[[float, float], bool]]] = MappingProxyType(
    {
        Operator.GTE: operator.ge,
        Operator.LTE: operator.le,
        Operator.EQ: lambda value, threshold: isclose(value, threshold, rel_tol=1e-9, abs_tol=1e-12),
        Operator.GT: operator.gt,
        Operator.LT: operator.lt,
    }
)


class Model(BaseModel):
    """A row of ``ml_models``."""

    model_config = ConfigDict(protected_namespaces=())

    id: UUID
    name: str
    version: str
    description: str | None
    algorithm: str
    hyperparameters: dict[str, Any]
    feature_set_id: UUID | None
    training_job_id: UUID | None
    storage_path: str
    model_size_bytes: int | None
    metrics: dict[str, Any]
    feature_names: list[str] | None
    feature_importance: dict[str, float] | None
    threshold: float | None
    artifact_sha256: str | None
    status: ModelStatus
    promoted_at: datetime | None
    archived_at: datetime | None
    archived_reason: str | None
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime


class NewBaseline(BaseModel):
    """What a metric must reach before its model may go to production."""

    model_config = ConfigDict(extra="forbid")

    metric: str = Field(min_length=1, max_length=100)
    operator: Operator
    threshold: FiniteFloat
    is_active: bool = True


class NewBaselines(BaseModel):
    """Baselines to set; one that exists for the same metric is replaced."""

    model_config = ConfigDict(extra="forbid")

    baselines: list[NewBaseline] = Field(min_length=1, max_length=100)

    @field_validator("baselines")
    @classmethod
    def _one_per_metric(cls, value: list[NewBaseline]) -> list[NewBaseline]:
        if len({baseline.metric for baseline in value}) < len(value):
            raise ValueError("each metric may appear once")
        return value


class Baseline(BaseModel):
    """A row of ``baselines``."""

    id: UUID
    model_id: UUID
    metric: str
    operator: Operator
    threshold: float
    is_active: bool
    created_by: UUID | None
    created_at: datetime

    model_config = ConfigDict(protected_namespaces=())


class PromotionRequest(BaseModel):
    """Where a model shall go, and why."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    target_status: ModelStatus
    reason: str = Field(min_length=1, max_length=2000)
    override: bool = Field(False, description="Go on although a baseline fails; administrators only.")


class Reasoned(BaseModel):
    """The reason for a rollback or for archiving."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    reason: str = Field(min_length=1, max_length=2000)


@dataclass(frozen=True, slots=True)
class Check:
    """One baseline against the model's recorded test metric; ``value`` is None when there is no such metric."""

    metric: str
    operator: Operator
    threshold: float
    value: float | None
    passed: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate found; a model without active baselines passes."""

    passed: bool
    checks: tuple[Check, ...]

    def as_json(self) -> dict[str, Any]:
        """As stored in ``model_promotions.verdict``."""
        checks = [
            {"metric": c.metric, "operator": c.operator, "threshold": c.threshold, "value": c.value, "passed": c.passed}
            for c in self.checks
        ]
        return {"passed": self.passed, "checks": checks}


def judge(baselines: Iterable[Baseline], metrics: Mapping[str, Any]) -> Verdict:
    """Compare every active baseline with the recorded metrics. A metric that was not recorded fails its baseline."""
    checks = []
    for baseline in baselines:
        if baseline.is_active:
            value = numeric(metrics.get(baseline.metric))
            passed = value is not None and _COMPARE[baseline.operator](value, baseline.threshold)
            checks.append(Check(baseline.metric, baseline.operator, baseline.threshold, value, passed))
    return Verdict(all(check.passed for check in checks), tuple(checks))


def numeric(value: object) -> float | None:
    """``value`` as a finite float, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return float(value)


class Transition(BaseModel):
    """A row of ``model_promotions``: one step of a model's life."""

    model_config = ConfigDict(protected_namespaces=())

    id: UUID
    model_id: UUID
    from_status: ModelStatus
    to_status: ModelStatus
    verdict: dict[str, Any] | None
    reason: str | None
    overridden: bool
    promoted_by: UUID | None
    promoted_at: datetime
