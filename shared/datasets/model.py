"""Datasets, their schema, and the limits of an upload."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator

from shared.datasets.encodings import known_encoding

FOLDERS: Final = "datasets/"

ColumnType = Literal["integer", "float", "string", "boolean", "datetime", "date"]


class DatasetStatus(StrEnum):
    """Life of a dataset."""

    ACTIVE = "ACTIVE"
    ARCHIVED = "ARCHIVED"
    PROCESSING = "PROCESSING"


class Column(BaseModel):
    """One column of a dataset."""

    model_config = ConfigDict(frozen=True)

    name: str
    type: ColumnType
    nullable: bool


class DatasetSchema(BaseModel):
    """``datasets.schema``: the columns in file order."""

    model_config = ConfigDict(frozen=True)

    columns: list[Column]

    def column(self, name: str) -> Column | None:
        """The column of this name."""
        return next((column for column in self.columns if column.name == name), None)


class DatasetStatistics(BaseModel):
    """``datasets.statistics``: figures by column name; what they are depends on the column's type."""

    column_stats: dict[str, dict[str, Any]]


class Severity(StrEnum):
    """``ERROR``: no model can be trained as it is. ``WARNING``: likely a fault. ``INFO``: worth knowing."""

    ERROR = "ERROR"
    WARNING = "WARNING"
    INFO = "INFO"


class Finding(BaseModel):
    """One thing that was found; ``column`` is None for the whole file, ``count`` are rows."""

    model_config = ConfigDict(frozen=True)

    code: str
    severity: Severity
    column: str | None = None
    message: str
    count: int | None = None
    share: float | None = None
    examples: list[str] = []


class QualityReport(BaseModel):
    """``datasets.quality``: the findings, gravest first, and how many of each severity there are."""

    counts: dict[str, int]
    findings: list[Finding]

    def in_short(self, most: int = 5) -> "QualityReport":
        """With the gravest findings only; the counts stay."""
        return QualityReport(counts=self.counts, findings=self.findings[:most])


class DatasetSummary(BaseModel):
    """A row of ``datasets`` without what is known of its columns."""

    id: UUID
    name: str
    description: str | None
    version: str
    storage_path: str
    file_format: str
    file_size_bytes: int | None
    row_count: int | None
    column_count: int | None
    status: DatasetStatus
    parent_id: UUID | None
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime


class Dataset(DatasetSummary):
    """A row of ``datasets``; ``quality`` is None for one that was registered before there were reports."""

    file_size_bytes: int
    row_count: int
    column_count: int
    schema_: DatasetSchema = Field(alias="schema", serialization_alias="schema")
    statistics: DatasetStatistics
    quality: QualityReport | None


class Dependent(BaseModel):
    """What was made from a dataset."""

    kind: Literal["version", "feature_set"]
    id: UUID
    name: str


@dataclass(frozen=True, slots=True)
class DatasetFilter:
    """What the catalogue is narrowed down to; None lets everything through.

    ``name`` is a part of the name; ``search`` are the beginnings of words of name, description or column names, all
    of which must be there.
    """

    statuses: tuple[DatasetStatus, ...] = (DatasetStatus.ACTIVE, DatasetStatus.PROCESSING)
    name: str | None = None
    search: str | None = None
    created_by: UUID | None = None
    min_rows: int | None = None
    max_rows: int | None = None
    created_since: datetime | None = None
    created_until: datetime | None = None


class FileOptions(BaseModel):
    """How to read a file where that should not be recognised from the file itself."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    encoding: str | None = Field(None, max_length=40, description="utf-8, utf-16, cp1252 or latin-1, of a CSV file.")
    delimiter: Literal["comma", "semicolon", "tab", "pipe"] | None = Field(None, description="Of a CSV file.")

    @field_validator("encoding")
    @classmethod
    def _one_name(cls, value: str | None) -> str | None:
        return None if value is None else known_encoding(value)


class NewVersion(FileOptions):
    """What the caller says of another version of a dataset; its name is that of the others."""

    description: str | None = Field(None, max_length=10_000)


class NewDataset(NewVersion):
    """What the caller says of a dataset to be created."""

    name: str = Field(min_length=1, max_length=255)


class UploadedVersion(NewVersion):
    """A version whose file was uploaded straight to Blob (``POST datasets/uploads``)."""

    upload_id: UUID


class UploadedDataset(NewDataset):
    """A dataset whose file was uploaded straight to Blob (``POST datasets/uploads``)."""

    upload_id: UUID


@dataclass(frozen=True, slots=True)
class DatasetLimits:
    """How much one dataset may hold."""

    body_bytes: int
    direct_bytes: int
    """Also of what comes out of a compressed file."""
    rows: int
    columns: int
    cell_bytes: int = 65_536
    compression_ratio: int = 200


@dataclass(frozen=True, slots=True)
class Profile:
    """What reading a file once has told. ``source_suffix`` says what it is: csv, csv.gz, parquet …"""

    schema: DatasetSchema
    statistics: DatasetStatistics
    quality: QualityReport
    row_count: int
    first_rows: list[dict[str, Any]]
    source_suffix: str


def source_path(dataset_id: UUID, suffix: str) -> str:
    """Where the file lies as it was uploaded."""
    return f"{folder(dataset_id)}source.{suffix}"


def data_path(dataset_id: UUID) -> str:
    """Where the dataset lies as Parquet, whatever it was uploaded as."""
    return f"{folder(dataset_id)}data.parquet"


def preview_path(dataset_id: UUID) -> str:
    """Where its first rows lie as JSON."""
    return f"{folder(dataset_id)}preview.json"


def folder(dataset_id: UUID) -> str:
    """The prefix of every blob of a dataset."""
    return f"{FOLDERS}{dataset_id}/"


def upload_path(upload_id: UUID) -> str:
    """Where a direct upload waits until it is registered."""
    return f"uploads/{upload_id}"
