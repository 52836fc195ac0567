"""CPU that the development host costs a request, beside a bare ASGI application on the same server.

    python benchmarks/devhost_overhead.py [--requests 30000] [--connections 8] [--rounds 3]

Each server is a process of its own and reports its CPU time (user and system, all threads) before and after a number of
requests, which this process sends over kept-alive connections. The function is a trivial `async def`; the bare server
answers the same bytes. Rounds alternate between the two servers, so that a busy machine disturbs both. The requests are
prepared bytes over plain sockets, so the client does not hold the server up. Output: one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
BODY = b'{"status": "ok"}'

FUNCTION_APP = """
import resource
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="health/live", methods=["GET"])
async def check_live(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse('{"status": "ok"}', mimetype="application/json")


@app.route(route="items/{item_id:guid}/parts/{part}", methods=["POST"])
async def post_part(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(req.get_body(), mimetype="application/json")


@app.route(route="cpu", methods=["GET"])
async def read_cpu(req: func.HttpRequest) -> func.HttpResponse:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return func.HttpResponse(str(usage.ru_utime + usage.ru_stime))
"""

BARE_APP = """
import resource, sys
import uvicorn

async def app(scope, receive, send):
    body = b'{"status": "ok"}'
    if scope["path"] == "/api/cpu":
        usage = resource.getrusage(resource.RUSAGE_SELF)
        body = str(usage.ru_utime + usage.ru_stime).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})

uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), http="httptools", ws="none", lifespan="off",
            access_log=False, log_level="warning", server_header=False)
"""

GET = b"GET /api/health/live HTTP/1.1\r\nhost: localhost\r\nuser-agent: benchmark\r\naccept: */*\r\n\r\n"
_PART = b'{"amount": 12.5, "currency": "EUR"}'
POST = (
    b"POST /api/items/8a7a1b36-3e0b-4c0e-9f6f-0d6a3f0c1b2d/parts/7 HTTP/1.1\r\nhost: localhost\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(_PART), _PART)
)


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class _Caller(asyncio.Protocol):
    """One connection that sends its request again as soon as the answer is complete."""

    def __init__(self, request: bytes, count: int, done: asyncio.Future[None]) -> None:
        self._request, self._left, self._done = request, count, done
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator or len(body) < int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self._done.set_exception(RuntimeError(head.decode()))
            return
        self._buffer = b""
        self._left -= 1
        if self._left:
            self._transport.write(self._request)
        else:
            self._transport.close()
            self._done.set_result(None)


async def send(port: int, request: bytes, requests: int, connections: int) -> None:
    """Send a number of requests over some connections."""
    loop = asyncio.get_running_loop()
    ends = []
    for _ in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        ends.append(done)
        each = requests // connections
        await loop.create_connection(lambda done=done, each=each: _Caller(request, each, done), "127.0.0.1", port)
    await asyncio.gather(*ends)


def read_cpu(port: int) -> float:
    """Seconds of CPU that the server has used."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /api/cpu HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        answer = b""
        while chunk := connection.recv(4096):
            answer += chunk
    return float(answer.partition(b"\r\n\r\n")[2])


def wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait for the server's first answer."""
    for _ in range(600):
        if process.poll() is not None:
            raise RuntimeError("a server ended at its start")
        try:
            read_cpu(port)
        except (OSError, ValueError):
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("a server did not start")


def measure(port: int, request: bytes, requests: int, connections: int) -> dict[str, float]:
    """CPU microseconds a request, and requests a second, of one round."""
    cpu, began = read_cpu(port), time.perf_counter()
    asyncio.run(send(port, request, requests, connections))
    seconds = time.perf_counter() - began
    return {"cpu": (read_cpu(port) - cpu) / requests * 1e6, "rate": requests / seconds}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=30_000, help="a round")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        (root / "function_app.py").write_text(FUNCTION_APP)
        (root / "bare.py").write_text(BARE_APP)
        ports = {"host": free_port(), "bare": free_port()}
        host = [sys.executable, "-m", "devhost.host", "--root", str(root), "--state", str(root / "state")]
        servers = [
            subprocess.Popen([*host, "--port", str(ports["host"])], cwd=PROJECT, stderr=subprocess.DEVNULL),
            subprocess.Popen([sys.executable, str(root / "bare.py"), str(ports["bare"])], cwd=PROJECT),
        ]
        try:
            for port, server in zip(ports.values(), servers, strict=True):
                wait_until_ready(port, server)
            cases = {"host_get": ("host", GET), "bare_get": ("bare", GET), "host_post": ("host", POST)}
            rounds: dict[str, list[dict[str, float]]] = {case: [] for case in cases}
            for case, (server_name, request) in cases.items():
                asyncio.run(send(ports[server_name], request, 2000, options.connections))  # warm up
                rounds[case].clear()
            for _ in range(options.rounds):
                for case, (server_name, request) in cases.items():
                    rounds[case].append(measure(ports[server_name], request, options.requests, options.connections))
        finally:
            for server in servers:
                server.terminate()
                server.wait(15)
    print(json.dumps(summarise(rounds), indent=1))


def summarise(rounds: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Medians of the rounds, and the host beside the bare server."""
    summary: dict[str, Any] = {}
    for case, results in rounds.items():
        summary[f"{case}_cpu_microseconds"] = round(statistics.median(result["cpu"] for result in results), 1)
        summary[f"{case}_requests_per_second"] = round(statistics.median(result["rate"] for result in results))
    summary["host_to_bare_cpu"] = round(summary["host_get_cpu_microseconds"] / summary["bare_get_cpu_microseconds"], 2)
    return summary


if __name__ == "__main__":
    main()
