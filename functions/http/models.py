"""Models: look, set baselines, promote, roll back, archive."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import azure.durable_functions as df
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from functions.answers.models import MODEL, TRANSITION, Comparison, ModelFigures
from functions.endpoint import Call, Reply, endpoint, report_page
from functions.requests import NEWEST_FIRST, PageQuery
from shared.platform.errors import Conflict, NotFound
from shared.registry.lifecycle import ModelStatus
from shared.registry.model import ModelFilter
from shared.registry.rules import Baseline, ChampionRule, NewBaselines, NewChampionRules

bp = df.Blueprint()


class ModelQuery(PageQuery):
    """Filters and order of the registry."""

    status: ModelStatus | None = None
    algorithm: str | None = Field(None, max_length=100)
    name: str | None = Field(None, min_length=1, max_length=255, description="A part of the name, in any case.")
    created_by: UUID | None = None
    created_since: AwareDatetime | None = Field(None, description="From this time on.")
    created_until: AwareDatetime | None = Field(None, description="Before this time.")
    sort: Literal[
        "created_at",
        "-created_at",
        "name",
        "-name",
        "algorithm",
        "-algorithm",
        "status",
        "-status",
    ] = NEWEST_FIRST


class TimeQuery(BaseModel):
    """A moment; without one, now."""

    model_config = ConfigDict(extra="forbid")

    at: AwareDatetime | None = Field(None, description="ISO 8601 with a time zone.")


class CompareQuery(BaseModel):
    """Which models."""

    model_config = ConfigDict(extra="forbid")

    ids: list[UUID] = Field(min_length=1, max_length=20, description="Ids of 1 to 20 models, separated by commas.")

    @field_validator("ids", mode="before")
    @classmethod
    def _parts(cls, value: object) -> object:
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else value

    @field_validator("ids")
    @classmethod
    def _each_once(cls, value: list[UUID]) -> list[UUID]:
        if len(set(value)) < len(value):
            raise ValueError("each model may be named once")
        return value


@endpoint(bp, "GET", "models", summary="List models", query=ModelQuery, response=[MODEL])
async def list_models(call: Call) -> Reply:
    """One page of the registry."""
    query: ModelQuery = call.query
    models, total = await call.services.registry.list_page(ModelFilter(**query.filters()), query.of(query.sort))
    return Reply([MODEL(model) for model in models], pagination=query.pagination(total))


@endpoint(
    bp,
    "GET",
    "models/production",
    summary="The model in production, now or at a time",
    query=TimeQuery,
    response=MODEL,
    errors=(NotFound,),
)
async def get_production_model(call: Call) -> Reply:
    """Which model decides, or decided at ``at``."""
    at: datetime | None = call.query.at if call.query else None
    return Reply(MODEL(await call.services.registry.production(at)))


@endpoint(
    bp,
    "GET",
    "models/compare",
    summary="Models side by side",
    query=CompareQuery,
    response=Comparison,
    errors=(NotFound,),
)
async def compare_models(call: Call) -> Reply:
    """Figures with intervals, what differs in hyperparameters and features, importance; values in the order of ids."""
    return Reply(await call.services.registry.compare(call.query.ids))


@endpoint(bp, "GET", "models/{model_id:guid}", summary="One model", response=MODEL)
async def get_model(call: Call) -> Reply:
    """With metrics, parameters and features."""
    return Reply(MODEL(await call.services.registry.get(call.path_id("model_id"))))


@endpoint(
    bp,
    "GET",
    "models/{model_id:guid}/metrics",
    summary="Test metrics and feature importance of a model",
    response=ModelFigures,
)
async def get_model_metrics(call: Call) -> Reply:
    """As recorded when the model was trained."""
    model = await call.services.registry.get(call.path_id("model_id"))
    return Reply(
        {"metrics": model.metrics, "feature_importance": model.feature_importance, "threshold": model.threshold}
    )


@endpoint(
    bp,
    "GET",
    "models/{model_id:guid}/report",
    summary="Training report of a model, as HTML",
    response=str,
    media_type="text/html",
    errors=(Conflict,),
)
async def get_model_report(call: Call) -> Reply:
    """One self-contained page, verified; a browser may apply its own style sheet and nothing else."""
    content = await call.services.reports.read(call.path_id("model_id"))
    return report_page(content)


@endpoint(
    bp,
    "GET",
    "models/{model_id:guid}/history",
    summary="Every step of a model's life",
    response=[TRANSITION],
)
async def get_model_history(call: Call) -> Reply:
    """Newest first: who moved it, when, why, and on which numbers."""
    return Reply(await call.services.registry.history(call.path_id("model_id")))


@endpoint(bp, "GET", "models/{model_id:guid}/baselines", summary="Baselines of a model", response=list[Baseline])
async def list_baselines(call: Call) -> Reply:
    """What its metrics must reach before it may go to production; inactive ones too."""
    return Reply(await call.services.registry.baselines(call.path_id("model_id")))


async def _baselines(call: Call, model_id: UUID) -> Reply:
    return Reply(await call.services.registry.baselines(model_id))


@endpoint(
    bp,
    "POST",
    "models/{model_id:guid}/baselines",
    summary="Set baselines of a model",
    body=NewBaselines,
    status=201,
    response=list[Baseline],
    idempotent=_baselines,
)
async def set_baselines(call: Call) -> Reply:
    """Replaces those of the same metrics, keeps the others; answers with all of them."""
    found = await call.services.registry.set_baselines(
        call.path_id("model_id"), call.body.baselines, caller=call.caller, origin=call.origin
    )
    return Reply(found)


@endpoint(
    bp,
    "GET",
    "models/{model_id:guid}/champion-rules",
    summary="Rules of a model against the one in production",
    response=list[ChampionRule],
)
async def list_champion_rules(call: Call) -> Reply:
    """By how much each metric may be worse than in production; inactive ones too."""
    return Reply(await call.services.registry.champion_rules(call.path_id("model_id")))


async def _champion_rules(call: Call, model_id: UUID) -> Reply:
    return Reply(await call.services.registry.champion_rules(model_id))


@endpoint(
    bp,
    "POST",
    "models/{model_id:guid}/champion-rules",
    summary="Set rules of a model against the one in production",
    body=NewChampionRules,
    status=201,
    response=list[ChampionRule],
    idempotent=_champion_rules,
)
async def set_champion_rules(call: Call) -> Reply:
    """Replaces those of the same metrics, keeps the others; answers with all of them."""
    rules = await call.services.registry.set_champion_rules(
        call.path_id("model_id"), call.body.rules, caller=call.caller, origin=call.origin
    )
    return Reply(rules)
