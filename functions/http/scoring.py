"""Scoring, and looking at what was scored."""

from typing import Any
from uuid import UUID

import azure.durable_functions as df
from pydantic import BaseModel, ConfigDict, Field

from functions.answers.scoring import EXPLAINED_PREDICTION, PREDICTION, Explained, Scored
from functions.cursor import NEWEST, read_cursor, write_cursor
from functions.endpoint import Call, Reply, endpoint
from shared.platform.errors import Conflict, NotFound
from shared.scoring.model import Explanation, ScoreRequest
from shared.scoring.prepared import Answer
from shared.scoring.reason_codes import CATALOGUE_VERSION

bp = df.Blueprint()


class PredictionQuery(BaseModel):
    """Which predictions; without filters, those of the model in production."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    transaction_id: str | None = Field(None, min_length=1, max_length=255)
    model_id: UUID | None = None
    is_fraud: bool | None = None
    page_size: int = Field(20, ge=1, le=100)
    cursor: str | None = Field(None, max_length=200)


@endpoint(
    bp,
    "POST",
    "predict",
    summary="Score a transaction",
    body=ScoreRequest,
    response=Scored,
    errors=(NotFound, Conflict),
)
async def score_transaction(call: Call) -> Reply:
    """Score, decision and, when flagged, the reasons; the row is committed before the answer."""
    request: ScoreRequest = call.body
    answer = await call.services.scoring.score(
        request.transaction, model_id=request.model_id, explain=False, sender=call.caller.user_id
    )
    return Reply(shown(answer))


@endpoint(
    bp,
    "POST",
    "predict/explain",
    summary="Score a transaction and explain it",
    body=ScoreRequest,
    response=Explained,
    errors=(NotFound, Conflict),
)
async def explain_transaction(call: Call) -> Reply:
    """As predict, always with reasons, the base value, all contributions, and what their sum is."""
    request: ScoreRequest = call.body
    answer = await call.services.scoring.score(
        request.transaction, model_id=request.model_id, explain=True, sender=call.caller.user_id
    )
    assert answer.found is not None
    return Reply({**shown(answer), **_explained(answer.found)})


@endpoint(
    bp,
    "GET",
    "predictions/{prediction_id:guid}",
    summary="A stored prediction with its reasons",
    response=EXPLAINED_PREDICTION,
    errors=(Conflict,),
)
async def get_prediction(call: Call) -> Reply:
    """Reasons are computed from the stored vector and the stored model where they were not stored."""
    prediction, found, reasons = await call.services.scoring.get(call.path_id("prediction_id"))
    extra = {"input_features": prediction.input_features, "reasons": reasons, "reason_catalogue": CATALOGUE_VERSION}
    return Reply(EXPLAINED_PREDICTION(prediction, **extra, **_explained(found)))


@endpoint(
    bp,
    "GET",
    "predictions",
    summary="Stored predictions, newest first",
    query=PredictionQuery,
    response=[PREDICTION],
    errors=(Conflict,),
)
async def list_predictions(call: Call) -> Reply:
    """One page by cursor: of a transaction, of a model, or of the model in production."""
    query: PredictionQuery = call.query or PredictionQuery()
    before = NEWEST if query.cursor is None else read_cursor(query.cursor)
    scoring = call.services.scoring
    if query.transaction_id is not None:
        found = await scoring.list_of_transaction(query.transaction_id, before=before, limit=query.page_size)
    else:
        found = await scoring.list_of_model(
            query.model_id, is_fraud=query.is_fraud, before=before, limit=query.page_size
        )
    position = (found[-1].created_at, found[-1].id) if len(found) == query.page_size else None
    pagination: dict[str, Any] = {"page_size": query.page_size, "next_cursor": write_cursor(position)}
    if (archived := await scoring.archived_before()) is not None:
        pagination["archived_before"] = archived
    return Reply([PREDICTION(prediction) for prediction in found], pagination=pagination)


def shown(answer: Answer) -> dict[str, Any]:
    prediction = answer.prediction
    return {
        "prediction_id": prediction.id,
        "transaction_id": prediction.transaction_id,
        "fraud_score": prediction.score,
        "is_fraud": prediction.is_fraud,
        "confidence": prediction.confidence,
        "threshold": answer.model.threshold,
        "reasons": answer.reasons,
        "reason_catalogue": CATALOGUE_VERSION,
        "model_id": answer.model.id,
        "model_version": answer.model.version,
        "latency_ms": prediction.latency_ms,
        "created_at": prediction.created_at,
    }


def _explained(found: Explanation) -> dict[str, Any]:
    return {"base_value": found.base_value, "contributions": found.contributions, "explanation": found.kind}
