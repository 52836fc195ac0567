"""What the dataset registry answers, and the forms that it takes."""

from typing import Annotated, Any, Final, Literal, NotRequired
from uuid import UUID

from pydantic import Field
from typing_extensions import TypedDict

from functions.file_bodies import RAW_TYPES
from functions.views import View
from shared.datasets.lifecycle import Removal
from shared.datasets.model import Dataset, DatasetSummary, Dependent, QualityReport, UploadedDataset, UploadedVersion
from shared.datasets.versions import SchemaChanges

_SHORT: Final = {"quality": QualityReport | None}

DATASET = View(Dataset, "DatasetCard", hidden={"statistics", "quality"}, added=_SHORT)
VERSION = View(
    Dataset, "DatasetVersionCard", hidden={"statistics", "quality"}, added={**_SHORT, "changes": SchemaChanges | None}
)
LISTED_DATASET = View(DatasetSummary, "DatasetRow")


def dataset_in_short(dataset: Dataset) -> QualityReport | None:
    """The gravest findings on a dataset; all of them are at ``datasets/{id}/quality``."""
    return None if dataset.quality is None else dataset.quality.in_short()


Binary = Annotated[str, Field(json_schema_extra={"format": "binary"})]
Encoding = Annotated[str, Field(max_length=40)]
Delimiter = Literal["comma", "semicolon", "tab", "pipe"]
Description = Annotated[str, Field(max_length=10_000)]


class DatasetForm(TypedDict):
    """A CSV or Parquet file, plain or in gzip or zip, with its name."""

    file: Binary
    name: Annotated[str, Field(min_length=1, max_length=255)]
    description: NotRequired[Description]
    encoding: NotRequired[Encoding]
    delimiter: NotRequired[Delimiter]


class VersionForm(TypedDict):
    """A CSV or Parquet file, plain or in gzip or zip."""

    file: Binary
    description: NotRequired[Description]
    encoding: NotRequired[Encoding]
    delimiter: NotRequired[Delimiter]


_RAW: Final[dict[str, Any]] = {name: Binary for name in RAW_TYPES if "/x-" not in name}
UPLOADS: Final[dict[str, Any]] = {"multipart/form-data": DatasetForm, **_RAW, "application/json": UploadedDataset}
VERSION_UPLOADS: Final[dict[str, Any]] = {
    "multipart/form-data": VersionForm,
    **_RAW,
    "application/json": UploadedVersion,
}


class UploadPlace(TypedDict):
    """Where to send a file too large for a request body."""

    upload_id: UUID
    url: str
    method: Literal["PUT"]
    headers: dict[str, str]
    expires_in: Annotated[int, Field(description="Seconds that the URL may be used.")]


class Preview(TypedDict):
    """First rows by column name; NaN and infinity are null, times are ISO 8601."""

    columns: list[str]
    rows: list[dict[str, Any]]
    row_count: Annotated[int, Field(description="Of the whole dataset.")]


class Removed(TypedDict):
    """What became of a dataset that was to be removed."""

    id: UUID
    status: Literal["DELETED", "ARCHIVED"]
    dependents: Annotated[list[Dependent], Field(description="What was made from it, twenty at most.")]
    dependent_count: int


def removed(removal: Removal) -> Removed:
    """The removal as callers see it."""
    return {
        "id": removal.dataset.id,
        "status": "DELETED" if removal.status is None else "ARCHIVED",
        "dependents": removal.dependents,
        "dependent_count": removal.dependent_count,
    }
