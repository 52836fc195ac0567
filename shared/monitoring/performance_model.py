"""What is said of a model's performance."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.monitoring.level import Level
from shared.registry.rules import Bound, Operator


class HeldBaseline(BaseModel):
    """The model's active baseline of a metric, held against the figure."""

    operator: Operator
    threshold: float
    bound: Bound
    holds: bool


class PerformanceFigure(BaseModel):
    """A figure of labelled predictions with its 95 % interval, beside that of the test part at training time.

    ``lost``: by how much of the training-time figure it is worse; negative where it is better.
    """

    metric: str
    value: float | None
    low: float | None
    high: float | None
    at_training: float | None
    lost: float | None
    baseline: HeldBaseline | None
    status: Level


class PerformanceEstimate(BaseModel):
    """An estimate from the scores alone, as good as they are calibrated; no label is needed."""

    metric: str
    value: float | None


class PerformanceWeek(BaseModel):
    """Predictions of one week, Monday to Monday in UTC, with labels as they are known now."""

    week: datetime
    rows: int
    labelled: int
    frauds: int
    mature: bool
    figures: dict[str, float | None]
    intervals: dict[str, tuple[float, float] | None]
    estimated: dict[str, float | None]


class MaturityPoint(BaseModel):
    """Of the labels that have come, the share that had come so many days after the prediction."""

    days: int
    share: float


class Performance(BaseModel):
    """How a model does. ``figures`` are of the mature window, ``estimated`` of what came after it.

    ``changed_at``: the day from which on another share of frauds was missed than before, None where it did not change.
    """

    model_config = ConfigDict(protected_namespaces=())

    model_id: UUID
    window_start: datetime
    window_end: datetime
    rows: int
    labelled: int
    frauds: int
    enough: bool = Field(description="Whether there are labels enough to judge by")
    status: Level
    figures: list[PerformanceFigure]
    estimated: list[PerformanceEstimate]
    estimated_rows: int
    latency_ms: dict[str, float | None]
    requests: int = Field(description="To score, of every model, in the last day")
    error_rate: float | None = Field(description="Share of them that failed for a reason of ours")
    changed_at: datetime | None
    weeks: list[PerformanceWeek]
    maturity: list[MaturityPoint]
