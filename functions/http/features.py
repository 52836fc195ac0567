"""Feature sets: compute, list, look at."""

from typing import Literal
from uuid import UUID

import azure.durable_functions as df
from pydantic import BaseModel, ConfigDict, Field

from functions.answers.features import FEATURE_SET, LISTED_FEATURE_SET, DocumentSchemas, FeaturePreview
from functions.endpoint import Call, Reply, accepted, endpoint
from functions.requests import NEWEST_FIRST, PageQuery
from functions.responses import Document
from shared.features.model import FeatureSet, FeatureSetFilter, FeatureSetRequest, FeatureSetStatus
from shared.features.plan import FeaturePlan
from shared.features.schemas import document_schemas
from shared.platform.errors import Conflict, Unavailable

bp = df.Blueprint()


class FeatureSetQuery(PageQuery):
    """Filters and order of the list."""

    status: FeatureSetStatus | None = None
    dataset_id: UUID | None = None
    name: str | None = Field(None, min_length=1, max_length=255, description="A part of the name, in any case.")
    created_by: UUID | None = None
    sort: Literal["created_at", "-created_at", "name", "-name", "status", "-status"] = NEWEST_FIRST


class PreviewQuery(BaseModel):
    """How much to show."""

    model_config = ConfigDict(extra="forbid")

    rows: int = Field(10, ge=1, le=100)


async def _requested(call: Call, feature_set_id: UUID) -> Reply:
    return _accepted(await call.services.features.get(feature_set_id))


def _accepted(feature_set: FeatureSet) -> Reply:
    return accepted(FEATURE_SET(feature_set), f"/api/v1/features/sets/{feature_set.id}")


@endpoint(
    bp,
    "POST",
    "features/compute",
    summary="Engineer features from a dataset",
    body=FeatureSetRequest,
    status=202,
    durable=True,
    response=FEATURE_SET,
    errors=(Conflict,),
    idempotent=_requested,
)
async def compute_features(call: Call) -> Reply:
    """Answers with the complete configuration, inferred parts included, and starts the orchestration.

    The body names at most one of ``config``, ``plan`` and ``plan_of``.
    """
    created = await call.services.features.request(call.body, caller=call.caller, origin=call.origin)
    assert call.durable is not None
    payload = {"feature_set_id": str(created.id)}
    try:
        await call.durable.start_new("engineer_features", created.orchestration_id, payload)
    except Exception as error:
        await call.services.features.stages.fail(created.id, "the orchestration could not be started")
        await call.undone()
        raise Unavailable("the orchestration could not be started", target="orchestration") from error
    return _accepted(created)


@endpoint(
    bp, "GET", "features/schema", summary="JSON schemas of the configuration and of a plan", response=DocumentSchemas
)
async def get_feature_schemas(call: Call) -> Reply:
    """What ``config`` and ``plan`` of ``features/compute`` may hold."""
    return Reply(document_schemas())


@endpoint(
    bp,
    "GET",
    "features/sets",
    summary="List feature sets",
    query=FeatureSetQuery,
    response=[LISTED_FEATURE_SET],
)
async def list_feature_sets(call: Call) -> Reply:
    """One page, without configurations and reports."""
    query: FeatureSetQuery = call.query
    found, total = await call.services.features.list_page(FeatureSetFilter(**query.filters()), query.of(query.sort))
    return Reply([LISTED_FEATURE_SET(row) for row in found], pagination=query.pagination(total))


@endpoint(bp, "GET", "features/sets/{feature_set_id:guid}", summary="One feature set", response=FEATURE_SET)
async def get_feature_set(call: Call) -> Reply:
    """Status, progress by stage, and once completed the features, their scores and the selection report."""
    return Reply(FEATURE_SET(await call.services.features.get(call.path_id("feature_set_id"))))


@endpoint(
    bp,
    "GET",
    "features/sets/{feature_set_id:guid}/preview",
    summary="First rows of a feature set",
    query=PreviewQuery,
    response=FeaturePreview,
    errors=(Conflict,),
)
async def preview_feature_set(call: Call) -> Reply:
    """Rows, and each feature with description and basic statistics."""
    query: PreviewQuery = call.query
    return Reply(await call.services.features.preview(call.path_id("feature_set_id"), query.rows))


@endpoint(
    bp,
    "GET",
    "features/sets/{feature_set_id:guid}/plan",
    summary="The plan of a feature set",
    response=FeaturePlan,
    errors=(Conflict,),
)
async def get_feature_plan(call: Call) -> Reply:
    """The document with every fitted parameter, as ``features/compute`` takes it for another dataset."""
    return Reply(await call.services.features.plan(call.path_id("feature_set_id")))


@endpoint(
    bp,
    "GET",
    "features/sets/{feature_set_id:guid}/ranking",
    summary="The ranking of the features, as SVG",
    response=str,
    media_type="image/svg+xml",
    errors=(Conflict,),
)
async def get_feature_ranking(call: Call) -> Reply:
    """Mutual information and gain of the best features, the chosen ones in full colour."""
    return _picture(await call.services.features.picture(call.path_id("feature_set_id"), "ranking"))


@endpoint(
    bp,
    "GET",
    "features/sets/{feature_set_id:guid}/elimination",
    summary="The curve of elimination, as SVG",
    response=str,
    media_type="image/svg+xml",
    errors=(Conflict,),
)
async def get_feature_elimination(call: Call) -> Reply:
    """Average precision by number of features, where recursive elimination was asked for."""
    return _picture(await call.services.features.picture(call.path_id("feature_set_id"), "elimination"))


def _picture(svg: bytes) -> Reply:
    """As a page of its own an SVG may hold scripts; this one may only apply its style sheet."""
    headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}
    return Reply(Document(svg, "image/svg+xml"), headers=headers)
