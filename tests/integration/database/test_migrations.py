"""Migrations go up, down and up again, wait for nobody, and may be run by several processes at once."""

from __future__ import annotations

import ast
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from alembic.script import ScriptDirectory

from devhost.postgres import PostgresServer
from sql.catalogue import read_catalogue
from sql.migrate import MigrationLocked, configuration, downgrade, migrate
from tests.fixtures.postgres import scratch_database

ROOT = Path(__file__).resolve().parents[3]
REVISIONS = sorted((ROOT / "sql" / "migrations" / "versions").glob("*.py"))
LOCK_TIMEOUT_SECONDS = 3


def revision_of(url: str) -> str | None:
    """The revision a database is at."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return row[0] if row else None


@pytest.fixture(params=["system_postgres_server", pytest.param("wheel_postgres_server", marks=pytest.mark.slow)])
def url_on_version(request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database on the system's PostgreSQL 15, and one on the wheel's 18."""
    server: PostgresServer = request.getfixturevalue(request.param)
    with scratch_database(server) as url:
        yield url


def test_up_down_and_up_again(url_on_version: str) -> None:
    """After going down to nothing and up again the schema is the same, and nothing was left in between."""
    migrate(url_on_version, partitions=False)
    first = read_catalogue(url_on_version).items()
    downgrade(url_on_version, "base")
    emptied = read_catalogue(url_on_version).items()
    migrate(url_on_version, partitions=False)
    assert (emptied, read_catalogue(url_on_version).items()) == ({}, first)


def test_each_revision_is_undone_by_its_downgrade(url_on_version: str) -> None:
    """One step down from a revision gives the schema that was there before it; validated checks may stay validated."""
    revisions = [path.name[:4] for path in REVISIONS]
    before: dict[str, dict[str, str]] = {}
    for revision in revisions:
        migrate(url_on_version, revision)
        before[revision] = ignoring_validation(url_on_version)
    for previous in reversed(revisions[:-1]):
        downgrade(url_on_version, previous)
        assert ignoring_validation(url_on_version) == before[previous]


def ignoring_validation(url: str) -> dict[str, str]:
    """The catalogue's items without the words NOT VALID."""
    return {name: text.removesuffix(" NOT VALID") for name, text in read_catalogue(url).items().items()}


def test_migrating_twice_changes_nothing(database_url: str) -> None:
    """At head, a second run neither changes the schema nor creates a partition."""
    before = read_catalogue(database_url).items()
    assert migrate(database_url) == []
    assert read_catalogue(database_url).items() == before


def test_works_in_a_thread_while_an_event_loop_runs(empty_database_url: str) -> None:
    """The function may be called from a thread of an async program."""

    async def program() -> list[str]:
        return await asyncio.to_thread(migrate, empty_database_url)

    assert len(asyncio.run(program())) == 5


def test_alembic_command_reads_database_url(database_url: str) -> None:
    """The alembic command works on DATABASE_URL with the project's configuration."""
    outcome = subprocess.run(
        [sys.executable, "-m", "alembic", "-c", str(ROOT / "sql" / "alembic.ini"), "current"],
        env=os.environ | {"DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        check=True,
    )
    assert outcome.stdout.split() == [REVISIONS[-1].name[:4], "(head)"]


def test_two_processes_take_turns(empty_database_url: str) -> None:
    """Two processes migrating one empty database at once both succeed, and one of them makes the partitions."""
    command = [sys.executable, "-m", "sql.migrate"]
    environment = os.environ | {"DATABASE_URL": empty_database_url}
    both = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = sorted(process.communicate(timeout=60)[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert "no partition was missing" in outputs[0]
    assert "partitions created: predictions_" in outputs[1]


def test_gives_up_when_another_process_keeps_the_turn(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration that another process does not finish is reported, not waited for."""
    from sql import migrate as module

    monkeypatch.setattr(module, "LOCK_SECONDS", 0.5)
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [module.MIGRATION_LOCK])
        with pytest.raises(MigrationLocked):
            migrate(empty_database_url)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("revision", "table", "mode"),
    [
        ("0002", "training_jobs", "ACCESS SHARE"),
        ("0005", "ml_models", "ACCESS SHARE"),
        ("0006", "alerts", "ACCESS SHARE"),
        ("0007", "alerts", "SHARE UPDATE EXCLUSIVE"),
        ("0008", "ml_models", "ROW EXCLUSIVE"),
    ],
)
def test_fails_at_a_held_lock_instead_of_waiting(revision: str, table: str, mode: str, empty_database_url: str) -> None:
    """A revision that meets a lock ends within its lock_timeout, leaves the one before, and succeeds later."""
    previous = f"{int(revision) - 1:04d}"
    migrate(empty_database_url, previous)
    with psycopg.connect(empty_database_url) as holder:
        holder.execute(f"LOCK TABLE {table} IN {mode} MODE".encode())
        started = time.monotonic()
        with pytest.raises(psycopg.errors.LockNotAvailable):
            migrate(empty_database_url, revision)
        waited = time.monotonic() - started
    assert LOCK_TIMEOUT_SECONDS <= waited < LOCK_TIMEOUT_SECONDS + 2
    assert revision_of(empty_database_url) == previous
    migrate(empty_database_url, revision)
    assert revision_of(empty_database_url) == revision


def test_readers_and_writers_do_not_stop_the_validation(empty_database_url: str) -> None:
    """VALIDATE goes on beside a transaction that has read and written the tables."""
    migrate(empty_database_url, "0006")
    with psycopg.connect(empty_database_url) as writer:
        writer.execute("INSERT INTO users (azure_ad_id, email) VALUES ('subject', 'a@example.com')")
        migrate(empty_database_url, "0007")


def test_interrupted_first_revision_is_taken_up_again(empty_database_url: str) -> None:
    """Killed between the tables and the concurrent index, revision 0001 finishes in the next run."""
    migrate(empty_database_url, "0001")
    complete = read_catalogue(empty_database_url).items()
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("DROP INDEX idx_models_production_fast")
        connection.execute("DELETE FROM alembic_version")
    migrate(empty_database_url, "0001")
    assert read_catalogue(empty_database_url).items() == complete


def test_existing_rows_survive_and_are_checked(empty_database_url: str) -> None:
    """Rows written at revision 0001 are there at head, with the new columns empty."""
    migrate(empty_database_url, "0001")
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("INSERT INTO datasets (name, storage_path) VALUES ('orders', 'datasets/1/data.parquet')")
    migrate(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT name, status FROM datasets").fetchall() == [("orders", "ACTIVE")]


def test_row_of_unknown_status_stops_the_validation(empty_database_url: str) -> None:
    """A bad status from before the checks is named by the revision that validates them."""
    migrate(empty_database_url, "0005")
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("INSERT INTO datasets (name, storage_path, status) VALUES ('orders', 'path', 'LOST')")
    with pytest.raises(psycopg.errors.CheckViolation, match="datasets_status_check"):
        migrate(empty_database_url)
    assert revision_of(empty_database_url) == "0006"


def test_history_from_before_says_who_replaced_whom(empty_database_url: str) -> None:
    """A model that left production in the instant another entered was replaced; one that left alone was archived."""
    migrate(empty_database_url, "0014")
    with psycopg.connect(empty_database_url) as connection:
        models = [
            connection.execute(
                "INSERT INTO ml_models (name, version, algorithm, hyperparameters, storage_path, metrics) "
                "VALUES ('fraud', %s, 'xgboost', '{}', 'x', '{}') RETURNING id",
                (version,),
            ).fetchone()
            for version in "12"
        ]
        first, second = (row[0] for row in models if row is not None)
        for model, old, new, at in (
            (first, "STAGING", "PRODUCTION", "2025-01-01Z"),
            (first, "PRODUCTION", "ARCHIVED", "2025-02-01Z"),
            (second, "STAGING", "PRODUCTION", "2025-02-01Z"),
            (second, "PRODUCTION", "ARCHIVED", "2025-03-01Z"),
        ):
            connection.execute(
                "INSERT INTO model_promotions (model_id, from_status, to_status, promoted_at) VALUES (%s, %s, %s, %s)",
                (model, old, new, at),
            )
    migrate(empty_database_url, "0015")
    with psycopg.connect(empty_database_url) as connection:
        steps = connection.execute(
            "SELECT replaced_by FROM model_promotions ORDER BY promoted_at, to_status"
        ).fetchall()
    assert steps == [(None,), (second,), (None,), (None,)]


def test_there_is_one_line_of_revisions() -> None:
    """The revisions form one line from base to one head."""
    scripts = ScriptDirectory.from_config(configuration())
    line = [script.revision for script in reversed(list(scripts.walk_revisions()))]
    assert (scripts.get_heads(), line) == ([line[-1]], [path.name[:4] for path in REVISIONS])


@pytest.mark.parametrize("path", REVISIONS, ids=lambda path: path.stem)
@pytest.mark.parametrize("function", ["upgrade", "downgrade"])
def test_every_revision_limits_its_waiting_first(path: Path, function: str) -> None:
    """The first statement of every upgrade and downgrade sets the time limits."""
    assert ast.unparse(_function(path, function).body[0]).startswith("limit_waiting(")


@pytest.mark.parametrize("path", REVISIONS, ids=lambda path: path.stem)
def test_every_revision_gives_its_reason(path: Path) -> None:
    """The docstring of a revision says why it is there."""
    assert "\nReason: " in (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "")


def test_no_upgrade_drops_a_column(empty_database_url: str) -> None:
    """Every column of the revision before is still there after an upgrade."""
    columns: set[str] = set()
    for path in REVISIONS:
        migrate(empty_database_url, path.name[:4])
        before, columns = columns, set(read_catalogue(empty_database_url).items())
        assert {name for name in before if name.startswith("column ")} <= columns, path.name


def _function(path: Path, name: str) -> ast.FunctionDef:
    module = ast.parse(path.read_text(encoding="utf-8"))
    return next(node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == name)
