"""What scoring many transactions answers."""

from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from functions.answers.scoring import Scored


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
