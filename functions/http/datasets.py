"""Datasets: register, list, look at."""

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO
from typing import IO, Any
from uuid import UUID

import azure.durable_functions as df
import azure.functions as func
from pydantic import Field, ValidationError

from functions.answers.datasets import DATASET, LISTED_DATASET, UPLOADS, UploadPlace
from functions.endpoint import Call, Reply, endpoint
from functions.requests import PageQuery, invalid, read_body, refuse_nul
from shared.datasets.model import Dataset, DatasetSchema, DatasetStatistics, DatasetStatus, NewDataset, UploadedDataset
from shared.platform.errors import UnsupportedMedia, invalid_field

bp = df.Blueprint()

_CHUNK_BYTES = 1024 * 1024
_FILE_TYPES = frozenset(
    {"text/csv", "application/csv", "application/vnd.apache.parquet", "application/x-parquet", "application/parquet",
     "application/octet-stream"}
)  # fmt: skip


class DatasetQuery(PageQuery):
    """Filters of the catalogue."""

    name: str | None = Field(None, max_length=255)
    status: DatasetStatus | None = None


class NewDatasetQuery(NewDataset):
    """Name and description of a file posted as the raw body; unused with the other two ways of posting."""

    name: str = Field("", max_length=255)


async def _registered(call: Call, dataset_id: UUID) -> Reply:
    return _created(await call.services.datasets.get(dataset_id))


def _created(dataset: Dataset) -> Reply:
    return Reply(DATASET(dataset), headers={"Location": f"/api/v1/datasets/{dataset.id}"})


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
    """By multipart form (file, name, description), as the raw body with ?name=, or from a finished direct upload."""
    request = call.request
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json":
        uploaded = read_body(request, UploadedDataset, call.services.settings.max_json_bytes)
        dataset = await call.services.datasets.create_from_upload(uploaded, caller=call.caller, origin=call.origin)
    else:
        new, source = await asyncio.to_thread(_posted_file, request, media_type, call.query)
        dataset = await call.services.datasets.create(new, _chunks(source), caller=call.caller, origin=call.origin)
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


@endpoint(bp, "GET", "datasets", summary="List datasets, newest first", query=DatasetQuery, response=[LISTED_DATASET])
async def list_datasets(call: Call) -> Reply:
    """One page of the catalogue, without schema and statistics."""
    query: DatasetQuery = call.query
    found, total = await call.services.datasets.list_page(
        name=query.name, status=query.status, limit=query.page_size, offset=query.offset
    )
    return Reply([LISTED_DATASET(dataset) for dataset in found], pagination=query.pagination(total))


@endpoint(bp, "GET", "datasets/{dataset_id:guid}", summary="One dataset", response=DATASET)
async def get_dataset(call: Call) -> Reply:
    """With schema, without statistics."""
    return Reply(DATASET(await call.services.datasets.get(call.path_id("dataset_id"))))


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


def _posted_file(request: func.HttpRequest, media_type: str, query: NewDatasetQuery) -> tuple[NewDataset, IO[bytes]]:
    if media_type == "multipart/form-data":
        file = request.files.get("file")
        if file is None:
            raise invalid_field("file", "the form has no part of this name with a file name")
        return _named(refuse_nul(dict(request.form.items()))), file.stream
    if media_type in _FILE_TYPES:
        given = query.model_dump(exclude_unset=True)
        return _named(given), BytesIO(request.get_body())
    raise UnsupportedMedia("post multipart/form-data, text/csv, application/vnd.apache.parquet or application/json")


def _named(fields: dict[str, Any]) -> NewDataset:
    try:
        return NewDataset.model_validate(fields)
    except ValidationError as error:
        raise invalid(error) from error


async def _chunks(source: IO[bytes]) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(source.read, _CHUNK_BYTES):
        yield chunk
