"""Steady scoring by some clients, and a record of what became of every request."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from time import perf_counter, time
from typing import Any, Final

import httpx

from benchmarks.faults.world import World

CLIENTS: Final = 8
_PAUSE_SECONDS: Final = 0.1  # after a request that was refused or not answered at all
_GIVE_UP_SECONDS: Final = 15.0  # three times the deadline: a request that waits so long hangs


@dataclass(frozen=True, slots=True)
class Sent:
    """One request: what was sent when (seconds since 1970), and what came back.

    ``status`` is None where nothing came back; ``answer`` is the data of a 200.
    """

    transaction_id: str
    body: int
    began: float
    ended: float
    seconds: float
    status: int | None
    answer: dict[str, Any] | None
    fault: str | None
    """Why nothing came back, or what is wrong with a refusal."""


@asynccontextmanager
async def load(world: World, name: str) -> AsyncIterator[list[Sent]]:
    """Clients that score one transaction after the other while the block runs; the list grows meanwhile.

    What was refused or not answered is sent again until it is answered, as a checkout would.
    """
    sent: list[Sent] = []
    ended = asyncio.Event()
    clients = [asyncio.create_task(_score(world, f"{name}-{number}", sent, ended)) for number in range(CLIENTS)]
    try:
        yield sent
    finally:
        ended.set()
        await asyncio.gather(*clients)


async def _score(world: World, name: str, sent: list[Sent], ended: asyncio.Event) -> None:
    client = httpx.AsyncClient(base_url=world.url, headers=world.headers, timeout=_GIVE_UP_SECONDS, trust_env=False)
    async with client:
        for number in count():
            body = number % len(world.bodies)
            while not ended.is_set():
                request = await _request(client, f"{name}-{number}", body, world.bodies[body])
                sent.append(request)
                if request.answer is not None:
                    break
                await asyncio.sleep(_PAUSE_SECONDS)
            if ended.is_set():
                return


async def _request(client: httpx.AsyncClient, transaction_id: str, body: int, fields: dict[str, Any]) -> Sent:
    began, clock = time(), perf_counter()
    status, answer, fault = None, None, None
    try:
        reply = await client.post("predict", json={"transaction": {**fields, "transaction_id": transaction_id}})
    except httpx.TimeoutException:
        fault = "hung"
    except httpx.TransportError as error:
        fault = type(error).__name__
    else:
        status = reply.status_code
        if status == httpx.codes.OK:
            answer = reply.json()["data"]
        else:
            fault = wrong_refusal(reply)
    return Sent(transaction_id, body, began, time(), perf_counter() - clock, status, answer, fault)


def wrong_refusal(reply: httpx.Response) -> str | None:
    """What is wrong with a refusal: it must have the one error shape, and a 503 must say when to try again."""
    try:
        error = reply.json()["error"]
    except (ValueError, KeyError, TypeError):
        return "not the one error shape"
    if not {"code", "message", "target", "details"} <= set(error):
        return "not the one error shape"
    if reply.status_code == httpx.codes.SERVICE_UNAVAILABLE and not reply.headers.get("retry-after", "").isdigit():
        return "503 without Retry-After"
    return None
