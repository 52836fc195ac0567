"""Load: requests over kept-alive connections, each with a transaction id of its own.

``wrk`` where it is installed, which takes the least from the machine; else, and wherever every answer must be looked
at, an own client in a process of its own: ``python -m benchmarks.serving_load URL BODIES CONNECTIONS SECONDS RUN``.

A body is a line of JSON in which ``@ID@`` stands for the transaction's id.
"""

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_WRK = Path(__file__).with_name("serving_load.lua")


@dataclass
class Load:
    """What became of a run. ``answers``: prediction id by transaction id, where each answer was looked at."""

    seconds: float
    acknowledged: int
    refused: int
    p50_ms: float
    p99_ms: float
    answers: dict[str, str] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Acknowledged requests a second."""
        return self.acknowledged / self.seconds


def load(
    url: str,
    bodies: Path,
    headers: Mapping[str, str],
    *,
    connections: int,
    seconds: float,
    run: str,
    exact: bool = False,
) -> Load:
    """Send for some seconds.

    :param run: what transaction ids begin with.
    :param exact: look at every answer.
    """
    if shutil.which("wrk") and not exact:
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "10s", "-s", str(_WRK)]
        command += [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
        command += [url, "--", str(bodies), run]
    else:
        command = [sys.executable, "-m", "benchmarks.serving_load", url, str(bodies), str(connections), str(seconds)]
        command += [run, json.dumps(dict(headers))]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60)
    line = next(line for line in done.stdout.splitlines() if line.startswith("@@"))
    return Load(**json.loads(line.removeprefix("@@")))


class _Connection(asyncio.Protocol):
    """Sends the next request as soon as the last answer is complete."""

    def __init__(self, client: "_Client") -> None:
        self._client = client
        self._buffer = b""
        self._sent = 0.0
        self._transaction = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        if self._client.over:
            self._transport.close()
            self._client.left()
            return
        self._transaction, request = self._client.next_request()
        self._sent = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator or len(body) < int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]):
            return
        self._buffer = b""
        self._client.answered(self._transaction, time.perf_counter() - self._sent, head[9:12] == b"200", body)
        self._send()


class _Client:
    def __init__(self, url: str, bodies: list[str], headers: Mapping[str, str], connections: int, run: str) -> None:
        where = urlsplit(url)
        self.host, self.port = where.hostname, where.port
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._head = f"POST {where.path} HTTP/1.1\r\nhost: {where.netloc}\r\ncontent-type: application/json\r\n{more}"
        self._bodies = bodies
        self._run = run
        self._count = 0
        self._open = connections
        self.over = False
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.latencies: list[float] = []
        self.answers: dict[str, str] = {}
        self.refused = 0

    def next_request(self) -> tuple[str, bytes]:
        transaction = f"{self._run}-{self._count}"
        body = self._bodies[self._count % len(self._bodies)].replace("@ID@", transaction)
        self._count += 1
        return transaction, f"{self._head}content-length: {len(body)}\r\n\r\n{body}".encode()

    def answered(self, transaction: str, seconds: float, accepted: bool, body: bytes) -> None:
        if not accepted:
            self.refused += 1
            return
        self.latencies.append(seconds)
        answer = json.loads(body)
        self.answers[transaction] = answer.get("data", answer).get("prediction_id", "")

    def left(self) -> None:
        self._open -= 1
        if not self._open:
            self.done.set_result(None)


async def _run(url: str, bodies: Path, connections: int, seconds: float, run: str, headers: str) -> dict[str, Any]:
    client = _Client(url, bodies.read_text().splitlines(), json.loads(headers), connections, run)
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    for _ in range(connections):
        await loop.create_connection(lambda: _Connection(client), client.host, client.port)
    await asyncio.sleep(seconds)
    client.over = True
    await client.done
    took = sorted(client.latencies)
    return {
        "seconds": time.perf_counter() - began,
        "acknowledged": len(took),
        "refused": client.refused,
        "p50_ms": took[len(took) // 2] * 1000,
        "p99_ms": took[int(len(took) * 0.99)] * 1000,
        "answers": client.answers,
    }


if __name__ == "__main__":
    target, file, wanted, how_long, prefix, extra = sys.argv[1:]
    print("@@" + json.dumps(asyncio.run(_run(target, Path(file), int(wanted), float(how_long), prefix, extra))))
