"""Training jobs: what is asked for, what is stored, and the states a job passes through."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Self
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field, computed_field, model_validator

from shared.platform.errors import InvalidContent
from shared.training.calibration import CalibrationChoice
from shared.training.resampling import Costs
from shared.training.search import Search, SearchRequest
from shared.training.threshold import LeastCost, MaxF1, ReviewCapacity, ThresholdPolicy

DEFAULT_ALGORITHM: Final = "xgboost"
DEFAULT_REVIEW_CAPACITY: Final = 100
# The namespace of model ids: a job's model has one id, whoever computes it and however often.
_MODEL_NAMESPACE: Final = UUID("6f1c2f0e-6d0a-5c0b-9a53-2f6b3d1e7a10")


class UntrainableData(InvalidContent):
    """The rows of this feature set cannot make a model; trying again changes nothing."""

    code = "untrainable_data"


class JobStatus(StrEnum):
    """Life of a training job: QUEUED → RUNNING → COMPLETED, FAILED or CANCELLED; a queued job can fail or be
    cancelled too.
    """

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def final(self) -> bool:
        """Whether a job in this state stays in it."""
        return self in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)


class EvaluationOptions(BaseModel):
    """What the figures on the test part are reckoned with. What is left out is taken from a threshold policy that says
    it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    review_capacity_per_day: float | None = Field(
        None, gt=0, description=f"Transactions reviewed in a day; {DEFAULT_REVIEW_CAPACITY} if nothing else says it"
    )
    missed_fraud_cost: float | None = Field(None, gt=0, description="Cost of one fraud let through")
    false_alarm_cost: float | None = Field(
        None, gt=0, description="Cost of one genuine transaction flagged, in the same currency"
    )

    @model_validator(mode="after")
    def _both_costs(self) -> Self:
        if (self.missed_fraud_cost is None) != (self.false_alarm_cost is None):
            raise ValueError("missed_fraud_cost and false_alarm_cost are given together or not at all")
        return self

    def review_capacity(self, policy: ThresholdPolicy) -> float:
        """Transactions reviewed in a day."""
        if self.review_capacity_per_day is not None:
            return self.review_capacity_per_day
        return policy.per_day if isinstance(policy, ReviewCapacity) else DEFAULT_REVIEW_CAPACITY

    def costs(self, policy: ThresholdPolicy) -> Costs | None:
        """What wrong decisions cost, where anything says it."""
        if self.missed_fraud_cost is not None and self.false_alarm_cost is not None:
            return Costs(self.missed_fraud_cost, self.false_alarm_cost)
        return Costs(policy.missed_fraud, policy.false_alarm) if isinstance(policy, LeastCost) else None


class TrainingRequest(BaseModel):
    """What ``POST training/jobs`` asks for."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    name: str = Field(min_length=1, max_length=255, description="Name of the model; its version is counted per name")
    feature_set_id: UUID
    algorithm: str = Field(DEFAULT_ALGORITHM, max_length=100)
    hyperparameters: dict[str, Any] = Field(
        default_factory=dict, description="See GET training/algorithms; what is left out takes its default"
    )
    train_test_split: float = Field(0.8, ge=0.5, le=0.95, description="Share of the rows, the earlier, to train on")
    threshold_policy: ThresholdPolicy = MaxF1()
    calibration: CalibrationChoice = Field(
        "auto", description="Curve laid over the scores to make them probabilities; auto only where it clearly helps"
    )
    evaluation: EvaluationOptions = EvaluationOptions()
    search: SearchRequest | None = Field(None, description="Try several hyperparameters and train with the best")


class TrainingJob(BaseModel):
    """A row of ``training_jobs``."""

    model_config = ConfigDict(frozen=True)

    id: UUID
    name: str
    feature_set_id: UUID
    algorithm: str
    hyperparameters: dict[str, Any]
    train_test_split: float
    threshold_policy: ThresholdPolicy
    calibration: CalibrationChoice
    evaluation: EvaluationOptions
    status: JobStatus
    progress: float = Field(description="Between 0 and 1")
    current_epoch: int | None
    total_epochs: int | None
    metrics: dict[str, Any] | None
    final_metrics: dict[str, Any] | None
    model_id: UUID | None
    error_message: str | None
    error_traceback: str | None
    orchestration_id: str | None
    queued_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    created_by: UUID | None
    created_at: datetime
    queue_position: int | None = Field(None, description="1 for the job that starts next; null unless it waits")

    @property
    def search(self) -> Search | None:
        """Its search for hyperparameters, if it has one."""
        found = (self.metrics or {}).get("search")
        return None if found is None else Search.model_validate(found)

    @property
    def checkpoint_round(self) -> int:
        """The round of the last stored checkpoint; 0 before the first."""
        return int((self.metrics or {}).get("checkpoint_round", 0))

    @computed_field(  # type: ignore[prop-decorator]
        description="Seconds until the last round at the present speed; early stopping may end sooner"
    )
    @property
    def eta_seconds(self) -> float | None:
        """From the last progress report; None unless the job is boosting."""
        if self.status is not JobStatus.RUNNING or not self.metrics:
            return None
        eta = self.metrics.get("eta_seconds")
        return None if eta is None else float(eta)


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs; None is any. ``name`` is a part of the name in any case."""

    status: JobStatus | None = None
    feature_set_id: UUID | None = None
    algorithm: str | None = None
    name: str | None = None
    created_by: UUID | None = None


ANY_JOB: Final = JobFilter()


class FeatureSetSource(BaseModel):
    """What training needs to know of a feature set."""

    id: UUID
    dataset_id: UUID
    name: str
    status: str

    @property
    def features_path(self) -> str:
        """Where its rows lie in Blob."""
        return f"feature_sets/{self.id}/features.parquet"

    @property
    def plan_path(self) -> str:
        """Where the plan of its selected features lies."""
        return f"feature_sets/{self.id}/plan.json"

    @property
    def profile_path(self) -> str:
        """Where their reference profile lies."""
        return f"feature_sets/{self.id}/profile.json"


class TrainedModel(BaseModel):
    """A row of ``ml_models`` as training writes it."""

    id: UUID
    name: str
    description: str
    algorithm: str
    hyperparameters: dict[str, Any]
    feature_set_id: UUID
    training_job_id: UUID
    storage_path: str
    model_size_bytes: int
    metrics: dict[str, Any]
    feature_names: list[str]
    feature_importance: dict[str, float]
    threshold: float
    artifact_sha256: str
    created_by: UUID | None


def model_id_of(job_id: UUID) -> UUID:
    """The id of the one model that a job can make."""
    return uuid5(_MODEL_NAMESPACE, str(job_id))


def orchestration_id_of(job_id: UUID) -> str:
    """The durable instance that runs a job."""
    return f"training-{job_id}"


def model_prefix(model_id: UUID) -> str:
    """Where a model's files lie in Blob, with a slash at the end."""
    return f"models/{model_id}/"


def job_prefix(job_id: UUID) -> str:
    """Where a job's checkpoints lie in Blob while it runs, with a slash at the end."""
    return f"training_jobs/{job_id}/"


def next_version(versions: list[str]) -> str:
    """The version after the highest of ``versions``: "1.0", then "2.0" and so on; texts of another form are passed
    over.
    """
    majors = [int(head) for head, _, _ in (version.partition(".") for version in versions) if head.isdecimal()]
    return f"{max(majors, default=0) + 1}.0"
