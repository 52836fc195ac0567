"""The life of a model: promote, roll back, archive."""

from typing import Any
from uuid import UUID

import azure.durable_functions as df
from pydantic import BaseModel, ConfigDict, Field

from functions.answers.models import MODEL, PROMOTED, PromotionTrial
from functions.endpoint import Call, Reply, endpoint
from shared.platform.errors import Conflict
from shared.registry.model import ArchiveRequest, PromotionRequest, Reasoned
from shared.registry.promotion import Trial

bp = df.Blueprint()


class PromoteQuery(BaseModel):
    """Whether to do it."""

    model_config = ConfigDict(extra="forbid")

    dry_run: bool = Field(False, description="Answer what would happen and change nothing.")


async def _promoted(call: Call, model_id: UUID) -> Reply:
    """The model as it is now, with the verdict that it was promoted on last."""
    model = await call.services.registry.get(model_id)
    history = await call.services.registry.history(model_id)
    return Reply(PROMOTED(model, verdict=next(step.verdict for step in history if step.verdict is not None)))


async def _model(call: Call, model_id: UUID) -> Reply:
    return Reply(MODEL(await call.services.registry.get(model_id)))


@endpoint(
    bp,
    "POST",
    "models/{model_id:guid}/promote",
    summary="Promote a model, or try what would happen",
    body=PromotionRequest,
    query=PromoteQuery,
    response=(PROMOTED, PromotionTrial),
    errors=(Conflict,),
    idempotent=_promoted,
)
async def promote_model(call: Call) -> Reply:
    """TRAINED to STAGING, or STAGING to PRODUCTION through the gate; a dry run answers the verdict alone."""
    if call.query.dry_run:
        trial = await call.services.promotions.try_promotion(call.path_id("model_id"), call.body, caller=call.caller)
        return Reply(_tried(trial))
    model, verdict = await call.services.promotions.promote(
        call.path_id("model_id"), call.body, caller=call.caller, origin=call.origin
    )
    return Reply(PROMOTED(model, verdict=verdict.as_json()))


@endpoint(
    bp,
    "POST",
    "models/{model_id:guid}/rollback",
    summary="Back to the previous production model",
    body=Reasoned,
    response=MODEL,
    errors=(Conflict,),
    idempotent=_model,
)
async def rollback_model(call: Call) -> Reply:
    """Archives the model in production and puts the one back that it was promoted over."""
    model = await call.services.promotions.rollback(
        call.path_id("model_id"), call.body.reason, caller=call.caller, origin=call.origin
    )
    return Reply(MODEL(model))


@endpoint(
    bp,
    "POST",
    "models/{model_id:guid}/archive",
    summary="Take a model out of use",
    body=ArchiveRequest,
    response=MODEL,
    errors=(Conflict,),
    idempotent=_model,
)
async def archive_model(call: Call) -> Reply:
    """Its artifacts stay, so that what it decided can still be explained."""
    model = await call.services.promotions.archive(
        call.path_id("model_id"), call.body, caller=call.caller, origin=call.origin
    )
    return Reply(MODEL(model))


def _tried(trial: Trial) -> dict[str, Any]:
    replaces = trial.replaces
    return {
        "allowed": trial.allowed,
        "from_status": trial.model.status,
        "target_status": trial.target_status,
        "replaces": replaces and replaces.model_dump(include={"id", "name", "version"}),
        "verdict": trial.verdict.as_json(),
        "overridden": trial.overridden,
        "artifact": {"loadable": trial.fault is None, "file": trial.file, "message": trial.fault},
    }
