"""The costs of a prediction, measured: the product under load, its processes' time, what a row takes."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import psycopg

from benchmarks.capacity import PROJECT, Costs, closed_loop
from benchmarks.serving_load import Load, load
from benchmarks.serving_product import Product, start

_TICKS = os.sysconf("SC_CLK_TCK")


class _Used(NamedTuple):
    """Processor seconds of app and database, bytes of the table with its indexes, and of the log."""

    app: float
    database: float
    table: float
    wal: float


def measure(seconds: float) -> Costs:
    """Run the product at 1, 8 and 32 connections; print how well the model of 1 and 32 tells what 8 do."""
    product = start(state=PROJECT / ".local" / "capacity")
    try:
        _load(product, 8, 2.0)
        one, alone = _turn(product, 1, seconds)
        middle, _ = _turn(product, 8, seconds)
        many, together = _turn(product, 32, seconds)
    finally:
        product.services.stop()
    fixed, each = _split(1000 / one.rate, 32_000 / many.rate)
    # A batch of 32 costs 32 times what one of its transactions does.
    app = _split(alone.app, together.app * 32)
    database = _split(alone.database, together.database * 32)
    costs = Costs(fixed, each, *app, *database, row_bytes=together.table, wal_bytes=together.wal)
    said = closed_loop(costs, 8)
    print(f"1 connection: {one.rate:,.0f}/s; 32: {many.rate:,.0f}/s", end="; ")
    print(f"8: {middle.rate:,.0f}/s, the model says {said:,.0f}/s ({said / middle.rate - 1:+.0%})")
    return costs


def _split(batch_of_one: float, batch_of_32: float) -> tuple[float, float]:
    """``fixed`` and ``each`` of a cost of ``fixed + n * each``."""
    each = max(batch_of_32 - batch_of_one, 0.0) / 31
    return max(batch_of_one - each, 0.0), each


def _turn(product: Product, connections: int, seconds: float) -> tuple[Load, _Used]:
    """A run, and what a transaction of it used: processor milliseconds, bytes."""
    product.empty()
    before = _used(product)
    ran = _load(product, connections, seconds)
    used = [(late - early) / ran.acknowledged for early, late in zip(before, _used(product), strict=True)]
    return ran, _Used(used[0] * 1000, used[1] * 1000, used[2], used[3])


def _load(product: Product, connections: int, seconds: float) -> Load:
    run = f"run-{uuid4().hex[:8]}"
    return load(product.url, product.bodies, product.headers, connections=connections, seconds=seconds, run=run)


def _used(product: Product) -> _Used:
    with psycopg.connect(product.database_url, autocommit=True) as conn:
        row = conn.execute(
            "SELECT (SELECT coalesce(sum(pg_total_relation_size(inhrelid)), 0) FROM pg_inherits "
            "        WHERE inhparent = 'predictions'::regclass)::bigint, "
            "       (pg_current_wal_lsn() - '0/0')::bigint, current_setting('data_directory')"
        ).fetchone()
    assert row is not None
    postmaster = int(Path(row[2], "postmaster.pid").read_text().splitlines()[0])
    host = product.services.host.pid()
    assert host is not None
    return _Used(_cpu(host), _cpu(postmaster), row[0], row[1])


def _cpu(pid: int) -> float:
    """Processor seconds of a process, its children, and those of them that have ended."""
    return sum(sum(_fields(process)[11:15]) for process in _family(pid)) / _TICKS


def _family(pid: int) -> Iterator[int]:
    yield pid
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            yield from _family(int(child))


def _fields(pid: int) -> list[int]:
    """The numbers of /proc/PID/stat from the state on: 11 to 14 are utime, stime, cutime, cstime."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:  # it has just ended, and is in its parent's cutime
        return []
    return [0, *(int(value) for value in text.rpartition(")")[2].split()[1:])]
