"""What the dataset registry answers, and the forms that it takes."""

from typing import Annotated, Any, Final, Literal, NotRequired
from uuid import UUID

from pydantic import Field
from typing_extensions import TypedDict

from functions.views import View
from shared.datasets.model import Dataset, UploadedDataset

DATASET = View(Dataset, "DatasetCard", hidden={"statistics"})
LISTED_DATASET = View(Dataset, "DatasetRow", hidden={"schema_", "statistics"})

Binary = Annotated[str, Field(json_schema_extra={"format": "binary"})]


class DatasetForm(TypedDict):
    """A CSV or Parquet file with its name."""

    file: Binary
    name: Annotated[str, Field(min_length=1, max_length=255)]
    description: NotRequired[Annotated[str, Field(max_length=10_000)]]


UPLOADS: Final[dict[str, Any]] = {
    "multipart/form-data": DatasetForm,
    "text/csv": Binary,
    "application/vnd.apache.parquet": Binary,
    "application/octet-stream": Binary,
    "application/json": UploadedDataset,
}


class UploadPlace(TypedDict):
    """Where to send a file too large for a request body."""

    upload_id: UUID
    url: str
    method: Literal["PUT"]
    headers: dict[str, str]
    expires_in: Annotated[int, Field(description="Seconds that the URL may be used.")]
