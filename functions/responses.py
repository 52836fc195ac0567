"""Rendering an answer: the envelope, and the one error shape.

Domain errors meet HTTP statuses here and nowhere else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import azure.functions as func
import orjson
from pydantic import BaseModel

from shared.idempotency.model import InProgress
from shared.platform.clock import utc_now
from shared.platform.errors import (
    Conflict,
    DomainError,
    Forbidden,
    InvalidContent,
    Malformed,
    MethodNotAllowed,
    NotFound,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    UnsupportedMedia,
)

_STATUS: Final[tuple[tuple[type[DomainError], int], ...]] = (
    (Malformed, 400),
    (Unauthenticated, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (MethodNotAllowed, 405),
    (Conflict, 409),
    (TooLarge, 413),
    (UnsupportedMedia, 415),
    (InvalidContent, 422),
    (TooManyRequests, 429),
    (Unavailable, 503),
)
ANSWERABLE: Final = tuple(kind for kind, _ in _STATUS)
"""Errors that are meant for callers; any other is told as an internal one."""
_INTERNAL: Final[Mapping[str, Any]] = {
    "code": "internal_error",
    "message": "something failed on our side; the request id finds it in the logs",
    "target": None,
    "details": [],
}


def status_of(kind: type[DomainError]) -> int:
    """The status that answers errors of this kind.

    :raises StopIteration: they are not meant for callers.
    """
    return next(status for base, status in _STATUS if issubclass(kind, base))


@dataclass(frozen=True, slots=True)
class Document:
    """An answer that is a file of its own, without the envelope."""

    content: bytes
    mimetype: str


def success(
    data: Any,
    status: int,
    request_id: str,
    headers: Mapping[str, str],
    pagination: Mapping[str, Any] | None = None,
) -> func.HttpResponse:
    """``data`` in the envelope; a :class:`Document` as it is."""
    if isinstance(data, Document):
        sent = {"X-Request-Id": request_id, "X-Content-Type-Options": "nosniff", **headers}
        return func.HttpResponse(data.content, status_code=status, headers=sent, mimetype=data.mimetype)
    meta = _meta(request_id)
    if pagination is not None:
        meta["pagination"] = pagination
    return _respond({"data": data, "meta": meta}, status, request_id, headers)


def failure(error: DomainError, request_id: str) -> func.HttpResponse:
    """The one error shape; an error that is not meant for callers tells them nothing."""
    if not isinstance(error, ANSWERABLE):
        return internal_error(request_id)
    status, body = described(error)
    headers: dict[str, str] = {}
    if isinstance(error, Unavailable | TooManyRequests | InProgress):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(error.allowed)
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    return _respond({"error": body, "meta": _meta(request_id)}, status, request_id, headers)


def described(error: BaseException) -> tuple[int, dict[str, Any]]:
    """Status and error object; of an error that is not meant for callers nothing is told."""
    if not isinstance(error, ANSWERABLE):
        return 500, dict(_INTERNAL)
    status = status_of(type(error))
    details = [{"field": detail.field, "message": detail.message} for detail in error.details]
    return status, {"code": error.code, "message": error.message, "target": error.target, "details": details}


def internal_error(request_id: str) -> func.HttpResponse:
    """500, which tells nothing but the id to look for."""
    return _respond({"error": dict(_INTERNAL), "meta": _meta(request_id)}, 500, request_id, {})


def _meta(request_id: str) -> dict[str, Any]:
    return {"timestamp": utc_now(), "request_id": request_id}


def _respond(payload: Mapping[str, Any], status: int, request_id: str, headers: Mapping[str, str]) -> func.HttpResponse:
    return func.HttpResponse(
        orjson.dumps(payload, default=_plain, option=orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z),
        status_code=status,
        headers={"X-Request-Id": request_id, **headers},
        mimetype="application/json",
    )


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, frozenset | set | tuple):
        return list(value)
    raise TypeError(f"{type(value).__name__} is not serialisable")
