"""Performance: how a model does on labels that have come, and how it is likely to do on the rest."""

from uuid import UUID

import azure.durable_functions as df
from pydantic import BaseModel, ConfigDict, Field

from functions.endpoint import Call, Reply, endpoint
from shared.monitoring.performance_model import Performance
from shared.platform.errors import Conflict, NotFound

bp = df.Blueprint()


class PerformanceQuery(BaseModel):
    """Which model, and how many weeks of it; by default the one in production."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model_id: UUID | None = None
    weeks: int = Field(12, ge=1, le=104)


@endpoint(
    bp,
    "GET",
    "monitoring/performance",
    summary="How a model does",
    query=PerformanceQuery,
    response=Performance,
    errors=(Conflict, NotFound),
)
async def get_performance(call: Call) -> Reply:
    """Figures of the mature window beside those of training, week by week, estimates where labels have not come,
    latency, and how long labels take."""
    query: PerformanceQuery = call.query
    return Reply(await call.services.performance.look(query.model_id, weeks=query.weeks))
