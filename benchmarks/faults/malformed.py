"""Bodies and requests that are wrong in every way that we know, each with what it must be answered."""

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import cycle, islice
from time import perf_counter
from typing import Any, Final
from urllib.parse import urlsplit

from benchmarks.faults.world import World

_SECONDS: Final = 15.0
_CLOSED: Final = 0
"""The connection ends without an answer: what follows cannot be told from the request."""
_JSON: Final = {"content-type": "application/json"}


@dataclass(frozen=True)
class Case:
    """A request, and the statuses that it may be answered with; ``length`` is what it claims its body to have."""

    name: str
    body: bytes
    expected: frozenset[int]
    headers: Mapping[str, str] = field(default_factory=lambda: _JSON)
    length: str | None = None
    hang_up: bool = False


@dataclass
class Flood:
    """What became of the requests: by case the statuses, those that were not expected, and the seconds each took."""

    statuses: Counter[int] = field(default_factory=Counter)
    surprises: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)


def _transaction(**fields: Any) -> bytes:
    return json.dumps({"transaction": {"amount": 1.0, **fields}}).encode()


def cases(body: Mapping[str, Any]) -> list[Case]:
    """Every case; ``body`` is a transaction that is right."""
    sound = json.dumps({"transaction": body}).encode()
    refused, unread = frozenset({422}), frozenset({400})
    broken = frozenset({400, _CLOSED})
    return [
        *(
            Case(f"document {text}", text.encode(), refused)
            for text in ("{}", "[]", "1", '"x"', "null", "true", '{"transaction": null}', '{"transaction": []}')
        ),
        *(
            Case(f"field {text}", b'{"transaction": {"amount": %s}}' % text.encode(), refused)
            for text in ('"much"', "[1]", '{"value": 1}', '"\\u0000"', '"' + "x" * 10_001 + '"')
        ),
        *(
            Case(f"number {text}", b'{"transaction": {"amount": %s}}' % text.encode(), unread)
            for text in ("NaN", "Infinity", "-Infinity", "1e", "0x10", "01", "+1", ".5", "1_000")
        ),
        *(
            Case(f"number {text[:8]}", b'{"transaction": {"amount": %s}}' % text.encode(), unread | refused)
            for text in ("1e999", "-1e999", "9" * 400)
        ),
        Case("501 fields", _transaction(**{f"f{n}": n for n in range(501)}), refused),
        Case("a long name", _transaction(**{"x" * 201: 1}), refused),
        Case("a transaction id of 256 characters", _transaction(transaction_id="x" * 256), refused),
        Case("an unknown field beside", sound[:-1] + b', "modelid": 1}', refused),
        Case("a model id that is none", sound[:-1] + b', "model_id": "x"}', refused),
        Case("a model that is not there", sound[:-1] + b', "model_id": "%s"}' % (b"0" * 32), frozenset({404})),
        Case("truncated", sound[:-10], unread),
        Case("empty", b"", unread),
        Case("not JSON", b"transaction=1", unread),
        Case("two documents", sound + sound, unread),
        Case("deep lists", b"[" * 100_000, unread),
        Case("deep objects", b'{"transaction":' * 50_000, unread),
        Case("closed deep lists", b"[" * 900 + b"]" * 900, unread | refused),
        Case("Latin-1", '{"transaction": {"note": "é"}}'.encode("latin-1"), unread),
        Case("UTF-16", sound.decode().encode("utf-16"), unread),
        Case("a byte order mark", b"\xef\xbb\xbf" + sound, unread),
        Case("a lone surrogate", b'{"transaction": {"note": "\\ud800"}}', unread | refused),
        Case("a megabyte too long", b'{"transaction": {"note": "' + b"x" * 2**20 + b'"}}', frozenset({413})),
        Case("a form", b"amount=1", frozenset({415}), {"content-type": "application/x-www-form-urlencoded"}),
        Case("no type", sound, frozenset({415}), {}),
        Case("compressed", gzip.compress(sound), frozenset({415}), {**_JSON, "content-encoding": "gzip"}),
        Case("compressed, it says", sound, frozenset({415}), {**_JSON, "content-encoding": "br"}),
        Case("a length that is no number", sound, broken, length="many"),
        Case("a negative length", sound, broken, length="-5"),
        Case("a length too short", sound, unread, length=str(len(sound) - 10)),
        Case("a length too long", sound, frozenset({_CLOSED}), length=str(len(sound) + 10), hang_up=True),
        Case("a length beyond the host's limit", sound, frozenset({413, _CLOSED}), length=str(2**40), hang_up=True),
        Case("chunks that are none", b"zz\r\nnot a chunk\r\n", broken, {**_JSON, "transfer-encoding": "chunked"}, ""),
    ]


async def flood(world: World, requests: int, *, at_once: int = 8) -> Flood:
    """Send ``requests`` of them, one kind after the other."""
    waiting = iter(list(islice(cycle(cases(world.bodies[0])), requests)))
    found = Flood()
    await asyncio.gather(*(_send(world, waiting, found) for _ in range(at_once)))
    return found


async def _send(world: World, waiting: Any, found: Flood) -> None:
    for case in waiting:
        begun = perf_counter()
        status = await _answer(world, case)
        found.seconds.append(perf_counter() - begun)
        found.statuses[status] += 1
        if status not in case.expected:
            found.surprises[f"{case.name}: {status}"] += 1


async def _answer(world: World, case: Case) -> int:
    """The status of the answer; -1 where the request hung."""
    place = urlsplit(world.url)
    headers = {"host": str(place.netloc), "connection": "close", **world.headers, **case.headers}
    if case.length != "":
        headers["content-length"] = str(len(case.body)) if case.length is None else case.length
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"POST {place.path}predict HTTP/1.1\r\n{head}\r\n".encode() + case.body
    try:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_connection(place.hostname, place.port)
            try:
                writer.write(request)
                if case.hang_up:
                    await writer.drain()
                    writer.write_eof()
                line = await reader.readline()
            finally:
                writer.close()
    except TimeoutError:
        return -1
    except ConnectionError:
        return _CLOSED
    return int(line.split()[1]) if line else _CLOSED
