"""What people set for a model to meet before it goes to production."""

from datetime import datetime
from enum import StrEnum
from typing import Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator


class Operator(StrEnum):
    """How a metric must compare with its threshold."""

    GTE = "gte"
    LTE = "lte"
    EQ = "eq"
    GT = "gt"
    LT = "lt"


class Bound(StrEnum):
    """Which number is compared: the figure itself, an end of its 95 % interval, or the worse end for the operator."""

    VALUE = "value"
    LOWER = "lower"
    UPPER = "upper"
    PESSIMISTIC = "pessimistic"


class Unit(StrEnum):
    """What a tolerance counts in: the metric's own unit, or shares of the champion's figure."""

    ABSOLUTE = "absolute"
    RELATIVE = "relative"


class NewBaseline(BaseModel):
    """What a metric must reach before its model may go to production."""

    model_config = ConfigDict(extra="forbid")

    metric: str = Field(min_length=1, max_length=100)
    operator: Operator
    threshold: FiniteFloat
    bound: Bound = Field(Bound.VALUE, description="Compare the figure, or an end of its 95 % confidence interval.")
    is_active: bool = True

    @model_validator(mode="after")
    def _worse_end_is_known(self) -> Self:
        if self.bound is Bound.PESSIMISTIC and self.operator is Operator.EQ:
            raise ValueError("pessimistic needs an operator that has a worse side, which eq has not")
        return self


class NewBaselines(BaseModel):
    """Baselines to set; one that exists for the same metric is replaced."""

    model_config = ConfigDict(extra="forbid")

    baselines: list[NewBaseline] = Field(min_length=1, max_length=100)

    @model_validator(mode="after")
    def _one_per_metric(self) -> Self:
        _check_once([baseline.metric for baseline in self.baselines])
        return self


class Baseline(NewBaseline):
    """A row of ``baselines``."""

    model_config = ConfigDict(protected_namespaces=())

    id: UUID
    model_id: UUID
    created_by: UUID | None
    created_at: datetime


class NewChampionRule(BaseModel):
    """By how much a metric may be worse than that of the model in production."""

    model_config = ConfigDict(extra="forbid")

    metric: str = Field(min_length=1, max_length=100)
    tolerance: FiniteFloat = Field(ge=0, description="How much worse it may be; 0: not at all.")
    unit: Unit = Unit.ABSOLUTE
    is_active: bool = True


class NewChampionRules(BaseModel):
    """Rules to set; one that exists for the same metric is replaced."""

    model_config = ConfigDict(extra="forbid")

    rules: list[NewChampionRule] = Field(min_length=1, max_length=100)

    @model_validator(mode="after")
    def _one_per_metric(self) -> Self:
        _check_once([rule.metric for rule in self.rules])
        return self


class ChampionRule(NewChampionRule):
    """A row of ``champion_rules``."""

    model_config = ConfigDict(protected_namespaces=())

    id: UUID
    model_id: UUID
    created_by: UUID | None
    created_at: datetime


def _check_once(metrics: list[str]) -> None:
    if len(set(metrics)) < len(metrics):
        raise ValueError("each metric may appear once")
