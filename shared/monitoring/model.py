"""What is said of drift, as it is stored and answered."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from shared.monitoring.drift import Kind, WindowDrift
from shared.monitoring.level import Level

LONGEST_WINDOW_HOURS = 90 * 24
WindowHours = Annotated[int, Field(ge=1, le=LONGEST_WINDOW_HOURS)]


class ReferenceKind(StrEnum):
    """What a window is compared with."""

    TRAINING = "training"
    SAME_HOURS = "same_hours_of_the_week"


class WindowStatus(StrEnum):
    """The verdict on a window."""

    OK = "OK"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"
    NOT_ENOUGH_DATA = "NOT_ENOUGH_DATA"


class DriftRequest(BaseModel):
    """A window to look at now; by default the newest whole one of the model in production."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model_id: UUID | None = None
    window_hours: WindowHours = 24
    window_end: AwareDatetime | None = Field(None, description="A full hour; default: the newest that is counted.")
    reference: ReferenceKind | None = Field(None, description="Default: the setting DRIFT_REFERENCE.")


class DriftFigure(BaseModel):
    """``bound``: how far the figure of the values themselves may be away; null where it is exact."""

    metric: str
    value: float
    status: Level
    threshold: float | None
    bound: float | None


class DriftColumn(BaseModel):
    """One column of a window. ``q``: the false discovery rate at which it would be called drifted."""

    name: str
    kind: Kind
    status: Level
    importance: float
    q: float
    figures: list[DriftFigure]


class DriftWindow(BaseModel):
    """A window and its columns, worst first. ``counted_until``: predictions before this are counted."""

    model_config = ConfigDict(protected_namespaces=())

    model_id: UUID
    window_start: datetime
    window_end: datetime
    reference: ReferenceKind
    reference_window_start: datetime | None
    reference_window_end: datetime | None
    status: WindowStatus
    rows: int
    reference_rows: int
    min_rows: int
    drifted_share: float
    counted_until: datetime
    columns: list[DriftColumn]


class DriftMetric(BaseModel):
    """A row of ``drift_metrics``."""

    model_config = ConfigDict(protected_namespaces=())

    id: UUID
    model_id: UUID
    drift_type: str
    feature_name: str | None
    metric_name: str
    metric_value: float
    status: Level
    threshold_used: float | None
    window_start: datetime | None
    window_end: datetime | None
    reference_window_start: datetime | None
    reference_window_end: datetime | None
    reference_count: int | None
    current_count: int | None
    computed_at: datetime | None


class DriftLine(BaseModel):
    """One column over time: a value and a status for each window, null where there is none."""

    name: str
    drift_type: str
    values: list[float | None]
    statuses: list[Level | None]
    thresholds: list[float | None]


class DriftSeries(BaseModel):
    """One figure of every column over time, to be drawn: windows in rising order, the most drifted column first."""

    model_config = ConfigDict(protected_namespaces=())

    model_id: UUID
    metric: str
    window_hours: int
    window_ends: list[datetime]
    rows: list[int]
    enough: list[bool]
    columns: list[DriftLine]


def window_status(found: WindowDrift) -> WindowStatus:
    """The verdict in one word."""
    return WindowStatus(found.level.value) if found.enough else WindowStatus.NOT_ENOUGH_DATA
