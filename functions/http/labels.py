"""Labels: what turned out to be fraud."""

from collections import Counter
from typing import Final
from uuid import UUID

import azure.durable_functions as df
from pydantic import BaseModel, ConfigDict, Field

from functions.answers.labels import LabelsTaken
from functions.cursor import read_cursor, write_cursor
from functions.endpoint import Call, Reply, endpoint
from functions.requests import read_body
from shared.labels.model import LabelBatch, RecordedLabel
from shared.platform.errors import NotFound

bp = df.Blueprint()

_LARGEST_BODY: Final = 4 * 1024 * 1024  # ten thousand labels with time and source take about 1.5 MB
_NEWEST: Final = 2**63 - 1


class LabelQuery(BaseModel):
    """Which page of a prediction's labels."""

    model_config = ConfigDict(extra="forbid")

    page_size: int = Field(20, ge=1, le=100)
    cursor: str | None = Field(None, max_length=200)


@endpoint(
    bp,
    "POST",
    "predictions/labels",
    summary="Say what turned out to be fraud, of up to 10,000 transactions or predictions",
    uploads={"application/json": LabelBatch},
    response=LabelsTaken,
)
async def record_labels(call: Call) -> Reply:
    """All are recorded in one commit, or none; sending them again changes nothing."""
    limit = max(call.services.settings.max_json_bytes, _LARGEST_BODY)
    batch = read_body(call.request, LabelBatch, limit)
    taken = await call.services.labels.record(batch, caller=call.caller, origin=call.origin)
    return Reply({"counts": Counter(label.outcome.value for label in taken), "labels": taken})


@endpoint(
    bp,
    "GET",
    "predictions/{prediction_id:guid}/labels",
    summary="What was told of a prediction, newest first",
    query=LabelQuery,
    response=[RecordedLabel],
    errors=(NotFound,),
)
async def list_labels_of_prediction(call: Call) -> Reply:
    """Every label that was recorded, by whom and when, and what was known before it."""
    query: LabelQuery = call.query or LabelQuery()
    before = _NEWEST if query.cursor is None else read_cursor(query.cursor)[1].int
    found = await call.services.labels.list_of_prediction(
        call.path_id("prediction_id"), before=min(before, _NEWEST), limit=query.page_size
    )
    position = (found[-1].recorded_at, UUID(int=found[-1].id)) if len(found) == query.page_size else None
    return Reply(found, pagination={"page_size": query.page_size, "next_cursor": write_cursor(position)})
