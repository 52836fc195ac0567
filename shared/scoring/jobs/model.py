"""Scoring jobs: what is asked for, how they stand, and where their files lie."""

from datetime import datetime
from enum import StrEnum
from typing import Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

SLICE_ROWS = 20_000
#: Where the model looks at the past, each slice is one transaction that reads and adds history.
HISTORY_SLICE_ROWS = 2_000


class JobStatus(StrEnum):
    """Life of a scoring job."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def final(self) -> bool:
        """Whether nothing more will happen."""
        return self in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)


class Source(StrEnum):
    """What a file was given as."""

    DATASET = "dataset"
    UPLOAD = "upload"


class ScoringJobRequest(BaseModel):
    """A file to score: a registered dataset, or a direct upload (``POST datasets/uploads``)."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), str_strip_whitespace=True)

    dataset_id: UUID | None = Field(None, description="A registered dataset.")
    upload_id: UUID | None = Field(None, description="A direct upload; the job uses it up.")
    model_id: UUID | None = Field(None, description="A model in STAGING or PRODUCTION; default: the one in production.")
    name: str | None = Field(None, min_length=1, max_length=255)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.dataset_id is None) == (self.upload_id is None):
            raise ValueError("give either dataset_id or upload_id")
        return self

    @property
    def source(self) -> tuple[Source, UUID]:
        """The file."""
        if self.dataset_id is not None:
            return Source.DATASET, self.dataset_id
        assert self.upload_id is not None
        return Source.UPLOAD, self.upload_id


class ScoringJob(BaseModel):
    """A row of ``scoring_jobs``."""

    model_config = ConfigDict(protected_namespaces=())

    id: UUID
    name: str | None
    model_id: UUID
    source: Source
    source_id: UUID
    status: JobStatus
    row_count: int | None
    slice_count: int | None
    rows_scored: int
    rows_flagged: int
    rows_refused: int
    error_message: str | None
    orchestration_id: str
    created_by: UUID | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None

    @property
    def progress(self) -> float:
        """Share of the rows that are scored or refused, 0 to 1."""
        return (self.rows_scored + self.rows_refused) / self.row_count if self.row_count else 0.0


class JobFiles:
    """Paths in Blob of one job."""

    def __init__(self, job_id: UUID) -> None:
        self._prefix = f"scoring/{job_id}/"

    @property
    def result(self) -> str:
        """The scored file."""
        return f"{self._prefix}result.parquet"

    @property
    def work(self) -> str:
        """Prefix of what lies there while the job runs."""
        return f"{self._prefix}work/"

    def slice(self, number: int) -> str:
        """Some rows of the source, each with its number there."""
        return f"{self.work}slice-{number:06d}.parquet"

    def part(self, number: int, attempt: str) -> str:
        """The result of a slice, of one attempt: a late one must not replace what was stored."""
        return f"{self.work}part-{number:06d}-{attempt}.parquet"
