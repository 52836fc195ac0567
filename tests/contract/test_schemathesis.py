"""The app is driven by its own OpenAPI document: whatever is sent, the answer is a documented one.

Cases are made by Hypothesis, the same in every run. Known deviations are listed below with their reasons.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import orjson
import psycopg
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

import function_app  # noqa: F401 - fills ENDPOINTS
from functions.openapi.document import openapi_json
from shared.datasets.model import preview_path
from shared.platform.blobs import BlobStore
from shared.users.model import Role
from tests.fixtures.app import API, MACHINE_KEY, RunningApp

pytestmark = pytest.mark.slow

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# Refused by rules that a schema cannot say (a feature set that is not there, a column that the dataset has not), so a
# body that fits its schema may well be answered 422: positive_data_acceptance is not asked.
ACCEPTS_MORE_THAN_IT_SAYS: dict[str, str] = {}
"""Operations that rightly accept what their document calls wrong, with the reason."""
MORE_THAN_A_ROLE = {"promote_model": "override is for administrators, whoever else may promote"}
"""Operations that may answer 403 to a role that is let in, with the reason."""

_LONGEST_QUERY = 32_000

load_all_checks()


def _operations() -> dict[str, Any]:
    """Without their security, which the tests see to themselves."""
    document = orjson.loads(openapi_json())
    for path in document["paths"].values():
        for operation in path.values():
            del operation["security"]
    found = schemathesis.openapi.from_dict(document).get_all_operations()
    return {operation.ok().definition.raw["operationId"]: operation.ok() for operation in found}


def _takes_something(operation: Any) -> bool:
    """Any header does for X-Request-Id, so that there is something wrong to send only if there is more."""
    return "requestBody" in operation.definition.raw or len(operation.definition.raw["parameters"]) > 1


OPERATIONS = _operations()
CASES = [(name, GenerationMode.POSITIVE) for name in sorted(OPERATIONS)] + [
    (name, GenerationMode.NEGATIVE) for name, operation in sorted(OPERATIONS.items()) if _takes_something(operation)
]
PROFILE: dict[str, Any] = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "phases": [Phase.generate],
    "suppress_health_check": list(HealthCheck),
}


@pytest.fixture(scope="module")
def headers(app: RunningApp) -> dict[str, dict[str, str]]:
    """What each role sends."""
    found = {role: {"Authorization": f"Bearer {app.token(role)}"} for role in ("admin", "scientist", "analyst")}
    return {**found, "machine": {"x-functions-key": MACHINE_KEY}, "nobody": {}}


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


ROWS = """
INSERT INTO datasets (id, name, version, storage_path, file_format, file_size_bytes, row_count, column_count, schema,
    statistics)
VALUES (%(dataset_id)s, 'driven', '1.0', 'datasets/driven/data.parquet', 'parquet', 1, 2, 1,
    '{"columns": [{"name": "amount", "type": "float", "nullable": false}]}', '{"column_stats": {"amount": {}}}');
INSERT INTO feature_sets (id, dataset_id, name, config) VALUES (%(feature_set_id)s, %(dataset_id)s, 'driven', '{}');
INSERT INTO training_jobs (id, name, feature_set_id, algorithm, hyperparameters, train_test_split, threshold_policy,
    calibration, evaluation, status, progress)
VALUES (%(job_id)s, 'driven', %(feature_set_id)s, 'xgboost', '{}', 0.8, '{"type": "max_f1"}', 'auto', '{}',
    'FAILED', 0);
INSERT INTO ml_models (id, name, version, algorithm, hyperparameters, storage_path, metrics)
VALUES (%(model_id)s, 'driven', '1.0', 'xgboost', '{}', 'models/driven/', '{"recall": 0.8}');
INSERT INTO alerts (id, source_type, alert_type, severity, title)
VALUES (%(alert_id)s, 'SYSTEM', 'driven', 'INFO', 'driven')
"""


@pytest.fixture(scope="module")
async def known(app: RunningApp, blob_connection_string: str, container: str) -> dict[str, str]:
    """An id that exists, by the name of the path parameter."""
    made = {name: str(uuid4()) for name in ("dataset_id", "feature_set_id", "job_id", "model_id", "alert_id")}
    with psycopg.connect(app.database_url) as conn:
        for statement in ROWS.split(";"):
            conn.execute(statement.encode(), made)
    store = BlobStore(container=container, connection_string=blob_connection_string)
    await store.upload_bytes(preview_path(UUID(made["dataset_id"])), b'[{"amount": 1.5}]')
    await store.close()
    return made


@pytest.mark.parametrize(("name", "mode"), CASES, ids=[f"{name}-{mode.value}" for name, mode in CASES])
def test_an_administrator_is_answered_as_documented(
    app: RunningApp,
    headers: dict[str, dict[str, str]],
    session: requests.Session,
    known: dict[str, str],
    name: str,
    mode: GenerationMode,
) -> None:
    """Status, content type, headers and body are in the document; what does not fit is refused."""
    negative = mode is GenerationMode.NEGATIVE
    checks = [*CHECKS, negative_data_rejection] if negative and name not in ACCEPTS_MORE_THAN_IT_SAYS else CHECKS

    @settings(max_examples=6, **PROFILE)
    @given(case=OPERATIONS[name].as_strategy(generation_mode=mode), there=st.booleans())
    def drive(case: schemathesis.Case, there: bool) -> None:
        # The host drops parameters without a value, so what is wrong with them does not arrive.
        assume(all(value not in ("", None, [], {}) for value in (case.query or {}).values()))
        # What is no header of HTTP, or an address longer than 64 KB, is refused by the server, before the app.
        assume(len(urlencode(case.query or {}, doseq=True)) < _LONGEST_QUERY)
        assume(all(str(value).isascii() and str(value).isprintable() for value in (case.headers or {}).values()))
        for parameter in case.path_parameters or {}:
            if there and parameter in known and not negative:
                case.path_parameters[parameter] = known[parameter]
        case.call_and_validate(base_url=app.url + API, session=session, headers=headers["admin"], checks=checks)

    drive()


@pytest.mark.parametrize("role", ["scientist", "analyst", "machine", "nobody"])
def test_the_other_roles_are_answered_as_documented(
    app: RunningApp, headers: dict[str, dict[str, str]], session: requests.Session, role: str
) -> None:
    """Those that the document names are let in, the others get 401 or 403."""
    for name, operation in OPERATIONS.items():
        _drive_as(role, operation, name, app.url + API, session, headers[role])


def _drive_as(
    role: str, operation: Any, name: str, url: str, session: requests.Session, headers: dict[str, str]
) -> None:
    allowed = operation.definition.raw.get("x-roles")

    @settings(max_examples=2, **PROFILE)
    @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
    def drive(case: schemathesis.Case) -> None:
        answer = case.call_and_validate(base_url=url, session=session, headers=headers, checks=CHECKS)
        if allowed is not None and role == "nobody":
            assert answer.status_code == 401, name
        elif allowed is not None and not (role in allowed and name in MORE_THAN_A_ROLE):
            assert (answer.status_code == 403) == (role not in allowed), name

    drive()


def test_every_role_is_driven() -> None:
    """A new one would have to be added here."""
    assert {role.value for role in Role} == {"admin", "scientist", "analyst", "machine"}
