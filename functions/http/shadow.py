"""Challengers of the model in production."""

from datetime import timedelta
from typing import Self
from uuid import UUID

import azure.durable_functions as df
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from functions.answers.shadow import CHALLENGER
from functions.endpoint import Call, Reply, endpoint
from shared.platform.clock import utc_now
from shared.platform.errors import Conflict
from shared.scoring.shadow.model import Challenger, Period
from shared.scoring.shadow.report import ShadowReport

bp = df.Blueprint()

_USUAL_PERIOD = timedelta(days=7)


class ShadowReportQuery(BaseModel):
    """Which predictions, by when they were made; without times, those of the last seven days."""

    model_config = ConfigDict(extra="forbid")

    since: AwareDatetime | None = Field(None, description="From this time on.")
    until: AwareDatetime | None = Field(None, description="Before this time; default: now.")
    examples: int = Field(20, ge=0, le=100, description="Predictions of each kind of change, largest amounts first.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.since and self.until and self.since >= self.until:
            raise ValueError("since must be before until")
        return self

    def period(self) -> Period:
        """The period meant."""
        until = self.until or utc_now()
        return Period(self.since or until - _USUAL_PERIOD, until)


@endpoint(bp, "GET", "models/challengers", summary="Models that score in the shadow", response=[CHALLENGER])
async def list_challengers(call: Call) -> Reply:
    """At most three, the oldest first; ``followed_until`` says how far each has come."""
    return Reply([_shown(challenger) for challenger in await call.services.shadow.list_active()])


async def _started(call: Call, model_id: UUID) -> Reply:
    return Reply(_shown(await call.services.shadow.get(model_id)))


@endpoint(
    bp,
    "POST",
    "models/{model_id:guid}/challenge",
    summary="Let a model score in the shadow",
    response=CHALLENGER,
    errors=(Conflict,),
    idempotent=_started,
)
async def start_challenge(call: Call) -> Reply:
    """A model in STAGING scores what the model in production scores from now on, off the request path."""
    found = await call.services.shadow.start(call.path_id("model_id"), caller=call.caller, origin=call.origin)
    return Reply(_shown(found))


@endpoint(
    bp,
    "DELETE",
    "models/{model_id:guid}/challenge",
    summary="Let a model score in the shadow no longer",
    response=CHALLENGER,
)
async def stop_challenge(call: Call) -> Reply:
    """What it has scored stays, and so does its report."""
    found = await call.services.shadow.stop(call.path_id("model_id"), caller=call.caller, origin=call.origin)
    return Reply(_shown(found))


@endpoint(
    bp,
    "GET",
    "models/{model_id:guid}/shadow-report",
    summary="Champion against challenger",
    query=ShadowReportQuery,
    response=ShadowReport,
)
async def get_shadow_report(call: Call) -> Reply:
    """What would change: agreement, newly blocked and newly approved with amounts, scores, and what labels say."""
    query: ShadowReportQuery = call.query
    model_id = call.path_id("model_id")
    return Reply(await call.services.shadow.report(model_id, query.period(), examples=query.examples))


def _shown(challenger: Challenger) -> dict[str, object]:
    return CHALLENGER(challenger, active=challenger.active)
