"""What the app's role may do, and what it may not."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from shared.platform.queries import queries
from sql.grants import grant
from tests.integration.database.test_queries import NAMED, numbered


@pytest.fixture(scope="module")
def app_connection(module_database_url: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A connection with the rights of an app's role and no more; the role ends with the module."""
    role = sql.Identifier(f"app_{uuid4().hex[:12]}")
    with psycopg.connect(module_database_url, autocommit=True) as owner:
        owner.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(role))
        for _ in range(2):  # repeating it changes nothing
            grant(owner, role.as_string(owner).strip('"'))
        with psycopg.connect(module_database_url, autocommit=True) as connection:
            connection.execute(sql.SQL("SET ROLE {}").format(role))
            yield connection
        owner.execute(sql.SQL("DROP OWNED BY {}").format(role))
        owner.execute(sql.SQL("DROP ROLE {}").format(role))


@pytest.mark.parametrize(("domain", "name"), NAMED)
def test_the_app_may_run_its_queries(
    app_connection: psycopg.Connection[tuple[object, ...]], domain: str, name: str
) -> None:
    """PostgreSQL checks a statement's rights when it explains it."""
    query = numbered(queries(domain)[name])
    parameters = max((number for number in range(1, 100) if f"${number}" in query), default=0)
    app_connection.execute(f"PREPARE candidate AS {query}".encode())
    try:
        nulls = f"({', '.join(['NULL'] * parameters)})" if parameters else ""
        app_connection.execute(f"EXPLAIN EXECUTE candidate{nulls}".encode())
    finally:
        app_connection.execute("DEALLOCATE candidate")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_logs SET action = 'X'",
        "DELETE FROM audit_logs",
        "INSERT INTO audit_chain (sequence) VALUES (1)",
        "UPDATE alembic_version SET version_num = '0001'",
        "DROP TABLE predictions",
        "TRUNCATE predictions",
        "ALTER TABLE users ADD COLUMN backdoor text",
        "CREATE TABLE mine (id int)",
    ],
)
def test_the_app_may_not(app_connection: psycopg.Connection[tuple[object, ...]], statement: str) -> None:
    """It changes no audit entry, no schema, and owns nothing."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        app_connection.execute(statement.encode())


def test_months_made_later_are_the_apps_too(
    app_connection: psycopg.Connection[tuple[object, ...]], module_database_url: str
) -> None:
    """The app asks for a month, the owner's function makes it, and the app may read and fill the partition itself."""
    app_connection.execute("SELECT ensure_predictions_partitions('2031-05-01', 1)")
    app_connection.execute("SELECT count(*) FROM predictions_2031_05")
    rights = app_connection.execute("SELECT has_table_privilege('predictions_2031_05', 'INSERT')").fetchone()
    assert rights == (True,)
