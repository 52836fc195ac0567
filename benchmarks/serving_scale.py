"""Scoring with millions of rows in ``predictions``, beside the same with an empty table; see ``benchmarks.serving``."""

import json
import statistics
import uuid

import psycopg

from benchmarks.serving_load import Load, load
from benchmarks.serving_product import Product, start

_AT_ONCE = 500_000
# Ids carry their time, as the product's do; the inputs are those of a transaction of 30 numbers.
_FILL = """
INSERT INTO predictions (
    id, model_id, transaction_id, input_features, fraud_score, is_fraud, confidence, latency_ms, created_at
)
SELECT
    (
        lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(random, 1, 3)
        || '8' || substr(random, 4, 15)
    )::uuid,
    (SELECT id FROM ml_models WHERE status = 'PRODUCTION'), 'past-' || number, %(inputs)s::jsonb, 0.01, false, 0.9, 3,
    at
FROM (
    SELECT
        number, md5(number::text) AS random,
        date_trunc('milliseconds', now() - interval '30 days' * (1 - number / %(rows)s::float8)) AS at
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS number
) AS made
"""


def scale(rows: int, connections: list[int], seconds: float, rounds: int) -> None:
    """Measure, fill, measure again, and print both beside each other."""
    product = start()
    try:
        product.empty()
        _run(product, 8, 2.0)
        empty = {count: [_run(product, count, seconds) for _ in range(rounds)] for count in connections}
        _fill(product, rows)
        _run(product, 8, 2.0)
        full = {count: [_run(product, count, seconds) for _ in range(rounds)] for count in connections}
        print(f"\n| connections | p50 ms, empty | p50 ms, {rows:,} rows | ratio | p99 ms, empty | p99 ms | ratio |")
        print("|---|---|---|---|---|---|---|")
        for count in connections:
            cells = [f"{count}"]
            for figure in ("p50_ms", "p99_ms"):
                before, after = (
                    statistics.median(getattr(run, figure) for run in runs[count]) for runs in (empty, full)
                )
                cells += [f"{before:.2f}", f"{after:.2f}", f"{after / before:.2f}"]
            print(f"| {' | '.join(cells)} |")
    finally:
        product.empty()
        product.services.stop()


def _run(product: Product, connections: int, seconds: float) -> Load:
    run = f"run-{uuid.uuid4().hex[:8]}"
    return load(product.url, product.bodies, product.headers, connections=connections, seconds=seconds, run=run)


def _fill(product: Product, rows: int) -> None:
    transaction = json.loads(product.bodies.read_text().partition("\n")[0])["transaction"]
    features = {name: value for name, value in transaction.items() if name != "transaction_id"}
    inputs = json.dumps({"transaction": transaction, "features": features})
    with psycopg.connect(product.database_url, autocommit=True) as conn:
        conn.execute("SELECT ensure_predictions_partitions((now() - interval '31 days')::date, 3)")
        for first in range(1, rows + 1, _AT_ONCE):
            last = min(first + _AT_ONCE - 1, rows)
            conn.execute(_FILL, {"inputs": inputs, "rows": rows, "first": first, "last": last})
            print(f"{last:,} rows", flush=True)
        conn.execute("VACUUM ANALYZE predictions")
        conn.execute("CHECKPOINT")
