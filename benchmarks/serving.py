"""Scoring over HTTP beside its rivals, in one session: requests a second and latencies at 1, 8 and 32 connections.

    python -m benchmarks.serving [--seconds 6] [--connections 1 8 32] [--modes default always] [--rounds 3]
    python -m benchmarks.serving --rows 10000000

The product runs in the development host, one worker process, with a PostgreSQL of its own whose fsync and synchronous
commit are on; its model has 200 trees of depth 6 over 30 numbers and came through the product. Every row is stored
before its answer. In the mode "default" the flagged few are explained, in "always" (EXPLAIN_ALWAYS) every one is.

The rivals (``benchmarks/rivals``) are one process each, with the same model and the same version of XGBoost: FastAPI
with XGBoost's own SHAP values and one INSERT a request, which is the whole job done the straightforward way, and
FastAPI that scores and does nothing else. They take turns with the product, so that a busy machine disturbs all.

Every request has a transaction id of its own. After each run the rows in the table are compared with the answers:
requests that were in flight when the run ended may be stored without having been answered. One more run looks at every
answer: each prediction id that was acknowledged must be in the table, once.

With ``--rows`` the product is measured alone, ``--rounds`` runs with an empty table and as many with so many rows of
the last 30 days in it, about 1.5 KB each.
"""

import argparse
import sys
import uuid
from dataclasses import dataclass

import psycopg

from benchmarks.serving_load import Load, load
from benchmarks.serving_product import Product, start
from benchmarks.serving_rivals import Rival, rivals
from benchmarks.serving_scale import scale
from devhost.console import Failure

_WARM_UP_SECONDS = 2.0


@dataclass(frozen=True)
class Line:
    """One row of the table. ``rows``: what the table of predictions holds afterwards; None where nothing is stored."""

    server: str
    connections: int
    load: Load
    rows: int | None


def main() -> int:
    """Entry point of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6, help="of each run")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--modes", nargs="+", choices=["default", "always"], default=["default", "always"])
    parser.add_argument("--rounds", type=int, default=1, help="of which the one with the median rate is shown")
    parser.add_argument("--rows", type=int, help="compare an empty table with one of so many rows")
    options = parser.parse_args()
    try:
        if options.rows:
            scale(options.rows, options.connections, options.seconds, options.rounds)
            return 0
        for mode in options.modes:
            _mode(mode, options.connections, options.seconds, options.rounds)
    except Failure as failure:
        print(failure.render(), file=sys.stderr)
        return 1
    return 0


def _mode(mode: str, connections: list[int], seconds: float, rounds: int) -> None:
    product = start(explain_always=mode == "always")
    try:
        logs = product.services.state / "logs"
        with rivals(product.model, product.database_url, logs) as others:
            names = ["Shadow Hubble", *(rival.name for rival in others)]
            lines: list[Line] = []
            _warm_up(product, others)
            for count in connections:
                runs = [_turn(product, others, count, seconds) for _ in range(rounds)]
                for name in names:
                    own = sorted((run[name] for run in runs), key=lambda line: line.load.rate)
                    lines.append(own[len(own) // 2])
        _print(mode, lines)
        _check_every_answer(product)
    finally:
        product.services.stop()


def _warm_up(product: Product, others: list[Rival]) -> None:
    load(product.url, product.bodies, product.headers, connections=8, seconds=_WARM_UP_SECONDS, run=_new_run())
    for rival in others:
        load(rival.url, product.rival_bodies, {}, connections=8, seconds=_WARM_UP_SECONDS, run=_new_run())


def _turn(product: Product, others: list[Rival], connections: int, seconds: float) -> dict[str, Line]:
    """Each server once."""
    product.empty()
    run = _new_run()
    ours = load(product.url, product.bodies, product.headers, connections=connections, seconds=seconds, run=run)
    found = {"Shadow Hubble": Line("Shadow Hubble", connections, ours, _rows(product.database_url, run))}
    for rival in others:
        run = _new_run()
        theirs = load(rival.url, product.rival_bodies, {}, connections=connections, seconds=seconds, run=run)
        rows = None if rival.database is None else _rows(rival.database, run)
        found[rival.name] = Line(rival.name, connections, theirs, rows)
    return found


def _new_run() -> str:
    return f"run-{uuid.uuid4().hex[:8]}"


def _rows(database: str, run: str) -> int:
    """Rows of one run.

    :raises Failure: a transaction has two.
    """
    with psycopg.connect(database) as conn:
        found = conn.execute(
            "SELECT count(*), count(DISTINCT transaction_id) FROM predictions WHERE transaction_id LIKE %s",
            [f"{run}-%"],
        ).fetchone()
    assert found is not None
    if found[0] != found[1]:
        raise Failure(f"{found[0] - found[1]} transactions are stored twice")
    return int(found[0])


def _print(mode: str, lines: list[Line]) -> None:
    print(f"\nMode {mode}\n")
    print("| connections | server | requests/s | p50 ms | p99 ms | rate against it | answers | rows |")
    print("|---|---|---|---|---|---|---|---|")
    for line in lines:
        ours = next(other for other in lines if other.connections == line.connections)
        ratio = f"{ours.load.rate / line.load.rate:.2f}" if line is not ours else ""
        rows = "" if line.rows is None else f"{line.rows:,}"
        print(
            f"| {line.connections} | {line.server} | {line.load.rate:,.0f} | {line.load.p50_ms:.2f} "
            f"| {line.load.p99_ms:.2f} | {ratio} | {line.load.acknowledged:,} | {rows} |"
        )
        _compare(line)


def _compare(line: Line) -> None:
    """:raises Failure: answers are missing in the table, or more than could be in flight are there."""
    if line.load.refused:
        raise Failure(f"{line.server} refused {line.load.refused} requests")
    if line.rows is not None and not 0 <= line.rows - line.load.acknowledged <= line.connections:
        raise Failure(f"{line.server}: {line.load.acknowledged} answers, {line.rows} rows")


def _check_every_answer(product: Product) -> None:
    run = _new_run()
    looked = load(product.url, product.bodies, product.headers, connections=32, seconds=3, run=run, exact=True)
    with psycopg.connect(product.database_url) as conn:
        rows = conn.execute(
            "SELECT transaction_id, id, is_fraud, explanation IS NOT NULL FROM predictions "
            "WHERE transaction_id LIKE %s",
            [f"{run}-%"],
        ).fetchall()
    stored = {transaction: str(prediction) for transaction, prediction, _, _ in rows}
    if len(rows) != len(stored) or stored != looked.answers:
        raise Failure(f"{len(looked.answers)} answers and {len(rows)} rows are not the same")
    flagged, explained = (sum(row[column] for row in rows) / len(rows) for column in (2, 3))
    print(f"\n{len(rows):,} answers looked at: each is one row; {flagged:.1%} flagged, {explained:.1%} explained")


if __name__ == "__main__":
    sys.exit(main())
