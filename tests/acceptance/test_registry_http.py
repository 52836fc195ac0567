"""The registry over HTTP: rules, dry runs, comparison and lineage. The app is shared, so production is left alone."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from shared.platform.blobs import BlobStore
from shared.training.artifact_store import write_artifact
from shared.training.artifacts import ModelArtifact
from tests.fixtures import flow
from tests.fixtures.app import RunningApp

METRICS = {"recall": 0.8, "flag_rate": 0.01, "intervals": {"recall": {"low": 0.7, "high": 0.9}}}
STAGING = {"target_status": "STAGING", "reason": "the test says so"}
PRODUCTION = {"target_status": "PRODUCTION", "reason": "the test says so"}


@pytest.fixture
async def store(blob_connection_string: str, container: str) -> AsyncIterator[BlobStore]:
    store = BlobStore(container=container, connection_string=blob_connection_string)
    yield store
    await store.close()


@pytest.fixture
async def model_id(app: RunningApp, store: BlobStore, artifact: ModelArtifact) -> UUID:
    """A trained model with its files."""
    model_id = uuid4()
    await write_artifact(store, model_id, artifact)
    with psycopg.connect(app.database_url) as conn:
        conn.execute(
            "INSERT INTO ml_models (id, name, version, algorithm, hyperparameters, storage_path, metrics, "
            "artifact_sha256) VALUES (%s, 'fraud', %s, 'xgboost', '{}', %s, %s, %s)",
            (model_id, model_id.hex, f"models/{model_id}/", Jsonb(METRICS), artifact.sha256),
        )
    return model_id


def _refused(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    return error


def test_a_dry_run_shows_the_verdict_with_every_number(app: RunningApp, model_id: UUID) -> None:
    """The real call is refused with the same numbers; an administrator's dry run says that an override would do."""
    with app.client("scientist") as client:
        baseline = {"metric": "recall", "operator": "gte", "threshold": 0.75, "bound": "pessimistic"}
        flow.data(client.post(f"models/{model_id}/baselines", json={"baselines": [baseline]}))
        flow.data(client.post(f"models/{model_id}/promote", json=STAGING))
        trial = flow.data(client.post(f"models/{model_id}/promote?dry_run=true", json=PRODUCTION))
        assert (trial["allowed"], trial["from_status"], trial["target_status"]) == (False, "STAGING", "PRODUCTION")
        assert trial["artifact"] == {"loadable": True, "file": None, "message": None}
        assert trial["verdict"]["checks"] == [
            {**baseline, "value": 0.8, "low": 0.7, "high": 0.9, "compared": 0.7, "passed": False}
        ]
        error = _refused(client.post(f"models/{model_id}/promote", json=PRODUCTION), 409)
        assert error["details"] == [{"field": "recall", "message": "pessimistic bound is 0.7, must be gte 0.75"}]
        assert flow.data(client.get(f"models/{model_id}"))["status"] == "STAGING"
        _refused(client.post(f"models/{model_id}/promote?dry_run=true", json={**PRODUCTION, "override": True}), 403)
    with app.client("admin") as client:
        overriding = {**PRODUCTION, "override": True}
        trial = flow.data(client.post(f"models/{model_id}/promote?dry_run=true", json=overriding))
        assert (trial["allowed"], trial["overridden"]) == (True, True)


async def test_a_model_whose_files_are_gone_is_refused_with_the_file(
    app: RunningApp, store: BlobStore, model_id: UUID
) -> None:
    """409, because trying again would not help."""
    await store.delete_prefix(f"models/{model_id}/model.ubj")
    with app.client("scientist") as client:
        assert _refused(client.post(f"models/{model_id}/promote", json=STAGING), 409)["target"] == "model.ubj"
        trial = flow.data(client.post(f"models/{model_id}/promote?dry_run=true", json=STAGING))
    assert (trial["allowed"], trial["artifact"]["file"]) == (False, "model.ubj")


def test_champion_rules_are_set_and_listed(app: RunningApp, model_id: UUID) -> None:
    """With the fields that are wrong named; a metric that only describes has no worse side."""
    route = f"models/{model_id}/champion-rules"
    with app.client("scientist") as client:
        rule = {"metric": "recall", "tolerance": 0.02, "unit": "relative", "is_active": False}
        (made,) = flow.data(client.post(route, json={"rules": [rule]}))
        assert {name: made[name] for name in rule} == rule
        assert flow.data(client.get(route)) == [made]
        wrong = [{"metric": "flag_rate", "tolerance": 0.1}]
        details = _refused(client.post(route, json={"rules": wrong}), 422)["details"]
        assert [detail["field"] for detail in details] == ["rules.0.metric"]
        _refused(client.post(route, json={"rules": [{**rule, "tolerance": -1}]}), 422)


def test_models_are_compared_by_their_ids(app: RunningApp, model_id: UUID) -> None:
    """Unknown ones are named, and lists that make no sense refused."""
    with app.client("analyst") as client:
        found = flow.data(client.get("models/compare", params={"ids": str(model_id)}))
        assert found["metrics"][0]["values"] == [0.8]
        nobody = str(uuid4())
        error = _refused(client.get("models/compare", params={"ids": f"{model_id},{nobody}"}), 404)
        assert nobody in error["message"]
        many = ",".join(str(uuid4()) for _ in range(21))
        for ids in (f"{model_id},{model_id}", "", "one", many):
            _refused(client.get("models/compare", params={"ids": ids}), 422)
        _refused(client.get("models/compare"), 422)


def test_lineage_is_shown_both_ways(app: RunningApp, model_id: UUID) -> None:
    """From a model, and back from what it could have come from; what does not exist is not found."""
    with app.client("analyst") as client:
        shown = flow.data(client.get(f"models/{model_id}/lineage"))
        assert (shown["model"]["id"], shown["dataset"]) == (str(model_id), None)
        dataset_id = uuid4()
        with psycopg.connect(app.database_url) as conn:
            conn.execute("INSERT INTO datasets (id, name, storage_path) VALUES (%s, 'orders', 'x')", (dataset_id,))
        answer = client.get(f"datasets/{dataset_id}/lineage", params={"page_size": 5})
        assert flow.data(answer)["descendants"] == []
        assert answer.json()["meta"]["pagination"]["total"] == 0
        for route in ("datasets", "features/sets", "models"):
            _refused(client.get(f"{route}/{uuid4()}/lineage"), 404)


def test_archiving_takes_a_flag_only_for_production(app: RunningApp, model_id: UUID) -> None:
    """Any other model is archived with a reason, once."""
    with app.client("scientist") as client:
        archived = flow.data(client.post(f"models/{model_id}/archive", json={"reason": "not needed"}))
        assert archived["status"] == "ARCHIVED"
        error = _refused(client.post(f"models/{model_id}/archive", json={"reason": "again"}), 409)
    assert "put back by a rollback" in error["message"]
