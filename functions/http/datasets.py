"""Datasets: register, list, look at."""

from typing import Any, Literal
from uuid import UUID

import azure.durable_functions as df
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from functions.answers.datasets import (
    DATASET,
    LISTED_DATASET,
    UPLOADS,
    Preview,
    UploadPlace,
    dataset_in_short,
)
from functions.endpoint import Call, Reply, endpoint
from functions.file_bodies import read_file
from functions.requests import NEWEST_FIRST, PageQuery, media_type_of, read_body
from shared.datasets.model import (
    Dataset,
    DatasetFilter,
    DatasetSchema,
    DatasetStatistics,
    DatasetStatus,
    NewDataset,
    QualityReport,
    UploadedDataset,
)
from shared.datasets.preview import MOST_ROWS
from shared.platform.errors import NotFound, invalid_field

bp = df.Blueprint()

_SHOWN = (DatasetStatus.ACTIVE, DatasetStatus.PROCESSING)


class DatasetQuery(PageQuery):
    """Filters and order of the catalogue. Archived datasets are shown where ``status`` asks for them."""

    name: str | None = Field(None, min_length=1, max_length=255, description="A part of the name, in any case.")
    search: str | None = Field(
        None,
        max_length=255,
        description="Words or their beginnings, all to be found in name, description or column names.",
    )
    status: DatasetStatus | Literal["ANY"] | None = None
    created_by: UUID | None = None
    min_rows: int | None = Field(None, ge=0)
    max_rows: int | None = Field(None, ge=0)
    created_since: AwareDatetime | None = Field(None, description="From this time on.")
    created_until: AwareDatetime | None = Field(None, description="Before this time.")
    sort: Literal["created_at", "-created_at", "name", "-name", "row_count", "-row_count"] = NEWEST_FIRST

    def which(self) -> DatasetFilter:
        """What the service filters by.

        :raises InvalidContent: there is no word in ``search``.
        """
        if self.search is not None and not any(character.isalnum() for character in self.search):
            raise invalid_field("search", "must have a letter or a digit")
        statuses = _SHOWN if self.status is None else tuple(DatasetStatus) if self.status == "ANY" else (self.status,)
        filters = {name: value for name, value in self.filters().items() if name != "status"}
        return DatasetFilter(statuses=statuses, **filters)


class NewDatasetQuery(NewDataset):
    """Name and description of a file posted as the raw body; unused with the other two ways of posting."""

    name: str = Field("", max_length=255)


class PreviewQuery(BaseModel):
    """How much to show."""

    model_config = ConfigDict(extra="forbid")

    rows: int = Field(10, ge=1, le=MOST_ROWS)


async def _registered(call: Call, dataset_id: UUID) -> Reply:
    return _created(await call.services.datasets.get(dataset_id))


def _shown(dataset: Dataset) -> dict[str, Any]:
    return DATASET(dataset, quality=dataset_in_short(dataset))


def _created(dataset: Dataset) -> Reply:
    return Reply(_shown(dataset), headers={"Location": f"/api/v1/datasets/{dataset.id}"})


@endpoint(
    bp,
    "POST",
    "datasets",
    summary="Register a CSV or Parquet file",
    query=NewDatasetQuery,
    status=201,
    response=DATASET,
    uploads=UPLOADS,
    headers=("Location",),
    idempotent=_registered,
)
async def create_dataset(call: Call) -> Reply:
    """By multipart form (file, name, description), as the raw body with ?name=, or from a finished direct upload.

    CSV (UTF-8, UTF-16 with a byte order mark or Windows-1252; comma, semicolon, tab or pipe) or Parquet, plain or in
    gzip or zip. ``encoding`` and ``delimiter`` say what should not be recognised.
    """
    if media_type_of(call.request) == "application/json":
        uploaded = read_body(call.request, UploadedDataset, call.services.settings.max_json_bytes)
        dataset = await call.services.datasets.create_from_upload(uploaded, caller=call.caller, origin=call.origin)
    else:
        new, chunks = await read_file(call.request, call.query, NewDataset)
        dataset = await call.services.datasets.create(new, chunks, caller=call.caller, origin=call.origin)
    return _created(dataset)


@endpoint(
    bp,
    "POST",
    "datasets/uploads",
    summary="Get a URL to upload a large file straight to Blob",
    status=201,
    response=UploadPlace,
)
async def open_upload(call: Call) -> Reply:
    """The URL may write one blob and nothing else; register it with POST datasets {"upload_id", "name"}."""
    upload_id, url, lifetime = await call.services.datasets.open_upload()
    seconds = int(lifetime.total_seconds())
    headers = {"x-ms-blob-type": "BlockBlob"}
    return Reply({"upload_id": upload_id, "url": url, "method": "PUT", "headers": headers, "expires_in": seconds})


@endpoint(bp, "GET", "datasets", summary="Search the catalogue", query=DatasetQuery, response=[LISTED_DATASET])
async def list_datasets(call: Call) -> Reply:
    """One page of the catalogue, without schema and statistics."""
    query: DatasetQuery = call.query
    found, total = await call.services.datasets.list_page(query.which(), query.of(query.sort))
    return Reply([LISTED_DATASET(dataset) for dataset in found], pagination=query.pagination(total))


@endpoint(bp, "GET", "datasets/{dataset_id:guid}", summary="One dataset", response=DATASET)
async def get_dataset(call: Call) -> Reply:
    """With schema and the gravest findings on its quality, without statistics."""
    return Reply(_shown(await call.services.datasets.get(call.path_id("dataset_id"))))


@endpoint(bp, "GET", "datasets/{dataset_id:guid}/schema", summary="Columns of a dataset", response=DatasetSchema)
async def get_dataset_schema(call: Call) -> Reply:
    """Name, type and nullability, in file order."""
    return Reply((await call.services.datasets.get(call.path_id("dataset_id"))).schema_)


@endpoint(
    bp,
    "GET",
    "datasets/{dataset_id:guid}/statistics",
    summary="Statistics of a dataset's columns",
    response=DatasetStatistics,
)
async def get_dataset_statistics(call: Call) -> Reply:
    """Figures by column, as profiled when the file was registered."""
    return Reply((await call.services.datasets.get(call.path_id("dataset_id"))).statistics)


@endpoint(
    bp,
    "GET",
    "datasets/{dataset_id:guid}/quality",
    summary="What is wrong with a dataset",
    response=QualityReport,
)
async def get_dataset_quality(call: Call) -> Reply:
    """Every finding, gravest first, as found when the file was registered; 404 where it was registered before."""
    dataset = await call.services.datasets.get(call.path_id("dataset_id"))
    if dataset.quality is None:
        raise NotFound("the dataset was registered before there were quality reports", target="dataset_id")
    return Reply(dataset.quality)


@endpoint(
    bp,
    "GET",
    "datasets/{dataset_id:guid}/preview",
    summary="First rows of a dataset",
    query=PreviewQuery,
    response=Preview,
)
async def preview_dataset(call: Call) -> Reply:
    """A hundred rows at most; long texts are cut."""
    query: PreviewQuery = call.query
    dataset, rows = await call.services.datasets.preview(call.path_id("dataset_id"), query.rows)
    columns = [column.name for column in dataset.schema_.columns]
    return Reply({"columns": columns, "rows": rows, "row_count": dataset.row_count})
