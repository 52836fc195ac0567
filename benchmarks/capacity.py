"""Instances, connections, storage and price class for a load, from measured costs.

    python -m benchmarks.capacity                        # the table of docs/deployment.md
    python -m benchmarks.capacity --per-day 3000000 --peak-factor 6
    python -m benchmarks.capacity --measure              # costs of this machine, and the model checked against a run
    python -m benchmarks.capacity --measure --adopt      # and from now on these are the costs, in the document too

``--measure`` runs the product as ``benchmarks.serving`` does, at 1, 8 and 32 connections. Costs come from 1 and 32;
what the model then says of 8 is compared with what was measured. Without it the costs are those of ``capacity.json``
beside this file.

The model. A worker scores in batches: whatever has come while the last batch was away. A batch of n takes
``fixed + n * each`` seconds, where ``fixed`` is the round trip and the commit and ``each`` the work a transaction. A
discrete-event simulation with Poisson arrivals gives the latencies of one worker at a rate; instances are added until
the slowest hundredth is fast enough and the worker no busier than it should be. Everything else is arithmetic.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parents[1]
REFERENCE = Path(__file__).with_suffix(".json")
DOCUMENT = PROJECT / "docs" / "deployment.md"
LOADS = (10_000, 1_000_000, 100_000_000)
SECONDS_A_DAY = 86_400
DAYS_A_MONTH = 30.4
GIB = 2**30


@dataclass(frozen=True)
class Costs:
    """What predictions cost: of each kind what a batch costs however large it is, and what a transaction adds.

    ``fixed_ms``, ``each_ms``: time until a batch is answered; ``app_…``, ``database_…``: processor time of both;
    ``row_bytes``: a prediction in the table and its indexes; ``wal_bytes``: what is written ahead of it.
    """

    fixed_ms: float
    each_ms: float
    app_fixed_ms: float
    app_each_ms: float
    database_fixed_ms: float
    database_each_ms: float
    row_bytes: float
    wal_bytes: float


@dataclass(frozen=True)
class Assumptions:
    """What cannot be measured here; each is an option of the command or a line to change.

    ``slower``: how much slower a core in Azure is than the one measured on. ``busy_app``, ``busy_database``: how busy a
    worker and the database may be at the peak. ``p99_ms``: of scoring in the app. ``hot_months``: predictions kept in
    PostgreSQL. ``log_bytes``: what a request leaves in Application Insights, of which ``sampled`` is kept.
    """

    peak_factor: float = 4.0
    slower: float = 1.5
    busy_app: float = 0.6
    busy_database: float = 0.5
    p99_ms: float = 50.0
    hot_months: int = 18
    archive_ratio: float = 0.15
    log_bytes: float = 1_500.0
    pool: int = 30
    least_instances: int = 2


@dataclass(frozen=True)
class Plan:
    """What a load needs."""

    per_day: int
    peak: float
    instances: int
    p99_ms: float
    client_connections: int
    commits: float
    cores: float
    server_connections: int
    sku: str
    hot_months: int
    database_gib: float
    archive_gib_a_month: float
    write_mib_s: float
    sampled: float
    price: str


# Flexible Server, General Purpose: cores, user connections, list price in USD a month (West Europe, pay as you go,
# rounded, 2025). Prices change: they choose a class below and nothing else.
SERVERS = {
    "Standard_D2ds_v5": (2, 844, 130),
    "Standard_D4ds_v5": (4, 1703, 260),
    "Standard_D8ds_v5": (8, 3422, 520),
    "Standard_D16ds_v5": (16, 4985, 1040),
    "Standard_D32ds_v5": (32, 4985, 2080),
    "Standard_D48ds_v5": (48, 4985, 3120),
    "Standard_D64ds_v5": (64, 4985, 4160),
}
_INSTANCE, _DISK_GIB, _LOG_GIB = 80, 0.12, 2.8  # an always-ready instance of 4 GB, disk and logs, USD a month
PGBOUNCER_CLIENTS = 5000
SMALLEST_DISK_GIB, LARGEST_DISK_GIB = 128.0, 32 * 1024.0  # the specification's, and Flexible Server's
_CLASSES = ((1_000, "below 1,000"), (5_000, "1,000 to 5,000"), (25_000, "5,000 to 25,000"))


def simulate(costs: Costs, rate: float, *, arrivals: int = 20_000, seed: int = 5) -> tuple[float, float]:
    """Batches a second and the 99th percentile in ms of one worker with Poisson arrivals at ``rate`` a second."""
    times = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, arrivals))
    fixed, each = costs.fixed_ms / 1000, costs.each_ms / 1000
    latencies = np.empty(arrivals)
    free = 0.0
    first = batches = 0
    while first < arrivals:
        start = max(free, float(times[first]))
        behind = max(int(np.searchsorted(times, start, side="right")), first + 1)
        free = start + fixed + (behind - first) * each
        batches += 1
        latencies[first:behind] = free - times[first:behind]
        first = behind
    return batches / free, float(np.percentile(latencies, 99)) * 1000


def closed_loop(costs: Costs, clients: int) -> float:
    """Transactions a second when ``clients`` wait for their answer before they ask again: one batch of all."""
    return clients / (costs.fixed_ms + clients * costs.each_ms) * 1000


def instances_for(costs: Costs, peak: float, assumed: Assumptions) -> tuple[int, float, float]:
    """The least number of workers that are fast enough at the peak and not too busy.

    Returns it with the batches a second of all of them and the 99th percentile in ms. Busy is the processor, not the
    worker: waiting for a commit costs none.
    """
    slower = replace(costs, each_ms=costs.each_ms * assumed.slower)
    count = assumed.least_instances
    while True:
        rate = peak / count
        batches, p99 = simulate(slower, rate)
        busy = (batches * costs.app_fixed_ms + rate * costs.app_each_ms) * assumed.slower / 1000
        if (p99 <= assumed.p99_ms and busy <= assumed.busy_app) or count >= 10_000:
            return count, batches * count, p99
        count += max(1, count // 20)


def plan(costs: Costs, per_day: int, assumed: Assumptions) -> Plan:
    """What ``per_day`` predictions a day need."""
    peak = per_day / SECONDS_A_DAY * assumed.peak_factor
    instances, batches, p99 = instances_for(costs, peak, assumed)
    work_ms = batches * costs.database_fixed_ms + peak * costs.database_each_ms
    cores = work_ms * assumed.slower / 1000 / assumed.busy_database
    sku = next((name for name, (have, _, _) in SERVERS.items() if have >= max(cores, 4)), "more than one server")
    rows_a_month = per_day * DAYS_A_MONTH
    month_gib = rows_a_month * costs.row_bytes / GIB
    hot_months = min(assumed.hot_months, max(1, int(LARGEST_DISK_GIB * 0.65 / month_gib)))
    database = max(SMALLEST_DISK_GIB, (hot_months + 1) * month_gib)  # one more: the month that is being archived
    sampled = min(1.0, 10 * GIB / (per_day * assumed.log_bytes))  # at most 10 GiB of logs a day
    return Plan(
        per_day=per_day,
        peak=peak,
        instances=instances,
        p99_ms=p99,
        client_connections=min(instances * assumed.pool, PGBOUNCER_CLIENTS),
        commits=batches,
        cores=cores,
        server_connections=max(50, 2 * instances),  # two batches of each at a time
        sku=sku,
        hot_months=hot_months,
        database_gib=database,
        archive_gib_a_month=month_gib * assumed.archive_ratio,
        write_mib_s=peak * costs.wal_bytes * 2 / 2**20,
        sampled=sampled,
        price=_price(sku, instances, database, per_day * sampled * assumed.log_bytes * DAYS_A_MONTH / GIB),
    )


def _price(sku: str, instances: int, disk_gib: float, logs_gib: float) -> str:
    if sku not in SERVERS:
        return "above 25,000"
    # A zone-redundant standby doubles server and disk.
    total = 2 * (SERVERS[sku][2] + disk_gib * _DISK_GIB) + instances * _INSTANCE + logs_gib * _LOG_GIB
    return next((name for limit, name in _CLASSES if total < limit), "above 25,000")


def render(plans: Sequence[Plan]) -> str:
    """The table, a load a column."""
    rows = [
        ("predictions a day", [f"{p.per_day:,}" for p in plans]),
        ("a second at the peak", [f"{p.peak:,.1f}" for p in plans]),
        ("instances (4 GB) at the peak", [f"{p.instances:,}" for p in plans]),
        ("p99 of a batch with its queue, ms", [f"{p.p99_ms:,.0f}" for p in plans]),
        ("connections to PgBouncer, at most", [f"{p.client_connections:,}" for p in plans]),
        ("`pgbouncerPoolSize`", [f"{p.server_connections:,}" for p in plans]),
        ("commits a second at the peak", [f"{p.commits:,.1f}" for p in plans]),
        ("cores of the database that they need", [f"{p.cores:,.1f}" for p in plans]),
        ("database server", [p.sku for p in plans]),
        ("months kept in it", [f"{p.hot_months}" for p in plans]),
        ("its disk, GiB", [f"{p.database_gib:,.0f}" for p in plans]),
        ("archive, GiB a month", [f"{p.archive_gib_a_month:,.1f}" for p in plans]),
        ("written at the peak, MiB/s", [f"{p.write_mib_s:,.1f}" for p in plans]),
        ("share of requests traced", [f"{p.sampled:.0%}" for p in plans]),
        ("list price, USD a month", [p.price for p in plans]),
    ]
    lines = [f"| {name} | {' | '.join(values)} |" for name, values in rows]
    return "\n".join([lines[0], "|---" * (len(plans) + 1) + "|", *lines[1:]])


def reference() -> Costs:
    """The costs that were adopted last."""
    return Costs(**json.loads(REFERENCE.read_text()))


def adopt(costs: Costs) -> None:
    """Keep the costs, and put their table where the last one stands in the document."""
    REFERENCE.write_text(json.dumps({name: round(value, 3) for name, value in asdict(costs).items()}, indent=1) + "\n")
    table = render([plan(reference(), per_day, Assumptions()) for per_day in LOADS])
    text = DOCUMENT.read_text()
    start = text.index("| predictions a day |")
    DOCUMENT.write_text(text[:start] + table + text[text.index("\n\n", start) :])


def main() -> int:
    """Entry point of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="measure the costs here first")
    parser.add_argument("--adopt", action="store_true", help="keep what was measured, here and in docs/deployment.md")
    parser.add_argument("--seconds", type=float, default=6, help="of each measured run")
    parser.add_argument("--per-day", type=int, nargs="+", default=LOADS)
    defaults = Assumptions()
    for name in ("peak_factor", "slower", "p99_ms"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=getattr(defaults, name))
    parser.add_argument("--hot-months", type=int, default=defaults.hot_months)
    options = parser.parse_args()
    assumed = Assumptions(
        peak_factor=options.peak_factor, slower=options.slower, p99_ms=options.p99_ms, hot_months=options.hot_months
    )
    costs = reference()
    if options.measure:
        from benchmarks.capacity_costs import measure

        costs = measure(options.seconds)
        if options.adopt:
            adopt(costs)
    print("Costs:", ", ".join(f"{name} {value:,.2f}" for name, value in asdict(costs).items()))
    print("Assumptions:", ", ".join(f"{name} {value:,g}" for name, value in asdict(assumed).items()))
    print(render([plan(costs, per_day, assumed) for per_day in options.per_day]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
