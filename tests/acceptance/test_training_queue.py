"""Eight jobs at once on five places, in the running app."""

import time
from uuid import uuid4

import psycopg
import pytest

from tests.fixtures import flow
from tests.fixtures.app import RunningApp

pytestmark = pytest.mark.slow


def test_eight_jobs_at_once_start_in_order_and_all_end(own_app: RunningApp) -> None:
    """Never more than five run; who waits is told when its turn has come, and is cancelled like any other."""
    with own_app.client("scientist") as client, psycopg.connect(own_app.database_url, autocommit=True) as conn:
        dataset = flow.upload(client, flow.sample(3000), "queue")
        feature_set_id = flow.compute_features(client, dataset["id"], "queue")
        flow.wait(client, f"features/sets/{feature_set_id}")
        long_enough = {"n_estimators": 300, "early_stopping_rounds": None}
        job_ids = [
            flow.start_training(client, feature_set_id, f"queue-{number}", hyperparameters=long_enough)
            for number in range(8)
        ]
        waiting = [flow.data(client.get(f"training/jobs/{job_id}")) for job_id in job_ids[5:]]
        assert [job["queue_position"] for job in waiting] == [1, 2, 3]
        assert flow.data(client.post(f"training/jobs/{job_ids[6]}/cancel"))["status"] == "CANCELLED"
        most, deadline = 0, time.monotonic() + 240
        while True:
            counts = dict(conn.execute("SELECT status, count(*) FROM training_jobs GROUP BY status").fetchall())
            most = max(most, counts.get("RUNNING", 0))
            if counts.get("COMPLETED") == 7:
                break
            assert counts.get("RUNNING", 0) + counts.get("QUEUED", 0) > 0, counts
            assert time.monotonic() < deadline
            time.sleep(0.02)
        started = conn.execute(
            "SELECT id::text FROM training_jobs WHERE started_at IS NOT NULL ORDER BY started_at, queued_at"
        )
        order = [row[0] for row in started.fetchall()]
    assert most == 5
    assert order == [*job_ids[:6], job_ids[7]]
    for job_id in (job_ids[5], job_ids[7]):
        history = own_app.orchestration(f"training-{job_id}")["historyEvents"]
        assert any(event.get("Name") == "admitted" for event in history)


def test_tracebacks_are_shown_to_those_who_can_use_them(app: RunningApp) -> None:
    """An analyst reads why a job failed, a scientist and an admin also where."""
    job_id, feature_set_id, dataset_id = uuid4(), uuid4(), uuid4()
    with psycopg.connect(app.database_url) as conn:
        conn.execute("INSERT INTO datasets (id, name, storage_path) VALUES (%s, 'd', 'p')", (dataset_id,))
        conn.execute(
            "INSERT INTO feature_sets (id, dataset_id, name, config, status) VALUES (%s, %s, 'f', '{}', 'COMPLETED')",
            (feature_set_id, dataset_id),
        )
        conn.execute(
            "INSERT INTO training_jobs (id, name, feature_set_id, algorithm, hyperparameters, threshold_policy, "
            " status, error_message, error_traceback) "
            "VALUES (%s, 'f', %s, 'xgboost', '{}', %s, 'FAILED', 'no room', 'Traceback: line 1')",
            (job_id, feature_set_id, '{"type": "max_f1"}'),
        )
    shown = {}
    for role in ("analyst", "scientist", "admin"):
        with app.client(role) as client:
            job = flow.data(client.get(f"training/jobs/{job_id}"))
        assert job["error_message"] == "no room"
        shown[role] = job["error_traceback"]
    assert shown == {"analyst": None, "scientist": "Traceback: line 1", "admin": "Traceback: line 1"}
