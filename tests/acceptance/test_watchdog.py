"""Rows whose orchestration is gone are taken up again, or failed with a reason."""

import time

import httpx
import psycopg
import pytest

from devhost.keys import load_keys
from tests.fixtures import flow
from tests.fixtures.app import RunningApp

pytestmark = pytest.mark.slow


def _run_watchdog(app: RunningApp) -> None:
    key = load_keys(app.state / "host").master
    url = f"{app.url}/admin/functions/resume_orphaned_work"
    assert httpx.post(url, headers={"x-functions-key": key}, json={}).status_code == 202


def _age(app: RunningApp, feature_set_id: str) -> None:
    with psycopg.connect(app.database_url) as conn:
        conn.execute(
            "UPDATE feature_sets SET created_at = created_at - interval '1 hour', status = 'PENDING', "
            "completed_at = NULL WHERE id = %s",
            (feature_set_id,),
        )


def _manage(app: RunningApp, method: str, instance_id: str, action: str = "") -> httpx.Response:
    key = load_keys(app.state / "host").durable
    url = f"{app.url}/runtime/webhooks/durabletask/instances/{instance_id}{action}"
    return httpx.request(method, url, params={"code": key, "taskHub": "ShadowHubble", "connection": "Storage"})


def _finished(app: RunningApp, client: httpx.Client, name: str) -> str:
    """A completed feature set whose orchestration has ended too, which is a moment later."""
    dataset = flow.upload(client, flow.sample(2000), name)
    feature_set_id = flow.compute_features(client, dataset["id"], name)
    flow.wait(client, f"features/sets/{feature_set_id}")
    deadline = time.monotonic() + 60
    while _manage(app, "GET", f"features-{feature_set_id}").json()["runtimeStatus"] != "Completed":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return feature_set_id


def test_an_orchestration_that_never_began_is_started(app: RunningApp) -> None:
    """As after a worker that died between the row and the start."""
    with app.client("scientist") as client:
        feature_set_id = _finished(app, client, "orphan")
        assert _manage(app, "DELETE", f"features-{feature_set_id}").is_success
        _age(app, feature_set_id)
        _run_watchdog(app)
        assert flow.wait(client, f"features/sets/{feature_set_id}")["input_rows"] == 2000


def test_an_orchestration_that_ended_early_fails_its_row(app: RunningApp) -> None:
    """With the reason, so that nobody waits for it."""
    with app.client("scientist") as client:
        feature_set_id = _finished(app, client, "stopped")
        _age(app, feature_set_id)
        _run_watchdog(app)
        found = flow.wait(client, f"features/sets/{feature_set_id}", until="FAILED")
    assert "ended as Completed" in found["error_message"]


def test_a_row_that_cannot_be_mended_holds_up_no_other(app: RunningApp) -> None:
    """An instance id that the host refuses stands before one that it would start."""
    with app.client("scientist") as client:
        broken, orphan = _finished(app, client, "broken"), _finished(app, client, "behind-it")
        assert _manage(app, "DELETE", f"features-{orphan}").is_success
        _age(app, broken)
        _age(app, orphan)
        with psycopg.connect(app.database_url) as conn:
            conn.execute("UPDATE feature_sets SET orchestration_id = '@not/an\\id#' WHERE id = %s", (broken,))
        try:
            _run_watchdog(app)
            flow.wait(client, f"features/sets/{orphan}")
        finally:
            with psycopg.connect(app.database_url) as conn:
                conn.execute("UPDATE feature_sets SET status = 'FAILED' WHERE id = %s", (broken,))


@pytest.fixture
def one_place(own_app: RunningApp) -> RunningApp:
    """An app that trains one job at a time."""
    own_app.stop()
    own_app.environment["TRAINING_CONCURRENCY"] = "1"
    own_app.start()
    return own_app


def _age_jobs(app: RunningApp) -> None:
    with psycopg.connect(app.database_url) as conn:
        conn.execute("UPDATE training_jobs SET created_at = created_at - interval '1 hour'")


def _one_runs_one_waits(client: httpx.Client, feature_set_id: str, rounds: int) -> tuple[str, str]:
    hyperparameters = {"n_estimators": rounds, "early_stopping_rounds": None, "learning_rate": 0.01}
    running = flow.start_training(client, feature_set_id, "runs", hyperparameters=hyperparameters)
    waiting = flow.start_training(client, feature_set_id, "waits", hyperparameters={"n_estimators": 5})
    deadline = time.monotonic() + 60
    while not flow.data(client.get(f"training/jobs/{running}"))["current_epoch"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert flow.data(client.get(f"training/jobs/{waiting}"))["queue_position"] == 1
    return running, waiting


def test_training_jobs_without_orchestrations_are_taken_up_or_failed(one_place: RunningApp) -> None:
    """Orchestrations that are lost, of the job that runs and of the one that waits, are started again, and both jobs
    end well. One that was terminated fails its job with the reason, and the place goes to the next.
    """
    app = one_place
    with app.client("scientist") as client:
        feature_set_id = _finished(app, client, "training")
        jobs = _one_runs_one_waits(client, feature_set_id, 1500)
        app.kill()
        (app.state / "host" / "durable.jsonl").unlink()
        app.start()
        assert _manage(app, "GET", f"training-{jobs[0]}").status_code == 404
        _age_jobs(app)
        _run_watchdog(app)
        models = {flow.wait(client, f"training/jobs/{job_id}")["model_id"] for job_id in jobs}
        assert len(models) == 2

        stopped, waiting = _one_runs_one_waits(client, feature_set_id, 10_000)
        assert _manage(app, "POST", f"training-{stopped}", "/terminate").is_success
        _age_jobs(app)
        _run_watchdog(app)
        failed = flow.wait(client, f"training/jobs/{stopped}", until="FAILED")
        assert "ended as Terminated" in failed["error_message"]
        flow.wait(client, f"training/jobs/{waiting}")
