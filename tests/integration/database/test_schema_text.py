"""sql/schema.sql and the migrations build the same schema."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from devhost.postgres import PostgresServer
from sql.catalogue import read_catalogue
from sql.migrate import migrate
from sql.schema import SCHEMA_FILE, render
from tests.fixtures.postgres import scratch_database


@pytest.fixture(scope="module")
def migrated_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A database at head with the partitions of the migrations only."""
    with scratch_database(postgres_server) as url:
        migrate(url, partitions=False)
        yield url


def test_schema_file_builds_the_migrated_schema(migrated_url: str, empty_database_url: str) -> None:
    """Loaded into an empty database, sql/schema.sql gives the very catalogue the migrations give."""
    with psycopg.connect(empty_database_url) as connection:
        connection.execute(SCHEMA_FILE.read_bytes())
    assert read_catalogue(empty_database_url).items() == read_catalogue(migrated_url).items()


def test_schema_file_is_up_to_date(migrated_url: str) -> None:
    """The file is what `python -m sql.schema --write` would write now."""
    assert SCHEMA_FILE.read_text(encoding="utf-8") == render(read_catalogue(migrated_url))


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE users ALTER COLUMN role SET DEFAULT 'admin'",
        "ALTER TABLE users ALTER COLUMN role SET NOT NULL",
        "ALTER TABLE users ALTER COLUMN email TYPE text",
        "ALTER TABLE baselines DROP CONSTRAINT baselines_model_id_fkey",
        "ALTER TABLE datasets DROP CONSTRAINT datasets_status_check",
        "DROP INDEX idx_drift_status",
        "ALTER INDEX idx_drift_status RENAME TO idx_drift",
        "CREATE TABLE predictions_2026_03 PARTITION OF predictions FOR VALUES FROM ('2026-03-01') TO ('2026-04-01')",
        "COMMENT ON COLUMN training_jobs.celery_task_id IS NULL",
        "ALTER FUNCTION ensure_predictions_partitions(date, integer) SECURITY INVOKER",
    ],
)
def test_comparison_sees_a_difference(change: str, database_url: str) -> None:
    """A change of any kind of object changes the catalogue the proofs compare."""
    before = read_catalogue(database_url).items()
    with psycopg.connect(database_url) as connection:
        connection.execute(change.encode())
    assert read_catalogue(database_url).items() != before
