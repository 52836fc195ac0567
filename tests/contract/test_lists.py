"""The registries' lists: every order, stable pages, filters, and what is refused."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, get_args
from uuid import uuid4

import httpx
import psycopg
import pytest

import function_app  # noqa: F401 - fills ENDPOINTS
from functions.endpoint import ENDPOINTS, Endpoint
from tests.fixtures.app import RunningApp

SORTED = [entry for entry in ENDPOINTS if entry.query is not None and "sort" in entry.query.model_fields]
ORDERS = [(entry, order) for entry in SORTED for order in get_args(entry.query.model_fields["sort"].annotation)]  # type: ignore[union-attr]
ROWS = 23
FILL = """
INSERT INTO users (id, azure_ad_id, email, role, created_at)
SELECT gen_random_uuid(), 'listed-' || n, 'listed-' || n || '@example.com', 'analyst', '2001-01-01'
FROM generate_series(1, 23) n;
INSERT INTO datasets (id, name, version, storage_path, file_format, file_size_bytes, row_count, column_count, schema,
    statistics, created_at)
SELECT gen_random_uuid(), 'listed ' || n % 3, '1.0', 'x', 'parquet', 1, n % 3, 1, '{"columns": []}',
    '{"column_stats": {}}', '2001-01-01'
FROM generate_series(1, 23) n;
INSERT INTO feature_sets (dataset_id, name, config, created_at)
SELECT (SELECT id FROM datasets WHERE name = 'listed 1' LIMIT 1), 'listed ' || n % 3, '{}', '2001-01-01'
FROM generate_series(1, 23) n;
INSERT INTO training_jobs (name, feature_set_id, algorithm, hyperparameters, train_test_split, threshold_policy,
    calibration, evaluation, status, progress, created_at, queued_at)
SELECT 'listed ' || n % 3, (SELECT id FROM feature_sets WHERE name = 'listed 1' LIMIT 1), 'xgboost', '{}', 0.8,
    '{"type": "max_f1"}', 'auto', '{}', 'FAILED', 0, '2001-01-01', '2001-01-01'
FROM generate_series(1, 23) n;
INSERT INTO ml_models (name, version, algorithm, hyperparameters, storage_path, metrics, created_at)
SELECT 'Listed ' || n % 3, n || '.0', (ARRAY['xgboost', 'lightgbm'])[1 + n % 2], '{}', 'models/x', '{}', '2001-01-01'
FROM generate_series(1, 23) n;
INSERT INTO alerts (source_type, alert_type, severity, title, created_at)
SELECT 'SYSTEM', 'listed', 'INFO', 'listed', '2001-01-01' FROM generate_series(1, 23) n
"""


def _name(entry: Any) -> str:
    return entry.name if isinstance(entry, Endpoint) else str(entry)


@pytest.fixture(scope="module")
def client(app: RunningApp) -> Iterator[httpx.Client]:
    """Where every registry has rows that are equal in what they can be sorted by."""
    with psycopg.connect(app.database_url) as conn:
        for statement in FILL.split(";"):
            conn.execute(statement.encode())
    with app.client("admin") as client:
        yield client


def _pages(client: httpx.Client, route: str, **query: Any) -> list[dict[str, Any]]:
    """All rows, seven at a time."""
    rows: list[dict[str, Any]] = []
    for page in range(1, 1000):
        answer = client.get(route, params={**query, "page": page, "page_size": 7}).json()
        rows += answer["data"]
        if page >= answer["meta"]["pagination"]["total_pages"]:
            assert len(rows) == answer["meta"]["pagination"]["total"]
            return rows
    raise AssertionError("the list has no end")


@pytest.mark.parametrize(("entry", "order"), ORDERS, ids=_name)
def test_every_order_gives_every_row_once(client: httpx.Client, entry: Endpoint, order: str) -> None:
    """Over all pages, those read from the front and those from the end: none twice, none missing, equal rows by id."""
    rows = _pages(client, entry.route, sort=order)
    identifier = next(name for name in ("id", "job_id", "feature_set_id") if name in rows[0])
    column = order.removeprefix("-")
    assert len({row[identifier] for row in rows}) == len(rows) >= ROWS
    for first, second in pairwise(rows):
        if first[column] == second[column]:
            assert (first[identifier] < second[identifier]) is not order.startswith("-")


@pytest.mark.parametrize("order", ["created_at", "-created_at"])
def test_rows_are_in_the_order_asked_for(client: httpx.Client, order: str) -> None:
    """By time, up and down."""
    times = [row["created_at"] for row in _pages(client, "models", sort=order)]
    assert times == sorted(times, reverse=order.startswith("-"))


@pytest.mark.parametrize("order", ["", "storage_path", "--name", "name desc", "name;DROP TABLE users", "NAME"])
@pytest.mark.parametrize("entry", SORTED, ids=_name)
def test_another_order_is_named(client: httpx.Client, entry: Endpoint, order: str) -> None:
    """With those there are; an empty value is none at all."""
    answer = client.get(entry.route, params={"sort": order})
    if order:
        assert answer.status_code == 422
        assert answer.json()["error"]["target"] == "sort"
        assert "'-created_at'" in answer.json()["error"]["message"] + str(answer.json()["error"]["details"])
    else:
        assert answer.status_code == 200


@pytest.mark.parametrize(
    ("route", "query", "count"),
    [
        ("models", {"name": "sted 1"}, 8),
        ("models", {"name": "LISTED", "algorithm": "lightgbm"}, 12),
        ("models", {"name": "listed", "created_until": "2001-01-01T00:00:00Z"}, 0),
        ("models", {"name": "listed", "created_since": "2001-01-01T00:00:00Z"}, 23),
        ("models", {"name": "listed", "created_by": str(uuid4())}, 0),
        ("models", {"name": "100%"}, 0),
        ("training/jobs", {"name": "listed 2", "status": "FAILED", "algorithm": "xgboost"}, 8),
        ("features/sets", {"name": "listed 0"}, 7),
        ("users", {"search": "LISTED-1@example"}, 1),
        ("users", {"search": "listed-", "role": "analyst", "is_active": "true"}, 23),
        ("users", {"search": "listed-", "is_active": "false"}, 0),
    ],
)
def test_filters_leave_what_fits(client: httpx.Client, route: str, query: dict[str, str], count: int) -> None:
    """All of them together, names in any case; no character has a meaning of its own."""
    assert len(_pages(client, route, **query)) == count


def test_a_page_behind_the_last_is_empty(client: httpx.Client) -> None:
    """And still tells how many there are."""
    answer = client.get("models", params={"page": 1_000_000, "name": "listed"}).json()
    assert (answer["data"], answer["meta"]["pagination"]["total"]) == ([], 23)
