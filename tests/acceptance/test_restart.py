"""What a kill -9 interrupts goes on after a restart, and nothing is doubled."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import psycopg
import pytest

from tests.fixtures import flow
from tests.fixtures.app import RunningApp

pytestmark = pytest.mark.slow


def _when(client: httpx.Client, route: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + 120
    while True:
        found: dict[str, Any] = flow.data(client.get(route))
        if condition(found):
            return found
        assert found["status"] not in {"COMPLETED", "FAILED", "CANCELLED"}, "it ended before it could be interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _count(app: RunningApp, table: str) -> int:
    with psycopg.connect(app.database_url) as conn:
        row = conn.execute(f"SELECT count(*) FROM {table}").fetchone()  # type: ignore[call-overload]
    assert row is not None
    return int(row[0])


def test_killed_while_a_large_dataset_is_computed_in_parts(own_app: RunningApp) -> None:
    """The parts that were done stay done, the set is completed, and it tells how many parts there were."""
    frame = flow.sample(30_000)
    own_app.stop()
    own_app.environment["FEATURE_ROWS_AT_ONCE"] = "12000"
    own_app.start()
    with own_app.client("scientist") as client:
        dataset = flow.upload(client, frame, "large")
        route = f"features/sets/{flow.compute_features(client, dataset['id'], 'large')}"

        def transform(found: dict[str, Any]) -> dict[str, Any]:
            return next(stage for stage in found["progress"]["stages"] if stage["name"] == "transform")

        _when(client, route, lambda found: (transform(found)["parts_done"] or 0) > 0)
        own_app.kill()
        own_app.start()
        feature_set = flow.wait(client, route)
    assert feature_set["input_rows"] == frame.height
    assert transform(feature_set)["parts_done"] == transform(feature_set)["parts"] > 20
    assert _count(own_app, "feature_sets") == 1


def test_killed_during_feature_engineering_and_training(own_app: RunningApp) -> None:
    """Both end as if nothing had happened: one feature set, one job, one model."""
    frame = flow.sample(30_000)
    with own_app.client("scientist") as client:
        dataset = flow.upload(client, frame, "interrupted")
        feature_set_id = flow.compute_features(client, dataset["id"], "interrupted")
        route = f"features/sets/{feature_set_id}"
        _when(client, route, lambda found: found["status"] == "PROCESSING")
        own_app.kill()
        own_app.start()
        feature_set = flow.wait(client, route)
        assert feature_set["input_rows"] == frame.height

        job_id = flow.start_training(
            client, feature_set_id, "interrupted", hyperparameters={"n_estimators": 400, "early_stopping_rounds": 400}
        )
        route = f"training/jobs/{job_id}"
        _when(client, route, lambda found: (found["current_epoch"] or 0) > 0)
        own_app.kill()
        own_app.start()
        job = flow.wait(client, route)
        model = flow.data(client.get(f"models/{job['model_id']}"))
    assert model["training_job_id"] == job_id
    assert (_count(own_app, "feature_sets"), _count(own_app, "training_jobs"), _count(own_app, "ml_models")) == (
        1,
        1,
        1,
    )


def test_killed_during_a_search(own_app: RunningApp) -> None:
    """The trials go on where they were, and the job ends with the winner's model."""
    frame = flow.sample(20_000)
    with own_app.client("scientist") as client:
        dataset = flow.upload(client, frame, "searched")
        feature_set_id = flow.compute_features(client, dataset["id"], "searched")
        flow.wait(client, f"features/sets/{feature_set_id}")
        search = {"method": "successive_halving", "trials": 9}
        hyperparameters = {"n_estimators": 200, "early_stopping_rounds": None}
        job_id = flow.start_training(client, feature_set_id, "searched", search=search, hyperparameters=hyperparameters)
        route = f"training/jobs/{job_id}"
        _when(client, route, lambda found: any(t["scores"] for t in found["metrics"]["search"]["trials"]))
        own_app.kill()
        own_app.start()
        job = flow.wait(client, route)
        model = flow.data(client.get(f"models/{job['model_id']}"))
    found = job["metrics"]["search"]
    assert [len(found["rungs"]), len(found["trials"])] == [3, 9]
    winner = found["trials"][found["winner"]]
    assert winner["status"] == "COMPLETED"
    assert len(winner["scores"]) == 3
    assert winner["hyperparameters"].items() <= model["hyperparameters"].items()
    assert model["metrics"]["validation"]["auc_pr"] == pytest.approx(winner["score"], abs=1e-6)
    assert _count(own_app, "ml_models") == 1
