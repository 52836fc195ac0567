"""Feature sets: the row, the request, the stages of computing one.

Life of a feature set::

    PENDING ──> PROCESSING ──> COMPLETED
       └──────────> └────────> FAILED
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.datasets.model import DatasetSchema, DatasetStatistics
from shared.features.config import FeatureConfig
from shared.features.plan import FeaturePlan


class FeatureSetStatus(StrEnum):
    """Life of a feature set."""

    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class Stage(StrEnum):
    """Steps of computing a feature set, in order."""

    LOAD = "load"
    FIT = "fit"
    TRANSFORM = "transform"
    SELECT = "select"
    SAVE = "save"


class FeatureSetRequest(BaseModel):
    """What a caller asks for."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    dataset_id: UUID
    output_name: str = Field(min_length=1, max_length=255)
    description: str | None = Field(None, max_length=10_000)
    config: FeatureConfig | None = Field(None, description="What the features are to be; all of it may be left out.")
    plan: FeaturePlan | None = Field(None, description="A complete plan to run as it is; instead of config.")
    plan_of: UUID | None = Field(None, description="The completed feature set whose plan to run; instead of config.")

    @model_validator(mode="after")
    def _one_of_the_three(self) -> Self:
        if sum(given is not None for given in (self.config, self.plan, self.plan_of)) > 1:
            raise ValueError("give at most one of config, plan and plan_of")
        return self


class SourceDataset(BaseModel):
    """What feature engineering needs to know of a dataset."""

    id: UUID
    name: str
    version: str
    storage_path: str
    status: str
    row_count: int | None
    schema_: DatasetSchema = Field(alias="schema")
    statistics: DatasetStatistics | None


class StageProgress(BaseModel):
    """How far one stage is; of a large dataset, how many of its parts are done."""

    name: Stage
    status: FeatureSetStatus = FeatureSetStatus.PENDING
    started_at: datetime | None = None
    completed_at: datetime | None = None
    parts: int | None = None
    parts_done: int | None = None

    @property
    def share(self) -> float:
        """The share of the stage that is done, 0 to 1."""
        if self.status is FeatureSetStatus.COMPLETED:
            return 1.0
        return (self.parts_done or 0) / self.parts if self.parts else 0.0


class Progress(BaseModel):
    """``feature_sets.progress``: each stage, and the share of all of them that is done, 0 to 1."""

    stages: list[StageProgress] = Field(default_factory=lambda: [StageProgress(name=stage) for stage in Stage])
    fraction: float = 0.0

    def begun(self, stage: Stage, now: datetime) -> "Progress":
        """The same with ``stage`` running; a stage that runs again starts anew."""
        return self._with(StageProgress(name=stage, status=FeatureSetStatus.PROCESSING, started_at=now))

    def ended(self, stage: Stage, now: datetime, status: FeatureSetStatus = FeatureSetStatus.COMPLETED) -> "Progress":
        """The same with ``stage`` ended."""
        before = self._of(stage)
        done = before.parts if status is FeatureSetStatus.COMPLETED else before.parts_done
        return self._with(before.model_copy(update={"status": status, "completed_at": now, "parts_done": done}))

    def in_parts(self, stage: Stage, parts: int) -> "Progress":
        """The same with ``stage`` cut into so many parts."""
        return self._with(self._of(stage).model_copy(update={"parts": parts, "parts_done": 0}))

    def advanced(self, stage: Stage, parts_done: int) -> "Progress":
        """The same with at least so many parts of ``stage`` done."""
        before = self._of(stage)
        return self._with(before.model_copy(update={"parts_done": max(parts_done, before.parts_done or 0)}))

    def running(self) -> Stage | None:
        """The stage at work."""
        return next((entry.name for entry in self.stages if entry.status is FeatureSetStatus.PROCESSING), None)

    def _of(self, stage: Stage) -> StageProgress:
        return next(entry for entry in self.stages if entry.name == stage)

    def _with(self, changed: StageProgress) -> "Progress":
        stages = [changed if entry.name == changed.name else entry for entry in self.stages]
        return Progress(stages=stages, fraction=sum(entry.share for entry in stages) / len(stages))


class FeatureSet(BaseModel):
    """A row of ``feature_sets``; the four JSON documents are absent from lists."""

    id: UUID
    dataset_id: UUID
    name: str
    description: str | None
    status: FeatureSetStatus
    config: FeatureConfig | None = None
    all_features: list[dict[str, Any]] | None = None
    selected_features: list[dict[str, Any]] | None = None
    selection_report: dict[str, Any] | None = None
    storage_path: str | None
    input_rows: int | None
    feature_count: int | None
    selected_feature_count: int | None
    error_message: str | None
    processing_time_seconds: int | None
    progress: Progress | None
    content_hash: str | None
    plan_given: bool = False
    plan_of: UUID | None = None
    orchestration_id: str | None
    created_by: UUID | None
    created_at: datetime
    completed_at: datetime | None


def orchestration_id_of(feature_set_id: UUID) -> str:
    """Instance id of the orchestration that computes a feature set."""
    return f"features-{feature_set_id}"


@dataclass(frozen=True, slots=True)
class FeatureSetFilter:
    """Which feature sets; None is any. ``name`` is a part of the name in any case."""

    status: FeatureSetStatus | None = None
    dataset_id: UUID | None = None
    name: str | None = None
    created_by: UUID | None = None


ANY_FEATURE_SET: Final = FeatureSetFilter()


class FeatureSetFiles:
    """Where the files of a feature set lie in Blob. ``work_*`` exist only while it is computed."""

    def __init__(self, feature_set_id: UUID) -> None:
        self.prefix = f"feature_sets/{feature_set_id}/"
        self.features = f"{self.prefix}features.parquet"
        self.plan = f"{self.prefix}plan.json"
        self.profile = f"{self.prefix}profile.json"
        self.ranking = f"{self.prefix}ranking.svg"
        self.elimination = f"{self.prefix}elimination.svg"
        self.preview = f"{self.prefix}preview.json"
        self.work = f"{self.prefix}work/"
        self.work_plan = f"{self.work}plan.json"
        self.work_selection = f"{self.work}selection.json"
        self.work_partitions = f"{self.work}partitions.json"

    def work_range(self, number: int) -> str:
        """Rows of a range of a dataset in parts, see ``partitions``."""
        return f"{self.work}ranges/{number}.parquet"

    def work_bucket(self, entity: int, bucket: int) -> str:
        """Events of a bucket."""
        return f"{self.work}buckets/{entity}-{bucket}.parquet"

    def work_history(self, entity: int, bucket: int, number: int) -> str:
        """What a bucket gives the rows of a range."""
        return f"{self.work}history/{entity}-{bucket}-{number}.parquet"

    def work_part(self, number: int) -> str:
        """A range's part of the feature table."""
        return f"{self.work}parts/{number}.parquet"
