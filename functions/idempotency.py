"""Idempotency-Key at the edge: who asks what under which key, and the answer that is given once."""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import IO, Final

import azure.functions as func
import orjson

from functions.requests import media_type_of
from shared.idempotency.model import Claim, KeyedRequest, StoredAnswer
from shared.idempotency.service import IdempotencyService
from shared.platform.errors import invalid_field
from shared.users.model import Caller

HEADER: Final = "Idempotency-Key"

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_CHUNK_BYTES: Final = 1024 * 1024
_KEPT: Final = ("Location", "Operation-Location", "Retry-After")


async def answer_once(
    service: IdempotencyService,
    request: func.HttpRequest,
    caller: Caller,
    function: str,
    act: Callable[[Claim], Awaitable[func.HttpResponse]],
    request_id: str,
) -> func.HttpResponse:
    """The answer of ``act``, or the stored one with ``Idempotency-Replayed``. Refusals are not stored.

    :raises InvalidContent: the key is not 1 to 255 visible ASCII characters.
    :raises KeyReused: it came with another request before.
    :raises InProgress: a request with it is at work.
    """
    key = request.headers[HEADER]
    if not _KEY.fullmatch(key):
        raise invalid_field(HEADER, "must have 1 to 255 visible ASCII characters")
    fingerprint = await asyncio.to_thread(_fingerprint, request)
    found = await service.claim(KeyedRequest(_name(request, caller), function, key, fingerprint))
    if isinstance(found, StoredAnswer):
        headers = {"X-Request-Id": request_id, "Idempotency-Replayed": "true", **found.headers}
        return func.HttpResponse(found.body, status_code=found.status, headers=headers, mimetype="application/json")
    try:
        response = await act(found)
    except Exception:
        await service.release(found)
        raise
    kept = {name: response.headers[name] for name in _KEPT if name in response.headers}
    await service.keep(found, StoredAnswer(response.status_code, kept, response.get_body()))
    return response


def _name(request: func.HttpRequest, caller: Caller) -> str:
    """Keys are a caller's own; machines are told apart by their function keys."""
    if caller.user_id is not None:
        return f"user:{caller.user_id}"
    return f"key:{hashlib.sha256(request.headers.get('x-functions-key', '').encode()).hexdigest()}"


def _fingerprint(request: func.HttpRequest) -> bytes:
    """SHA-256 of path, query and content; the order of a JSON object's fields and a form's boundary do not matter."""
    media_type = media_type_of(request)
    about = [sorted(request.route_params.items()), sorted(request.params.items()), media_type]
    digest = hashlib.sha256(orjson.dumps(about))
    if media_type == "multipart/form-data":
        digest.update(orjson.dumps(sorted(request.form.items())))
        for name, file in sorted(request.files.items()):
            digest.update(orjson.dumps(name) + _digest(file.stream))
    elif media_type == "application/json":
        digest.update(_canonical(request.get_body()))
    else:
        digest.update(request.get_body())
    return digest.digest()


def _canonical(raw: bytes) -> bytes:
    try:
        return orjson.dumps(orjson.loads(raw), option=orjson.OPT_SORT_KEYS)
    except orjson.JSONDecodeError:
        return raw


def _digest(stream: IO[bytes]) -> bytes:
    """Of what the stream holds, which is left at its beginning."""
    digest = hashlib.sha256()
    while chunk := stream.read(_CHUNK_BYTES):
        digest.update(chunk)
    stream.seek(0)
    return digest.digest()
