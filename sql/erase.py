"""Erases a person's transactions: ``python -m sql.erase COLUMN VALUE [--dry-run]``, for example ``customer_id C-17``.

Connects to DATABASE_URL as the role that owns the tables. In one transaction it deletes every prediction whose
transaction has VALUE in COLUMN, with its labels, its challengers' decisions and what history keeps of it, and the
events of the entity itself; the audit log is told how many, never whom. What it cannot reach is named: months that are
archived, and datasets with that column. Exit status 0: nothing is left; 1: something named may be.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from shared.features.history.events import hash_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import Connection

# Reads every partition: the column is one of many that nobody else looks for.
_FIND: Final = """
SELECT id, created_at, transaction_id
FROM predictions
WHERE input_features -> 'transaction' ->> %(column)s = %(value)s
"""

_ERASE: Final = {
    # Of the entity that the column alone is, whichever dataset its events came from; then of the transactions,
    # under whichever entity they stand.
    "events": """
        DELETE FROM entity_events AS e
        USING history_layouts AS l,
            jsonb_array_elements(l.columns -> 'entities') WITH ORDINALITY AS entity (columns, position)
        WHERE e.layout = l.id AND e.entity = entity.position - 1
          AND (e.id_hash = ANY(%(hashes)s)
            OR entity.columns = jsonb_build_array(%(column)s::text) AND e.key = %(key)s)
        """,
    "shadow_predictions": "DELETE FROM shadow_predictions WHERE prediction_id = ANY(%(ids)s)",
    "labels": "DELETE FROM prediction_labels WHERE prediction_id = ANY(%(ids)s)",
    "pending_labels": """
        DELETE FROM pending_labels
        WHERE prediction_id = ANY(%(ids)s) OR transaction_id = ANY(%(transactions)s)
        """,
    "submissions": "DELETE FROM submissions WHERE transaction_id = ANY(%(transactions)s)",
    "predictions": "DELETE FROM predictions WHERE id = ANY(%(ids)s) AND created_at = ANY(%(times)s)",
}

_NOTE: Final = "INSERT INTO audit_logs (action, resource_type, metadata) VALUES ('DELETE', 'person', %s)"

_OUT_OF_REACH: Final = """
SELECT 'archived month ' || to_char(month, 'YYYY-MM') AS name
FROM predictions_archives
WHERE state = 'ARCHIVED'
UNION ALL
SELECT 'dataset ' || name || ' ' || version
FROM datasets
WHERE schema -> 'columns' @> jsonb_build_array(jsonb_build_object('name', %(column)s::text))
ORDER BY name
"""


def erase(conn: Connection[dict[str, Any]], column: str, value: str) -> dict[str, int]:
    """Delete what is kept of the transactions with ``value`` in ``column``; how many rows of each kind.

    In the transaction of ``conn``. Raises psycopg.errors.InsufficientPrivilege when the role does not own the tables.
    """
    found = conn.execute(_FIND, {"column": column, "value": value}).fetchall()
    parameters = {
        "column": column,
        "key": hash_text(value),
        "ids": [row["id"] for row in found],
        "times": [row["created_at"] for row in found],
        "transactions": [row["transaction_id"] for row in found if row["transaction_id"] is not None],
        # History knows a transaction by the hash of its id, or of its prediction's where it has none.
        "hashes": [hash_text(row["transaction_id"] or str(row["id"])) for row in found],
    }
    deleted = {kind: conn.execute(statement, parameters).rowcount for kind, statement in _ERASE.items()}
    conn.execute(_NOTE, [Jsonb({"column": column, **deleted})])
    return deleted


def out_of_reach(conn: Connection[dict[str, Any]], column: str) -> list[str]:
    """What may hold the person besides: archived months, and datasets with the column."""
    return [row["name"] for row in conn.execute(_OUT_OF_REACH, {"column": column}).fetchall()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Erase, and say what was erased and what may be left."""
    parser = argparse.ArgumentParser(prog="python -m sql.erase", description=__doc__)
    parser.add_argument("column", help="field of the transactions that names the person")
    parser.add_argument("value", help="the person's value in it")
    parser.add_argument("--dry-run", action="store_true", help="count, and erase nothing")
    chosen = parser.parse_args(arguments)
    address = os.environ.get("DATABASE_URL")
    if not address:
        print("DATABASE_URL is not set", file=sys.stderr)  # noqa: T201 - a command's message
        return 2
    with psycopg.connect(address, row_factory=dict_row) as conn:
        deleted = erase(conn, chosen.column, chosen.value)
        left = out_of_reach(conn, chosen.column)
        if chosen.dry_run:
            conn.rollback()
    word = "would be erased" if chosen.dry_run else "erased"
    print(f"{word}:", ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in deleted.items()))  # noqa: T201
    for name in left:
        print(f"look into: {name}")  # noqa: T201
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
