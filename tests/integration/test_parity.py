"""Parity of the stored history with the batch executor: the function of ``benchmarks.parity``, on fewer rows."""

import numpy as np

from benchmarks.parity import compare, dataset, store_history
from shared.platform.database import Database

ROWS = 1_200


async def test_every_row_recomputed_online_equals_batch(database: Database) -> None:
    """With the default plan and past labels, from history in PostgreSQL, no row differs in a single bit."""
    stored = await store_history(database, *dataset("sample", ROWS))
    functions = {feature.function for feature in stored.plan.history_features}
    assert {"count", "sum", "time_since_last", "fraud_rate"} <= functions
    assert np.isfinite(stored.expected).mean() > 0.5
    found = await compare(database, stored)
    assert (found.rows, found.differing, dict(found.by_feature)) == (ROWS, 0, {})


async def test_a_lost_event_is_noticed(database: Database) -> None:
    """The comparison sees the rows whose past lacks one transaction, and says in which features."""
    stored = await store_history(database, *dataset("sample", ROWS))
    async with database.connection() as conn:
        lost = await conn.execute(
            "DELETE FROM entity_events WHERE (entity, key, occurred_at) IN "
            "(SELECT entity, key, min(occurred_at) FROM entity_events GROUP BY entity, key HAVING count(*) > 1 LIMIT 1)"
        )
    assert lost.rowcount == 1
    found = await compare(database, stored)
    assert found.rows == ROWS
    assert found.differing >= 1
    assert set(found.by_feature) <= {feature.name for feature in stored.plan.history_features}
    assert found.by_feature
