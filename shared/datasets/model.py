"""Datasets, their schema, and the limits of an upload."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

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


class Dataset(BaseModel):
    """A row of ``datasets``."""

    id: UUID
    name: str
    description: str | None
    version: str
    storage_path: str
    file_format: str
    file_size_bytes: int
    row_count: int
    column_count: int
    schema_: DatasetSchema = Field(alias="schema", serialization_alias="schema")
    statistics: DatasetStatistics
    status: DatasetStatus
    parent_id: UUID | None
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime


class NewDataset(BaseModel):
    """What the caller says of a dataset to be created."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    name: str = Field(min_length=1, max_length=255)
    description: str | None = Field(None, max_length=10_000)


class UploadedDataset(NewDataset):
    """A dataset whose file was uploaded straight to Blob (``POST datasets/uploads``)."""

    upload_id: UUID


@dataclass(frozen=True, slots=True)
class DatasetLimits:
    """How much one dataset may hold."""

    body_bytes: int
    direct_bytes: int
    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class Profile:
    """What reading a file once has told."""

    schema: DatasetSchema
    statistics: DatasetStatistics
    row_count: int


def source_path(dataset_id: UUID, file_format: str) -> str:
    """Where the file lies as it was uploaded."""
    return f"datasets/{dataset_id}/source.{file_format}"


def data_path(dataset_id: UUID) -> str:
    """Where the dataset lies as Parquet, whatever it was uploaded as."""
    return f"datasets/{dataset_id}/data.parquet"


def upload_path(upload_id: UUID) -> str:
    """Where a direct upload waits until it is registered."""
    return f"uploads/{upload_id}"
