"""ensure_predictions_partitions makes months of predictions without getting in anybody's way."""

from __future__ import annotations

import re
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from sql.catalogue import read_catalogue

CALLERS = 8
INSERT = """
INSERT INTO predictions (model_id, input_features, fraud_score, is_fraud, created_at)
VALUES (%s, '{}', 0.5, false, %s) RETURNING tableoid::regclass::text
"""


def ensure(url: str, first: date, months: int) -> list[str]:
    """Call the function in a transaction of its own."""
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT ensure_predictions_partitions(%s, %s)", [first, months]).fetchall()
        return [row[0] for row in rows]


def insert_prediction(connection: psycopg.Connection, at: datetime) -> str:
    """Insert a prediction of that time; returns the partition it went to."""
    row = connection.execute(INSERT, [uuid.uuid4(), at]).fetchone()
    assert row is not None
    return str(row[0])


def test_names_what_it_creates_and_nothing_twice(database_url: str) -> None:
    """The missing months are created and named; a second call finds nothing to do."""
    expected = ["predictions_2031_11", "predictions_2031_12", "predictions_2032_01"]
    assert ensure(database_url, date(2031, 11, 17), 3) == expected
    assert ensure(database_url, date(2031, 11, 1), 3) == []


def test_fills_a_gap(database_url: str) -> None:
    """Of several months only the missing ones are created."""
    ensure(database_url, date(2031, 5, 1), 1)
    assert ensure(database_url, date(2031, 4, 1), 3) == ["predictions_2031_04", "predictions_2031_06"]


def test_eight_callers_at_once_create_each_month_once(database_url: str) -> None:
    """Concurrent callers all succeed, and each partition is reported by exactly one of them."""
    together = threading.Barrier(CALLERS)

    def call(_: int) -> list[str]:
        together.wait()
        return ensure(database_url, date(2031, 1, 1), 6)

    with ThreadPoolExecutor(CALLERS) as pool:
        reported = [name for names in pool.map(call, range(CALLERS)) for name in names]
    assert sorted(reported) == [f"predictions_2031_{month:02d}" for month in range(1, 7)]


def test_callers_of_any_isolation_level_see_what_others_made(database_url: str) -> None:
    """A transaction whose snapshot is older than a partition made by another neither fails nor makes it again."""
    with psycopg.connect(database_url) as caller:
        caller.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        before = caller.execute("SELECT ensure_predictions_partitions('2031-01-01', 0)").fetchall()
        ensure(database_url, date(2031, 1, 1), 1)
        after = caller.execute("SELECT ensure_predictions_partitions('2031-01-01', 1)").fetchall()
    assert (before, after) == ([], [])


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/Los_Angeles"])
def test_months_are_utc_whatever_the_session(zone: str, database_url: str) -> None:
    """A month begins at midnight UTC for callers of any time zone, and its last moment belongs to it."""
    midnight = datetime(2031, 7, 1, tzinfo=UTC)
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT set_config('timezone', %s, false)", [zone])
        connection.execute("SELECT ensure_predictions_partitions('2031-06-01', 2)")
        before, after = midnight - timedelta(microseconds=1), midnight
        landed = [insert_prediction(connection, before), insert_prediction(connection, after)]
    assert landed == ["predictions_2031_06", "predictions_2031_07"]


def test_partition_is_like_the_ones_of_the_migration(database_url: str) -> None:
    """A partition made on demand has the columns, the key and every index of the first partition."""
    ensure(database_url, date(2031, 3, 1), 1)
    items = read_catalogue(database_url).items()

    def shape(partition: str) -> dict[str, str]:
        without_bounds = {name: re.sub(r"FOR VALUES.*", "", text) for name, text in items.items() if partition in name}
        return {name.replace(partition, "p"): text.replace(partition, "p") for name, text in without_bounds.items()}

    assert shape("predictions_2031_03") == shape("predictions_2026_01")


def test_writers_in_the_middle_of_a_transaction_are_not_waited_for(database_url: str) -> None:
    """Partitions are made while another transaction holds rows it has just written and read."""
    with psycopg.connect(database_url) as writer:
        insert_prediction(writer, datetime(2026, 1, 15, tzinfo=UTC))
        writer.execute("SELECT count(*) FROM predictions")
        started = time.monotonic()
        assert ensure(database_url, date(2031, 3, 1), 1) == ["predictions_2031_03"]
        assert time.monotonic() - started < 1


def test_writers_go_on_while_its_transaction_is_open(database_url: str) -> None:
    """A caller that has not committed yet does not stop predictions from being written."""
    with psycopg.connect(database_url) as caller, psycopg.connect(database_url) as writer:
        caller.execute("SELECT ensure_predictions_partitions('2031-03-01', 1)")
        writer.execute("SET lock_timeout = '500ms'")
        assert insert_prediction(writer, datetime(2026, 1, 15, tzinfo=UTC)) == "predictions_2026_01"


def test_gives_up_at_a_held_lock_and_leaves_the_timeout_alone(database_url: str) -> None:
    """A schema change in progress makes it fail after two seconds; the session's own setting is not touched."""
    with psycopg.connect(database_url) as holder, psycopg.connect(database_url, autocommit=True) as caller:
        holder.execute("LOCK TABLE predictions IN SHARE UPDATE EXCLUSIVE MODE")
        caller.execute("SET lock_timeout = '1h'")
        started = time.monotonic()
        with pytest.raises(psycopg.errors.LockNotAvailable):
            caller.execute("SELECT ensure_predictions_partitions('2031-03-01', 1)")
        assert 2 <= time.monotonic() - started < 4
        row = caller.execute("SHOW lock_timeout").fetchone()
        assert row == ("1h",)


def test_existing_months_need_no_lock(database_url: str) -> None:
    """The usual call, with every month there, goes through while a schema change holds its lock."""
    with psycopg.connect(database_url) as holder:
        holder.execute("LOCK TABLE predictions IN SHARE UPDATE EXCLUSIVE MODE")
        assert ensure(database_url, date(2026, 1, 1), 2) == []


def test_detached_month_is_refused_by_name(database_url: str) -> None:
    """A month whose table was detached for archiving is not silently made anew."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE predictions DETACH PARTITION predictions_2026_01 CONCURRENTLY")
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="predictions_2026_01"):
            connection.execute("SELECT ensure_predictions_partitions('2026-01-01', 1)")


@pytest.mark.parametrize(
    ("first", "months"), [(None, 1), ("2031-01-01", None), ("2031-01-01", -1), ("2031-01-01", 121), ("infinity", 1)]
)
def test_senseless_arguments_are_refused(first: str | None, months: int | None, module_database_url: str) -> None:
    """A missing date or an absurd number of months is an error, not ten thousand tables."""
    with (
        psycopg.connect(module_database_url) as connection,
        pytest.raises(psycopg.errors.InvalidParameterValue),
    ):
        connection.execute("SELECT ensure_predictions_partitions(%s::date, %s::int)", [first, months])


def test_role_without_rights_on_the_table_can_call_it(database_url: str) -> None:
    """The application's role makes partitions through the function alone and writes to them through the parent."""
    role = f"app_{uuid.uuid4().hex}"
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {role}".encode())
        owner.execute(f"GRANT SELECT, INSERT ON predictions TO {role}".encode())
        try:
            owner.execute(f"SET ROLE {role}".encode())
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                owner.execute("CREATE TABLE predictions_2031_08 PARTITION OF predictions DEFAULT")
            owner.execute("SELECT ensure_predictions_partitions('2031-08-01', 1)")
            assert insert_prediction(owner, datetime(2031, 8, 1, tzinfo=UTC)) == "predictions_2031_08"
        finally:
            owner.execute("RESET ROLE")
            owner.execute(f"DROP OWNED BY {role}".encode())
            owner.execute(f"DROP ROLE {role}".encode())


def test_month_without_partition_refuses_predictions(module_database_url: str) -> None:
    """Without a default partition a missing month is an error the application can answer by making it."""
    with psycopg.connect(module_database_url) as connection, pytest.raises(psycopg.errors.CheckViolation):
        insert_prediction(connection, datetime(2040, 1, 1, tzinfo=UTC))
