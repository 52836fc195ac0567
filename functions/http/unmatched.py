"""The last route: whatever matches nothing is answered in the one error shape.

The host tries routes in the order of function names, so this function's name has to sort last; a test holds it to that.
"""

import re
from typing import Final

import azure.durable_functions as df
import azure.functions as func

from functions.access import ROUTES
from functions.requests import origin_of
from functions.responses import failure
from shared.platform.errors import DomainError, MethodNotAllowed, NotFound

bp = df.Blueprint()

_METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_GUID = r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"


def _pattern(route: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{\w+:guid\\\}", _GUID, re.escape(route)), re.IGNORECASE)


_PATTERNS: Final = [(method, _pattern(route)) for method, route in ROUTES]


@bp.route(route="{*path}", methods=_METHODS, auth_level=func.AuthLevel.ANONYMOUS)
@bp.function_name("zz_unmatched_route")
async def zz_unmatched_route(req: func.HttpRequest) -> func.HttpResponse:
    """404, or 405 with Allow where the path exists with other methods."""
    path = req.route_params.get("path", "").rstrip("/")
    allowed = sorted({method for method, pattern in _PATTERNS if pattern.fullmatch(path)})
    error: DomainError = NotFound("there is nothing at this path")
    if allowed:
        error = MethodNotAllowed(f"this path answers {', '.join(allowed)}", allowed=allowed)
    return failure(error, origin_of(req).request_id)
