"""What surrounds every answer: the envelope, its paging, and the one error shape."""

from datetime import date, datetime
from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict


class Meta(TypedDict):
    """About the answer."""

    timestamp: datetime
    request_id: Annotated[str, Field(description="Also in X-Request-Id; it finds the request in the logs.")]


class Pages(TypedDict):
    """Where a page of a registry stands."""

    page: int
    page_size: int
    total: Annotated[int, Field(description="Rows that the filters leave.")]
    total_pages: int


class Continuation(TypedDict):
    """How a list that is too long to count goes on."""

    page_size: int
    next_cursor: Annotated[str | None, Field(description="For the next page; null after the last.")]
    archived_before: NotRequired[
        Annotated[date, Field(description="Predictions made before this day are archived, and not in the list.")]
    ]


class PagedMeta(Meta):
    """About a page of a registry."""

    pagination: Pages


class ContinuedMeta(Meta):
    """About a page of a list that is read by cursor."""

    pagination: Continuation


class ErrorDetail(TypedDict):
    """One field that was refused, and why."""

    field: str
    message: str


class Refusal(TypedDict):
    """What went wrong. ``code`` is stable; ``message`` is for people."""

    code: str
    message: str
    target: str | None
    details: list[ErrorDetail]


class ErrorAnswer(TypedDict):
    """The shape of every answer that is not a success."""

    error: Refusal
    meta: Meta
