"""Scoring many transactions at once."""

from typing import Any

import azure.durable_functions as df

from functions.answers.batch_scoring import ScoredBatch
from functions.endpoint import Call, Reply, endpoint
from functions.http.scoring import shown
from functions.requests import read_json, validated
from functions.responses import described
from shared.platform.errors import Conflict, InvalidContent, NotFound, Unavailable
from shared.platform.telemetry import get_logger
from shared.scoring.model import BatchScoreRequest, ScoreRequest
from shared.scoring.prepared import Answer

ITEM_FAILED = "batch_item_failed"

_log = get_logger("http")

bp = df.Blueprint()


@endpoint(
    bp,
    "POST",
    "predict/batch",
    summary="Score up to 1,000 transactions",
    uploads={"application/json": BatchScoreRequest},
    response=ScoredBatch,
    errors=(NotFound, Conflict),
)
async def score_transactions(call: Call) -> Reply:
    """Results in the order of the transactions: each the answer of predict, or the error it would have had, with its
    status. One that is refused does not touch its neighbours; all rows are committed before the answer.
    """
    document = read_json(call.request, call.services.settings.max_batch_json_bytes)
    request = validated(document, BatchScoreRequest, check_nul=False)
    checked = [_checked(item) for item in request.transactions]
    sound = [item for item in checked if isinstance(item, dict)]
    scored = iter(
        await call.services.scoring.score_many(sound, model_id=request.model_id, sender=call.caller.user_id)
        if sound
        else []
    )
    results = [next(scored) if isinstance(item, dict) else item for item in checked]
    if isinstance(results[0], Unavailable) and all(isinstance(result, Unavailable) for result in results):
        raise results[0]  # nothing was done: the caller may send the whole again
    rendered = [_rendered(position, result) for position, result in enumerate(results)]
    answers = [result for result in results if isinstance(result, Answer)]
    counts = {
        "transactions": len(results),
        "scored": len(answers),
        "failed": len(results) - len(answers),
        "flagged": sum(answer.prediction.is_fraud for answer in answers),
    }
    return Reply({"results": rendered, "counts": counts})


def _checked(item: object) -> dict[str, Any] | InvalidContent:
    try:
        return validated({"transaction": item}, ScoreRequest).transaction
    except InvalidContent as error:
        return error


def _rendered(position: int, result: Answer | BaseException) -> dict[str, Any]:
    if isinstance(result, Answer):
        return {"index": position, "status": 200, "data": shown(result)}
    status, error = described(result)
    if status == 500:
        _log.error(ITEM_FAILED, exc_info=result)
    return {"index": position, "status": status, "error": error}
