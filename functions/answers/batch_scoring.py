"""What scoring many transactions answers."""

from datetime import datetime
from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from functions.answers.scoring import Scored
from functions.views import View
from shared.scoring.jobs.model import ScoringJob


class ItemFieldError(TypedDict):
    """A field that was refused, and why."""

    field: str
    message: str


class ItemError(TypedDict):
    """The error that the transaction would have had alone."""

    code: str
    message: str
    target: str | None
    details: list[ItemFieldError]


class BatchItem(TypedDict):
    """One transaction's result: ``data`` where status is 200, else ``error``."""

    index: Annotated[int, Field(ge=0, description="Place in the request.")]
    status: int
    data: NotRequired[Scored]
    error: NotRequired[ItemError]


class BatchCounts(TypedDict):
    """How many of the transactions had which result."""

    transactions: int
    scored: int
    failed: int
    flagged: int


class ScoredBatch(TypedDict):
    """Results in the order of the request."""

    results: list[BatchItem]
    counts: BatchCounts


SCORING_JOB = View(ScoringJob, "ScoringJobCard", copied={"job_id": "id"}, added={"progress": float})


class ScoringResult(TypedDict):
    """Where the scored file can be downloaded until then: Parquet, a row for each row of the source."""

    url: str
    expires_at: datetime
