"""A worker that dies between its work and its answer: the same request again is answered, and nothing done twice."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb

import function_app  # noqa: F401 - fills ENDPOINTS
from functions.endpoint import ENDPOINTS
from shared.platform.blobs import BlobStore
from shared.training.artifact_store import write_artifact
from shared.training.artifacts import ModelArtifact
from tests.fixtures import flow
from tests.fixtures.app import RunningApp

pytestmark = pytest.mark.slow
NOT_TRIED = {"trigger_retraining": "needs thousands of mature labels; its answer is that of GET retraining/jobs/{id}"}
CHANGING = {"status", "progress", "current_epoch", "queue_position", "metrics"}


class Client:
    """Sends each request twice, the answer to the first having been lost."""

    def __init__(self, app: RunningApp, client: httpx.Client) -> None:
        self._app = app
        self._client = client
        self.tried: set[str] = set()

    def post(self, function: str, path: str, **arguments: Any) -> dict[str, Any]:
        """What both were answered; they must be equal save for what goes on meanwhile."""
        headers = {"Idempotency-Key": uuid4().hex}
        first = self._client.post(path, headers=headers, **arguments)
        assert first.is_success, first.text
        with psycopg.connect(self._app.database_url) as conn:
            done = conn.execute(
                "UPDATE idempotency_keys SET status = NULL, headers = NULL, body = NULL, claimed_until = now() "
                "WHERE key = %s AND settled_at IS NOT NULL",
                (headers["Idempotency-Key"],),
            )
            assert done.rowcount == 1, "the change did not settle the key"
        entries = self._entries()
        again = self._client.post(path, headers=headers, **arguments)
        assert again.status_code == first.status_code, again.text
        assert "idempotency-replayed" not in again.headers
        for name in ("location", "operation-location"):
            assert again.headers.get(name) == first.headers.get(name)
        assert _kept(first.json()["data"], again.json()["data"]), again.text
        assert self._entries() == entries, "something was done again"
        self.tried.add(function)
        answer: dict[str, Any] = first.json()["data"]
        return answer

    def _entries(self) -> int:
        """How many changes people have made."""
        with psycopg.connect(self._app.database_url) as conn:
            row = conn.execute("SELECT count(*) FROM audit_logs WHERE user_id IS NOT NULL").fetchone()
        assert row is not None
        return int(row[0])


def _kept(first: Any, again: Any) -> bool:
    """Whether all that was said is said again; what was still unknown, or goes on, may differ."""
    if not isinstance(first, dict):
        return bool(first == again)
    return all(again[name] == value for name, value in first.items() if value is not None and name not in CHANGING)


@pytest.fixture
async def trained(
    own_app: RunningApp, blob_connection_string: str, container: str, artifact: ModelArtifact
) -> AsyncIterator[list[UUID]]:
    """Two trained models with their files."""
    store = BlobStore(container=container, connection_string=blob_connection_string)
    models = [uuid4(), uuid4()]
    for model_id in models:
        await write_artifact(store, model_id, artifact)
        with psycopg.connect(own_app.database_url) as conn:
            conn.execute(
                "INSERT INTO ml_models (id, name, version, algorithm, hyperparameters, storage_path, metrics, "
                "artifact_sha256) VALUES (%s, 'fraud', %s, 'xgboost', '{}', %s, %s, %s)",
                (model_id, model_id.hex, f"models/{model_id}/", Jsonb({"recall": 0.8}), artifact.sha256),
            )
    yield models
    await store.close()


def test_no_answer_that_is_lost_makes_work_be_done_twice(own_app: RunningApp, trained: list[UUID]) -> None:
    """Every route that takes a key: the second answer says what the first said, from what the first had made."""
    with own_app.client("scientist") as http:
        client = Client(own_app, http)
        csv = flow.sample(2000).write_csv().encode()
        form = {"files": {"file": ("x.csv", csv)}, "data": {"name": "lost"}}
        dataset = client.post("create_dataset", "datasets", **form)
        order = {"dataset_id": dataset["id"], "output_name": "lost", "config": flow.CONFIG}
        feature_set_id = client.post("compute_features", "features/compute", json=order)["feature_set_id"]
        flow.wait(http, f"features/sets/{feature_set_id}")
        job = {"name": "lost", "feature_set_id": feature_set_id, "hyperparameters": {"n_estimators": 5}}
        job_id = client.post("start_training_job", "training/jobs", json=job)["job_id"]
        scorer = flow.wait(http, f"training/jobs/{job_id}")["model_id"]
        flow.data(http.post(f"models/{scorer}/promote", json={"target_status": "STAGING", "reason": "to score"}))
        file = {"dataset_id": dataset["id"], "model_id": scorer}
        flow.wait(http, f"scoring/jobs/{client.post('start_scoring_job', 'scoring/jobs', json=file)['job_id']}")
        client.post("create_dataset_version", f"datasets/{dataset['id']}/versions", files={"file": ("x.csv", csv)})
        limit = {"name": "lost", "metric": "psi", "operator": "gte", "threshold": 0.25}
        client.post("create_alert_rule", "alerts/rules", json=limit)
        attribute = {"attribute_name": "lost", "column_name": "gender", "groups": ["F", "M"]}
        client.post("create_protected_attribute", "bias/protected-attributes", json=attribute)
        first, second = trained
        baseline = {"metric": "recall", "operator": "gte", "threshold": 0.5}
        client.post("set_baselines", f"models/{first}/baselines", json={"baselines": [baseline]})
        rule = {"metric": "recall", "tolerance": 0.1}
        client.post("set_champion_rules", f"models/{first}/champion-rules", json={"rules": [rule]})
        for model_id in trained:
            for target in ("STAGING", "PRODUCTION"):
                move = {"target_status": target, "reason": "the test says so"}
                promoted = client.post("promote_model", f"models/{model_id}/promote", json=move)
                assert promoted["verdict"]["passed"]
        client.post("start_challenge", f"models/{scorer}/challenge")
        back = client.post("rollback_model", f"models/{second}/rollback", json={"reason": "the test says so"})
        assert (back["id"], back["status"]) == (str(first), "PRODUCTION")
        gone = {"reason": "the test says so", "leave_without_production": True}
        client.post("archive_model", f"models/{first}/archive", json=gone)
        assert len(flow.data(http.get("training/jobs"))) == 1
    assert client.tried == {entry.name for entry in ENDPOINTS if entry.idempotent is not None} - set(NOT_TRIED)
