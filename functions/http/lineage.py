"""Lineage: from a model back to its data, and from data to the models made from it."""

from uuid import UUID

import azure.durable_functions as df

from functions.answers.models import DESCENDANTS, LINEAGE
from functions.endpoint import Call, Reply, endpoint
from functions.requests import PageQuery

bp = df.Blueprint()


@endpoint(bp, "GET", "models/{model_id:guid}/lineage", summary="What a model was made from", response=LINEAGE)
async def get_model_lineage(call: Call) -> Reply:
    """Model, training job, feature set, dataset, and the versions that the dataset came from."""
    source, ancestors = await call.services.registry.lineage(call.path_id("model_id"))
    return Reply(LINEAGE(source, dataset_ancestors=ancestors))


@endpoint(
    bp,
    "GET",
    "datasets/{dataset_id:guid}/lineage",
    summary="What was made from a dataset",
    query=PageQuery,
    response=DESCENDANTS,
)
async def get_dataset_lineage(call: Call) -> Reply:
    """The versions before and after it, and a page of feature sets, training jobs and models made from it."""
    return await _descendants(call, call.path_id("dataset_id"))


@endpoint(
    bp,
    "GET",
    "features/sets/{feature_set_id:guid}/lineage",
    summary="What was made from a feature set",
    query=PageQuery,
    response=DESCENDANTS,
)
async def get_feature_set_lineage(call: Call) -> Reply:
    """The dataset it was made from, and a page of training jobs and models made from it."""
    feature_set_id = call.path_id("feature_set_id")
    return await _descendants(call, await call.services.registry.dataset_of(feature_set_id), feature_set_id)


async def _descendants(call: Call, dataset_id: UUID, feature_set_id: UUID | None = None) -> Reply:
    query: PageQuery = call.query
    line, made, total = await call.services.registry.descendants(
        dataset_id, feature_set_id, limit=query.page_size, offset=query.offset
    )
    return Reply(DESCENDANTS(line, descendants=made), pagination=query.pagination(total))
