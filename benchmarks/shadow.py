"""What challengers cost the requests: latency with none, with three that wait, and with three that catch up meanwhile.

    python -m benchmarks.shadow --requests 2000

Starts a private PostgreSQL and a blob emulator of its own. Models have 200 trees of depth 6 over 30 features, the
challengers another plan than the champion, so that each builds its own vectors. Everything runs in one process: in
Azure timers have instances of their own, so following beside requests is the worst case. "followed" is what one run of
the challengers scores and stores in a second, of all three together.
"""

import argparse
import asyncio
import time
from datetime import timedelta
from statistics import median
from typing import Any

import numpy as np
import polars as pl

from benchmarks.batch_scoring import insert_model, model_of, private_blobs
from benchmarks.private_database import private_database
from devhost.sample_data import SampleConfig, generate
from shared.alerts.service import AlertService
from shared.audit.model import Origin
from shared.platform.clock import utc_now
from shared.registry.service import RegistryService
from shared.scoring.service import ScoringService
from shared.scoring.shadow.service import ShadowService
from shared.users.model import Caller, Role

_CONCURRENT = 8
_CHALLENGERS = 3


async def latencies(scoring: ScoringService, sent: list[dict[str, Any]]) -> tuple[float, float, float]:
    """Milliseconds of half and of 99 in a hundred, and requests a second."""
    waiting, seconds = iter(sent), []

    async def lane() -> None:
        for transaction in waiting:
            started = time.perf_counter()
            await scoring.score(transaction, model_id=None, explain=False)
            seconds.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(_CONCURRENT)))
    rate = len(seconds) / (time.perf_counter() - started)
    return median(seconds) * 1e3, float(np.percentile(seconds, 99)) * 1e3, rate


async def run(requests: int, rounds: int) -> None:
    """Measure and print."""
    history = generate(SampleConfig(rows=20_000, seed=7))
    frame = generate(SampleConfig(rows=requests, seed=8)).drop("is_fraud", "label_known_at")
    times = [pl.col(name).dt.to_string("iso:strict") for name in ("transaction_time", "account_created_at")]
    sent = frame.with_columns(*times, pl.col("birth_date").dt.to_string("iso")).to_dicts()
    async with private_database() as database, private_blobs() as blobs:
        await insert_model(database, blobs, model_of(history), "PRODUCTION")
        alerts, registry = AlertService(database, utc_now), RegistryService(database)
        scoring = ScoringService(database, blobs, registry, alerts, utc_now)
        follower = ScoringService(database, blobs, registry, alerts, utc_now)
        shadow = ShadowService(
            database,
            registry,
            follower.models,
            follower.history,
            alerts,
            lambda: utc_now() + timedelta(minutes=2),  # all that is stored has settled
            retention=timedelta(days=90),
        )
        await scoring.make_partitions()
        await latencies(scoring, sent[:500])
        print(f"{requests:,} requests, {_CONCURRENT} concurrent\n{'':<28}{'p50 ms':>9}{'p99 ms':>9}{'req/s':>9}")
        for _ in range(rounds):
            _show("no challengers", await latencies(scoring, sent))
        for number in range(_CHALLENGERS):
            other = model_of(history, range(number + 1, number + 31))
            model_id = await insert_model(database, blobs, other, "STAGING")
            await shadow.start(model_id, caller=Caller(Role.ADMIN), origin=Origin("benchmark", None, None))
        for _ in range(rounds):
            _show("three challengers, idle", await latencies(scoring, sent))
        async with database.connection() as conn:
            await conn.execute("UPDATE challengers SET position_at = position_at - interval '1 day'")
        following = asyncio.create_task(_follow(shadow))
        for _ in range(rounds):
            _show("three challengers, following", await latencies(scoring, sent))
        following.cancel()
        async with database.connection() as conn:
            await conn.execute("TRUNCATE shadow_predictions")
            await conn.execute("UPDATE challengers SET position_at = position_at - interval '1 day'")
        started = time.perf_counter()
        followed = await shadow.follow()
        print(
            f"followed: {followed / (time.perf_counter() - started):,.0f} rows/s of {_CHALLENGERS} challengers together"
        )


async def _follow(shadow: ShadowService) -> None:
    while True:
        await shadow.follow()
        await asyncio.sleep(0.1)


def _show(what: str, figures: tuple[float, float, float]) -> None:
    print(f"{what:<28}{figures[0]:>9.2f}{figures[1]:>9.2f}{figures[2]:>9,.0f}")


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    asyncio.run(run(options.requests, options.rounds))


if __name__ == "__main__":
    main()
