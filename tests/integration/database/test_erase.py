"""A person's transactions are erased, everybody else's stay."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from shared.features.history.events import hash_text
from sql.erase import main

AT = datetime(2026, 1, 15, tzinfo=UTC)
TABLES = ("predictions", "prediction_labels", "pending_labels", "submissions", "entity_events")


def _score(conn: psycopg.Connection[dict[str, Any]], transaction: str | None, customer: str) -> UUID:
    """What scoring and labelling leave of a transaction: all tables, two entities of one layout."""
    prediction = uuid4()
    inputs = Jsonb({"transaction": {"customer_id": customer, "amount": 1}, "features": {}})
    conn.execute(
        "INSERT INTO predictions (id, model_id, transaction_id, input_features, fraud_score, is_fraud, created_at) "
        "VALUES (%s, %s, %s, %s, 0.1, false, %s)",
        [prediction, uuid4(), transaction, inputs, AT],
    )
    conn.execute(
        "INSERT INTO prediction_labels (prediction_id, prediction_created_at, model_id, is_fraud, labeled_at) "
        "VALUES (%s, %s, %s, true, %s)",
        [prediction, AT, uuid4(), AT],
    )
    conn.execute(
        "INSERT INTO pending_labels (prediction_id, is_fraud, labeled_at) VALUES (%s, true, %s)", [prediction, AT]
    )
    if transaction is not None:
        conn.execute(
            "INSERT INTO submissions VALUES (%s, %s, %s, %s, %s)", [transaction, uuid4(), uuid4(), prediction, AT]
        )
    for entity, key in enumerate((customer, "shared-card")):
        conn.execute(
            "INSERT INTO entity_events (key, occurred_at, id_hash, layout, entity, payload) "
            "VALUES (%s, %s, %s, 1, %s, '')",
            [hash_text(key), AT, hash_text(transaction or str(prediction)), entity],
        )
    return prediction


@pytest.fixture
def scored(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Two transactions of one person, one without an id, and one of another; a layout of customer and card."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    with psycopg.connect(database_url, row_factory=dict_row) as conn:
        conn.execute(
            "SELECT ensure_predictions_partitions('2026-01-01', 1), ensure_entity_events_partitions('2026-01-01', 1)"
        )
        entities = Jsonb({"entities": [["customer_id"], ["card_id"]]})
        conn.execute("INSERT INTO history_layouts (id, fingerprint, columns) VALUES (1, 'f', %s)", [entities])
        for transaction, customer in (("t-1", "C-17"), (None, "C-17"), ("t-2", "C-18")):
            _score(conn, transaction, customer)
    return database_url


def _counts(url: str) -> dict[str, int]:
    with psycopg.connect(url) as conn:
        rows = [conn.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() for table in TABLES]
    return {table: row[0] for table, row in zip(TABLES, rows, strict=True) if row is not None}


def test_a_person_is_erased_and_the_others_stay(scored: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of three transactions one is left, with all that belongs to it; the audit log knows how many, and not whom."""
    assert main(["customer_id", "C-17"]) == 0
    assert _counts(scored) == {
        "predictions": 1, "prediction_labels": 1, "pending_labels": 1, "submissions": 1, "entity_events": 2
    }  # fmt: skip
    with psycopg.connect(scored) as conn:
        entries = conn.execute(
            "SELECT action, metadata::text FROM audit_logs WHERE resource_type = 'person'"
        ).fetchall()
    [(action, metadata)] = entries
    assert action == "DELETE"
    assert '"predictions": 2' in metadata
    assert "C-17" not in metadata
    assert "2 predictions" in capsys.readouterr().out


def test_a_dry_run_counts_and_erases_nothing(scored: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The same figures, and every row still there."""
    before = _counts(scored)
    assert main(["customer_id", "C-17", "--dry-run"]) == 0
    assert "would be erased: 4 events" in capsys.readouterr().out
    assert _counts(scored) == before


def test_what_is_out_of_reach_is_named(scored: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A dataset with the column may hold the person, and the command does not end well until somebody has looked."""
    with psycopg.connect(scored) as conn:
        columns = Jsonb({"columns": [{"name": "customer_id", "type": "string"}]})
        conn.execute("INSERT INTO datasets (name, storage_path, schema) VALUES ('march', 'p', %s)", [columns])
    assert main(["customer_id", "C-99"]) == 1
    assert "look into: dataset march 1.0" in capsys.readouterr().out
