"""The life of a dataset: its versions, its end, and its return."""

from uuid import UUID

import azure.durable_functions as df

from functions.answers.datasets import DATASET, VERSION, VERSION_UPLOADS, Removed, dataset_in_short, removed
from functions.endpoint import Call, Reply, endpoint
from functions.file_bodies import read_file
from functions.requests import PageQuery, media_type_of, read_body
from shared.datasets.model import Dataset, NewVersion, UploadedVersion
from shared.datasets.versions import Version
from shared.platform.errors import Conflict

bp = df.Blueprint()


async def _registered(call: Call, dataset_id: UUID) -> Reply:
    return await _created(call, await call.services.datasets.get(dataset_id))


async def _created(call: Call, dataset: Dataset) -> Reply:
    changes = await call.services.datasets.changes(dataset)
    shown = VERSION(dataset, quality=dataset_in_short(dataset), changes=changes)
    return Reply(shown, headers={"Location": f"/api/v1/datasets/{dataset.id}"})


@endpoint(
    bp,
    "POST",
    "datasets/{dataset_id:guid}/versions",
    summary="Register the next version of a dataset",
    query=NewVersion,
    status=201,
    response=VERSION,
    errors=(Conflict,),
    uploads=VERSION_UPLOADS,
    headers=("Location",),
    idempotent=_registered,
)
async def create_dataset_version(call: Call) -> Reply:
    """The file comes in the ways of POST datasets. It follows the last version of the line, whichever version of it
    the path names: 1.1 after 1.0, or 2.0 where a column is gone or has another type. Answers with what changed.
    """
    service, dataset_id = call.services.datasets, call.path_id("dataset_id")
    if media_type_of(call.request) == "application/json":
        uploaded = read_body(call.request, UploadedVersion, call.services.settings.max_json_bytes)
        dataset = await service.add_version_from_upload(dataset_id, uploaded, caller=call.caller, origin=call.origin)
    else:
        new, chunks = await read_file(call.request, call.query, NewVersion)
        dataset = await service.add_version(dataset_id, new, chunks, caller=call.caller, origin=call.origin)
    return await _created(call, dataset)


@endpoint(
    bp,
    "GET",
    "datasets/{dataset_id:guid}/versions",
    summary="List the versions of a dataset",
    query=PageQuery,
    response=[Version],
)
async def list_dataset_versions(call: Call) -> Reply:
    """The whole line that the dataset belongs to, last version first, each with the changes of its columns."""
    query: PageQuery = call.query
    found, total = await call.services.datasets.versions(
        call.path_id("dataset_id"), limit=query.page_size, offset=query.offset
    )
    return Reply(found, pagination=query.pagination(total))


@endpoint(
    bp,
    "DELETE",
    "datasets/{dataset_id:guid}",
    summary="Remove a dataset, or archive it where something depends on it",
    response=Removed,
)
async def remove_dataset(call: Call) -> Reply:
    """Without feature sets and later versions the dataset and its files are gone: ``status`` is ``DELETED``. Else it
    is ``ARCHIVED``, hidden from the list and closed for new feature sets, and the answer names what depends on it.
    """
    removal = await call.services.dataset_lifecycle.remove(
        call.path_id("dataset_id"), caller=call.caller, origin=call.origin
    )
    return Reply(removed(removal))


@endpoint(
    bp,
    "POST",
    "datasets/{dataset_id:guid}/restore",
    summary="Make an archived dataset active again",
    response=DATASET,
    errors=(Conflict,),
)
async def restore_dataset(call: Call) -> Reply:
    """409 unless it is archived."""
    restored = await call.services.dataset_lifecycle.restore(
        call.path_id("dataset_id"), caller=call.caller, origin=call.origin
    )
    return Reply(DATASET(restored, quality=dataset_in_short(restored)))
