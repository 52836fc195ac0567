"""What is done to the product while it scores, and what is measured of it."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Final

import httpx
import numpy as np
import psycopg

from benchmarks.faults.load import CLIENTS, Sent, load, wrong_refusal
from benchmarks.faults.malformed import flood
from benchmarks.faults.verdict import violations
from benchmarks.faults.world import World
from devhost.tokens import token

_LABELS: Final = 500  # a request
_FEWEST_PROMOTIONS: Final = 3  # however slow the machine is
_BAD_REQUESTS_A_SECOND: Final = 200


@dataclass
class Phase:
    """One fault: what the clients saw, what else was sent, and the host's megabytes before and after (NaN where the
    host was another one afterwards).
    """

    name: str
    sent: list[Sent]
    beside: str = ""
    surprises: list[str] = field(default_factory=list)
    memory: tuple[float, float] = (float("nan"), float("nan"))

    def row(self) -> str:
        """A row of the table."""
        acknowledged = [request.seconds for request in self.sent if request.answer is not None]
        refused = [request.seconds for request in self.sent if request.status is not None and request.answer is None]
        codes = Counter(str(request.status) for request in self.sent if request.answer is None and request.status)
        silent = Counter(str(request.fault) for request in self.sent if request.status is None)
        cells = (
            self.name, len(self.sent), len(acknowledged), _listed(codes), _listed(silent), _p99(acknowledged),
            _p99(refused), self.beside, f"{self.memory[0]:.0f} → {self.memory[1]:.0f}",
        )  # fmt: skip
        return f"| {' | '.join(str(cell) for cell in cells)} |"


HEADER: Final = (
    "| Fault | Requests | Acknowledged | Refused | No answer | p99 acknowledged, ms | p99 refused, ms | Beside "
    "| Host, MB |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in sorted(counts.items())) or "0"


def _p99(seconds: Sequence[float]) -> str:
    return f"{np.percentile(seconds, 99) * 1000:.0f}" if seconds else "-"


Fault = Callable[[World, float, list[Sent]], Awaitable[tuple[str, list[str]]]]
"""Does it for some seconds; returns what to say of it, and what was not as documented."""


async def _nothing(world: World, seconds: float, sent: list[Sent]) -> tuple[str, list[str]]:
    await asyncio.sleep(seconds)
    return "", []


async def _kill_host(world: World, seconds: float, sent: list[Sent]) -> tuple[str, list[str]]:
    await asyncio.sleep(seconds / 3)
    await asyncio.to_thread(world.kill_host)
    await asyncio.to_thread(world.start_host)
    await asyncio.sleep(seconds / 3)
    return "kill -9, started again", []


async def _restart_database(world: World, seconds: float, sent: list[Sent]) -> tuple[str, list[str]]:
    await asyncio.sleep(seconds / 3)
    await asyncio.to_thread(world.restart_database, seconds / 3)
    await asyncio.sleep(seconds / 3)
    return f"{seconds / 3:.0f} s away", []


async def _promote(world: World, seconds: float, sent: list[Sent]) -> tuple[str, list[str]]:
    promotions = 0
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while (loop.time() < end or promotions < _FEWEST_PROMOTIONS) and world.waiting:
        next_at = loop.time() + 1
        model_id = world.waiting.pop(0)
        await asyncio.to_thread(world.touch, model_id)
        await asyncio.to_thread(world.promote, model_id)
        promotions += 1
        await asyncio.sleep(max(0.0, next_at - loop.time()))
    await asyncio.sleep(1)  # for the last one to be felt
    return f"{promotions} promotions", []


async def _label(world: World, seconds: float, sent: list[Sent]) -> tuple[str, list[str]]:
    """Labels of what has been scored, of what has not, and the same again and again."""
    surprises: list[str] = []
    posted: list[int] = []
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds

    async def post(client: httpx.AsyncClient, first: int) -> None:
        for number in cycle(range(first, 1000, 4)):
            if loop.time() > end:
                return
            scored = [request.transaction_id for request in sent[-_LABELS + 1 :]]
            names = [*scored, f"never-scored-{number}"]
            labels = [{"transaction_id": name, "is_fraud": number % 2 == 0, "source": "flood"} for name in names]
            reply = await client.post("predictions/labels", json={"labels": labels})
            posted.append(len(labels))
            if reply.status_code not in (httpx.codes.OK, httpx.codes.SERVICE_UNAVAILABLE):
                surprises.append(f"labels: {reply.status_code} {reply.text[:200]}")
            elif reply.status_code != httpx.codes.OK and (wrong := wrong_refusal(reply)) is not None:
                surprises.append(f"labels: {wrong}")

    bearer = await asyncio.to_thread(token, world.services, "analyst")
    headers = {"Authorization": f"Bearer {bearer}"}
    async with httpx.AsyncClient(base_url=world.url, headers=headers, timeout=30, trust_env=False) as client:
        await asyncio.gather(*(post(client, first) for first in range(4)))
    return f"{sum(posted)} labels in {len(posted)} requests", surprises


async def _bad_bodies(world: World, seconds: float, sent: list[Sent]) -> tuple[str, list[str]]:
    found = await flood(world, int(seconds * _BAD_REQUESTS_A_SECOND))
    statuses = {str(status) if status else "closed": count for status, count in sorted(found.statuses.items())}
    surprises = [f"{what} ({times} times)" for what, times in found.surprises.items()]
    return f"{sum(found.statuses.values())} bad requests ({json.dumps(statuses)[1:-1]})".replace('"', ""), surprises


FAULTS: Final[dict[str, Fault]] = {
    "none": _nothing,
    "host killed": _kill_host,
    "PostgreSQL restarted": _restart_database,
    "a promotion every second": _promote,
    "flood of labels": _label,
    "bad bodies": _bad_bodies,
    "bad bodies again": _bad_bodies,
}


async def run(world: World, seconds: float) -> tuple[list[Phase], list[str]]:
    """Every fault for ``seconds``, and every promise that was broken."""
    phases: list[Phase] = []
    await asyncio.to_thread(world.breed, max(int(seconds) + 1, _FEWEST_PROMOTIONS))
    for name, fault in FAULTS.items():
        pid, before = world.services.host.pid(), world.memory()
        async with load(world, name.replace(" ", "-")) as sent:
            beside, surprises = await fault(world, seconds, sent)
        after = world.memory() if world.services.host.pid() == pid else float("nan")
        phases.append(Phase(name, sent, beside, surprises, (before, after)))
    broken = [surprise for phase in phases for surprise in phase.surprises]
    broken += [f"{phase.name}: nothing was scored" for phase in phases if _scored(phase) < CLIENTS]
    requests = [request for phase in phases for request in phase.sent]
    with psycopg.connect(world.database_url) as conn:
        return phases, broken + violations(world, requests, conn)


def _scored(phase: Phase) -> int:
    return sum(request.answer is not None for request in phase.sent)
