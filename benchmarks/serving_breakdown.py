"""Where the processor time of a request goes, in one process: each step by itself, then all of them together.

    python -m benchmarks.serving_breakdown [--requests 6000]

The product's own functions on a real request of ``benchmarks.serving``: the development host's application takes the
request as its server hands it over (what the server itself costs is not ours), 32 at a time, and a PostgreSQL of its
own stores the rows. Times are processor time of the thread that runs the event loop, which other work on the machine
changes little; the best of five. "Together" is a whole request as it is measured; what the steps do not explain is the
event loop's own work. Predict, explain and insert are told apart, because everybody has to pay for those.
"""

import argparse
import asyncio
import os
import statistics
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import uvloop

from benchmarks.serving_product import Product, start
from devhost.app_loader import load_app
from devhost.asgi import HostApplication
from devhost.invocation import Invoker
from devhost.keys import load_keys
from devhost.logs import configure_logging
from devhost.settings_file import read_settings
from functions.composition import get_services
from shared.platform.clock import utc_now

_AT_ONCE = 32
_ROUNDS = 5
_CALLS = 2000
_WHAT_EVERYBODY_PAYS = ("predict", "explain", "insert")


@dataclass(frozen=True)
class Step:
    """Microseconds of processor time a request."""

    name: str
    microseconds: float


def main() -> None:
    """Entry point of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=6000, help="of each round of whole requests")
    options = parser.parse_args()
    product = start()
    try:
        product.services.host.stop()
        values = read_settings(product.services.settings)["Values"]
        os.environ.update({name: str(value) for name, value in values.items()})
        with Path(product.services.state / "logs" / "breakdown.log").open("w", buffering=1) as log:
            terminal, sys.stderr = sys.stderr, log
            configure_logging("INFO")
            try:
                uvloop.run(_measure(product, options.requests))
            finally:
                sys.stderr = terminal
    finally:
        product.services.stop()


async def _measure(product: Product, requests: int) -> None:
    caller = _Caller(product)
    await caller.many(20 * _AT_ONCE)
    await asyncio.sleep(3)  # the tables of explanations are made behind the first answers
    together = min([await caller.cost(requests) for _ in range(_ROUNDS)])
    steps = await _steps(caller)
    print("\n| step | µs of processor a request |\n|---|---|")
    for step in steps:
        print(f"| {step.name} | {step.microseconds:.1f} |")
    paid = sum(step.microseconds for step in steps if step.name.startswith(_WHAT_EVERYBODY_PAYS))
    rest = together - sum(step.microseconds for step in steps)
    print(f"| event loop, driver and what else the steps do not show | {rest:.1f} |")
    print(f"| together | {together:.1f} |")
    print(f"| **beyond predict, explain and insert** | **{together - paid:.1f}** |")
    services = await get_services()
    known, new = await _claims()
    print(f"\nthe insert of {_AT_ONCE} rows: {known:.2f} ms as it is, {new:.2f} ms without looking for duplicates")
    await services.database.close()
    await services.blobs.close()


class _Caller:
    """Sends requests to the application as its server does."""

    def __init__(self, product: Product) -> None:
        self._app, self._keys = load_app(Path()), load_keys(product.services.state / "host")
        self.host = self.application(Invoker("."))
        self.bodies = product.bodies.read_text().splitlines()
        self.key = product.headers["x-functions-key"].encode()
        self._run, self._sent = uuid.uuid4().hex[:8], 0

    def application(self, invoker: Any) -> HostApplication:
        return HostApplication(self._app, invoker, self._keys, {})

    def scope(self, body: bytes) -> dict[str, Any]:
        headers = [(b"host", b"127.0.0.1:7071"), (b"content-type", b"application/json"), (b"x-functions-key", self.key)]
        headers.append((b"content-length", str(len(body)).encode()))
        path = "/api/v1/predict"
        return {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "scheme": "http",
            "headers": headers,
        }

    def body(self) -> bytes:
        self._sent += 1
        return self.bodies[self._sent % len(self.bodies)].replace("@ID@", f"{self._run}-{self._sent}").encode()

    async def one(self) -> None:
        body = self.body()
        status = 0

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)

        await self.host(self.scope(body), receive, send)
        if status != 200:
            raise RuntimeError(f"answered {status}; see the log breakdown.log")

    async def many(self, requests: int) -> None:
        async def connection() -> None:
            for _ in range(requests // _AT_ONCE):
                await self.one()

        await asyncio.gather(*(connection() for _ in range(_AT_ONCE)))

    async def cost(self, requests: int) -> float:
        """Microseconds a whole request."""
        began = time.thread_time()
        await self.many(requests)
        return (time.thread_time() - began) / (requests // _AT_ONCE * _AT_ONCE) * 1e6


async def _steps(caller: _Caller) -> list[Step]:
    """Every step on its own, for one request of a batch of 32."""
    from functions.authorisation import admit, identify
    from functions.http.scoring import shown
    from functions.requests import origin_of, read_body, read_query
    from functions.responses import success
    from shared.platform.telemetry import get_logger
    from shared.scoring import repository
    from shared.scoring.batching import MicroBatcher, Pending
    from shared.scoring.model import ScoreRequest
    from shared.scoring.prepared import Request, Row, prepare
    from shared.scoring.scorer import BatchScorer
    from shared.scoring.submissions import scope
    from shared.users.model import Role

    services = await get_services()
    model = (await services.scoring.models.production()).served
    requests: list[Any] = []
    limit = services.settings.max_json_bytes

    class Keeping:
        async def invoke(self, function: Any, argument: Any) -> Any:
            requests.append(argument)
            return "answered"

    whole, caller.host = caller.host, caller.application(Keeping())
    with suppress(RuntimeError):
        await caller.one()
    route = await _cost_of(caller.one)
    caller.host = whole
    request = requests[0]
    origin = origin_of(request)
    read_body(request, ScoreRequest, limit)

    async def who() -> None:
        found = origin_of(request)
        admit(frozenset({Role.MACHINE}), await identify(request, services, found))

    loop = asyncio.get_running_loop()
    within = scope(None, None)
    waiting = [
        Pending(Request(orjson.loads(caller.body())["transaction"], None, False, 0.0, within), loop.create_future())
        for _ in range(_AT_ONCE)
    ]
    rows = [row for pending in waiting if isinstance(row := prepare(pending, model), Row)]
    matrix = np.stack([row.vector for row in rows])
    scores = model.fitted.predict(matrix)
    sent = [orjson.loads(line)["transaction"] for line in caller.bodies]
    flagged = float((model.fitted.predict(np.stack(list(map(model.online.vector, sent)))) >= model.threshold).mean())
    scorer: BatchScorer = services.scoring._scorer
    answers = await scorer._answers(rows, model)

    async def waits() -> None:
        async def settle(batch: list[Any]) -> None:
            for pending in batch:
                pending.resolve(None)

        batcher: MicroBatcher[Any, Any] = MicroBatcher(settle, lanes=2, largest_batch=256, queue_size=2000)
        await asyncio.gather(*(batcher.submit(n, deadline_seconds=5) for n in range(_AT_ONCE)))

    async def stores() -> None:
        async with services.database.connection() as conn:
            fresh = await scorer._answers(rows, model)
            predictions = [answer.prediction for answer in fresh]
            await repository.store(conn, model.id, predictions, model.id)

    log = get_logger("breakdown")
    shown_answer = shown(answers[0])
    encode = model.cells.encode if model.cells is not None else None
    transactions = [row.pending.item.transaction for row in rows]
    predict = _cost(lambda: model.fitted.predict(matrix)) / _AT_ONCE
    explain = _cost(lambda: model.fitted.contributions(matrix[:1])) * flagged
    cells = 0.0 if encode is None else _cost(lambda: encode(transactions, matrix, scores)) / _AT_ONCE
    built = await _cost_of(lambda: scorer._answers(rows, model), 200) / _AT_ONCE
    inserted = await _cost_of(stores, 100) / _AT_ONCE
    return [
        Step("host: route, request, answer", route),
        Step("who calls: origin, key, role", await _cost_of(who)),
        Step("body: JSON, checks", _cost(lambda: (read_body(request, ScoreRequest, limit), read_query(request, None)))),
        Step("waiting for the batch", await _cost_of(waits, 200) / _AT_ONCE),
        Step("vector, id, hash of the transaction", _cost(lambda: prepare(waiting[0], model))),
        Step("predict", predict),
        Step(f"explain ({flagged:.1%} flagged)", explain),
        Step("cells for monitoring", cells),
        Step("row: id, JSON, decision", max(0.0, built - predict - explain - cells)),
        Step("insert, on this side", max(0.0, inserted - built)),
        Step("answer: JSON", _cost(lambda: success(shown_answer, 200, origin.request_id, {}, None))),
        Step("log line", _cost(lambda: log.info("request", function="score_transaction", status=200, duration_ms=1.234,
                                                request_id=origin.request_id, user_id="machine"))),
    ]  # fmt: skip


async def _claims() -> tuple[float, float]:
    """Milliseconds that the statement takes by the clock, with and without duplicates being looked for; medians of
    batches that take turns."""
    from shared.scoring import repository
    from shared.scoring.identifiers import prediction_id, to_milliseconds
    from shared.scoring.repository import NewPrediction
    from shared.scoring.submissions import Submission, scope

    services = await get_services()
    model_id = (await services.scoring.models.production()).expected_id
    inputs = orjson.dumps({"transaction": {f"f{n:02d}": n / 7 for n in range(30)}, "features": {}})
    found: dict[bool, list[float]] = {True: [], False: []}
    async with services.database.connection() as conn:
        for turn in range(4 * _CALLS // _AT_ONCE):
            looked = turn % 2 == 0
            now = to_milliseconds(utc_now())
            rows = []
            for _ in range(_AT_ONCE):
                key = uuid.uuid4()
                submission = Submission(scope(None, None), key.hex) if looked else None
                rows.append(
                    NewPrediction(
                        *(prediction_id(now), str(key), inputs, 0.1, False, 0.8, None, 1, now),
                        submission=submission,
                    )
                )
            began = time.perf_counter()
            await repository.store(conn, model_id, rows, model_id)
            found[looked].append((time.perf_counter() - began) * 1000)
    return statistics.median(found[True]), statistics.median(found[False])


def _cost(call: Callable[[], Any], calls: int = _CALLS) -> float:
    """Microseconds of processor time a call, the best of some rounds."""
    call()
    rounds = []
    for _ in range(_ROUNDS):
        began = time.thread_time()
        for _ in range(calls):
            call()
        rounds.append((time.thread_time() - began) / calls)
    return min(rounds) * 1e6


async def _cost_of(call: Callable[[], Awaitable[Any]], calls: int = _CALLS) -> float:
    await call()
    rounds = []
    for _ in range(_ROUNDS):
        began = time.thread_time()
        for _ in range(calls):
            await call()
        rounds.append((time.thread_time() - began) / calls)
    return min(rounds) * 1e6


if __name__ == "__main__":
    main()
