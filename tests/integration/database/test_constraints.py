"""The database refuses states the state machines do not know, by the name of the constraint."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

STATES = {
    ("users", "role"): ["admin", "scientist", "analyst"],
    ("datasets", "status"): ["ACTIVE", "ARCHIVED", "PROCESSING"],
    ("feature_sets", "status"): ["PENDING", "PROCESSING", "COMPLETED", "FAILED"],
    ("training_jobs", "status"): ["QUEUED", "RUNNING", "COMPLETED", "FAILED", "CANCELLED"],
    ("ml_models", "status"): ["TRAINED", "STAGING", "PRODUCTION", "ARCHIVED"],
    ("alerts", "status"): ["ACTIVE", "ACKNOWLEDGED", "RESOLVED", "DISMISSED"],
    ("drift_metrics", "status"): ["OK", "WARNING", "CRITICAL"],
    ("bias_metrics", "status"): ["OK", "WARNING", "CRITICAL"],
    ("model_promotions", "from_status"): ["TRAINED", "STAGING", "ARCHIVED"],
    ("model_promotions", "to_status"): ["TRAINED", "STAGING", "ARCHIVED"],
}
ACCEPTED = [(table, column, state) for (table, column), states in STATES.items() for state in states]
REFUSED = [(table, column, state) for table, column in STATES for state in ("LOST", "", "active", " ACTIVE")]


@pytest.fixture
def connection(module_database_url: str) -> Iterator[psycopg.Connection]:
    """A transaction that is rolled back after the test."""
    with psycopg.connect(module_database_url) as session:
        yield session
        session.rollback()


# What a row needs beside the tables it refers to.
ROWS: dict[str, dict[str, Any]] = {
    "users": {"azure_ad_id": "subject", "email": "somebody@example.com"},
    "datasets": {"name": "orders", "storage_path": "datasets/1/data.parquet"},
    "feature_sets": {"name": "features", "config": Jsonb({})},
    "training_jobs": {"name": "job", "algorithm": "xgboost", "hyperparameters": Jsonb({})},
    "ml_models": {
        "name": "fraud",
        "algorithm": "xgboost",
        "hyperparameters": Jsonb({}),
        "metrics": Jsonb({}),
        "storage_path": "models/1",
    },
    "baselines": {"metric_name": "precision", "threshold": 0.9, "operator": "gte"},
    "alerts": {"source_type": "DRIFT", "alert_type": "psi", "severity": "WARNING", "title": "Drift"},
    "drift_metrics": {"drift_type": "DATA", "metric_name": "psi", "metric_value": 0.1, "status": "OK"},
    "bias_metrics": {
        "protected_attribute": "gender",
        "metric_name": "disparate_impact",
        "overall_value": 0.9,
        "group_values": Jsonb({}),
        "status": "OK",
    },
    "model_promotions": {"to_status": "PRODUCTION"},
}
PARENTS = {
    "feature_sets": {"dataset_id": "datasets"},
    "training_jobs": {"feature_set_id": "feature_sets"},
    "baselines": {"model_id": "ml_models"},
    "drift_metrics": {"model_id": "ml_models"},
    "bias_metrics": {"model_id": "ml_models"},
    "model_promotions": {"model_id": "ml_models"},
}


def insert(connection: psycopg.Connection, table: str, **values: Any) -> Any:
    """Insert one row of the table, complete but for what ``values`` change; returns its id."""
    row = ROWS[table] | values
    if table == "ml_models":
        row.setdefault("version", uuid.uuid4().hex)
    if table == "model_promotions":
        row.setdefault("from_status", "TRAINED" if row["to_status"] == "STAGING" else "STAGING")
    for column, parent in PARENTS.get(table, {}).items():
        if column not in row:
            row[column] = insert(connection, parent)
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING id").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, row)),
        sql.SQL(", ").join(sql.Placeholder() * len(row)),
    )
    created = connection.execute(statement, list(row.values())).fetchone()
    assert created is not None
    return created[0]


@pytest.mark.parametrize(("table", "column", "state"), ACCEPTED)
def test_every_state_is_accepted(table: str, column: str, state: str, connection: psycopg.Connection) -> None:
    """Each state of a state machine can be stored."""
    insert(connection, table, **{column: state})


@pytest.mark.parametrize(("table", "column", "state"), REFUSED)
def test_other_states_are_refused(table: str, column: str, state: str, connection: psycopg.Connection) -> None:
    """A value outside the state machine is refused by the constraint named after its column."""
    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        insert(connection, table, **{column: state})
    assert caught.value.diag.constraint_name == f"{table}_{column}_check"


@pytest.mark.parametrize(("table", "column"), STATES)
def test_missing_state_is_refused(table: str, column: str, connection: psycopg.Connection) -> None:
    """A state is never NULL."""
    with pytest.raises((psycopg.errors.CheckViolation, psycopg.errors.NotNullViolation)):
        insert(connection, table, **{column: None})


def test_one_production_model(connection: psycopg.Connection) -> None:
    """A second model in production is refused, by whatever path it would get there."""
    insert(connection, "ml_models", status="PRODUCTION")
    second = insert(connection, "ml_models", status="STAGING")
    with pytest.raises(psycopg.errors.UniqueViolation) as caught, connection.transaction():
        connection.execute("UPDATE ml_models SET status = 'PRODUCTION' WHERE id = %s", [second])
    assert caught.value.diag.constraint_name == "idx_models_production"


def test_two_promotions_at_once_leave_one_production_model(database_url: str) -> None:
    """Of two transactions that promote at the same time the later one fails when the first commits."""
    with psycopg.connect(database_url) as first, psycopg.connect(database_url) as second:
        ids = [insert(first, "ml_models") for _ in range(2)]
        first.commit()
        promote = "UPDATE ml_models SET status = 'PRODUCTION' WHERE id = %s"
        first.execute(promote, [ids[0]])
        second.execute("SET lock_timeout = '200ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            second.execute(promote, [ids[1]])
        second.rollback()
        first.commit()
        with pytest.raises(psycopg.errors.UniqueViolation):
            second.execute(promote, [ids[1]])


def test_archived_production_model_makes_room(connection: psycopg.Connection) -> None:
    """Archiving the old and promoting the new model fit in one transaction."""
    old = insert(connection, "ml_models", status="PRODUCTION")
    new = insert(connection, "ml_models", status="STAGING")
    connection.execute("UPDATE ml_models SET status = 'ARCHIVED' WHERE id = %s", [old])
    connection.execute("UPDATE ml_models SET status = 'PRODUCTION' WHERE id = %s", [new])


@pytest.mark.parametrize(
    ("table", "values", "constraint"),
    [
        ("ml_models", {"threshold": -0.01}, "ml_models_threshold_check"),
        ("ml_models", {"threshold": 1.01}, "ml_models_threshold_check"),
        ("ml_models", {"threshold": float("nan")}, "ml_models_threshold_check"),
        ("ml_models", {"artifact_sha256": "a" * 63}, "ml_models_artifact_sha256_check"),
        ("ml_models", {"artifact_sha256": "A" * 64}, "ml_models_artifact_sha256_check"),
        ("baselines", {"operator": ">="}, "baselines_operator_check"),
        ("alerts", {"severity": "LOW"}, "alerts_severity_check"),
        ("model_promotions", {"overridden": True}, "model_promotions_override_check"),
        ("model_promotions", {"overridden": True, "reason": "  "}, "model_promotions_override_check"),
        (
            "model_promotions",
            {"from_status": "STAGING", "to_status": "STAGING"},
            "model_promotions_change_check",
        ),
    ],
)
def test_bad_values_are_refused(
    table: str, values: dict[str, Any], constraint: str, connection: psycopg.Connection
) -> None:
    """A threshold outside [0, 1], a mangled checksum or an override without a reason cannot be stored."""
    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        insert(connection, table, **values)
    assert caught.value.diag.constraint_name == constraint


def test_model_version_is_unique_within_its_name(connection: psycopg.Connection) -> None:
    """The same version of the same model cannot be registered twice."""
    insert(connection, "ml_models", version="1.0")
    with pytest.raises(psycopg.errors.UniqueViolation) as caught:
        insert(connection, "ml_models", version="1.0")
    assert caught.value.diag.constraint_name == "ml_models_name_version_key"


def test_deleting_a_dataset_takes_its_feature_sets_along(connection: psycopg.Connection) -> None:
    """ON DELETE CASCADE of the specification: feature sets go with their dataset."""
    dataset = insert(connection, "datasets")
    insert(connection, "feature_sets", dataset_id=dataset)
    connection.execute("DELETE FROM datasets WHERE id = %s", [dataset])
    assert connection.execute("SELECT count(*) FROM feature_sets WHERE dataset_id = %s", [dataset]).fetchone() == (0,)


def test_promoted_model_cannot_be_deleted(connection: psycopg.Connection) -> None:
    """The history of a model outlives attempts to delete the model."""
    model = insert(connection, "ml_models")
    insert(connection, "model_promotions", model_id=model)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        connection.execute("DELETE FROM ml_models WHERE id = %s", [model])
