"""From labels to a new model in production, over HTTP."""

from typing import Any

import httpx
import polars as pl
import pytest

from devhost.keys import load_keys
from tests.fixtures import flow
from tests.fixtures.app import RunningApp

pytestmark = pytest.mark.slow


def score_and_label(client: httpx.Client, frame: pl.DataFrame) -> None:
    """Send every transaction through the batch route, then what became known of it."""
    for start in range(0, len(frame), 1000):
        part = frame.slice(start, 1000)
        transactions = [flow.transaction(part, position) for position in range(len(part))]
        answered = flow.data(client.post("predict/batch", json={"transactions": transactions}, timeout=120))
        assert answered["counts"]["failed"] == 0, answered
        labels = [
            {"transaction_id": row["transaction_id"], "is_fraud": bool(row["is_fraud"]), "source": "chargeback"}
            for row in part.iter_rows(named=True)
        ]
        flow.data(client.post("predictions/labels", json={"labels": labels}, timeout=120))


def fire(app: RunningApp, timer: str) -> None:
    """Run a timer now, by the host's admin API."""
    key = load_keys(app.state / "host").master
    answer = httpx.post(f"{app.url}/admin/functions/{timer}", headers={"x-functions-key": key}, json={}, timeout=60)
    assert answer.status_code == 202, answer.text


def wait_for(client: httpx.Client, job_id: str, status: str) -> dict[str, Any]:
    """The job once it has this status; another final one fails."""
    return flow.wait(client, f"retraining/jobs/{job_id}", until=status)


def test_a_model_is_trained_again_approved_and_serves(own_app: RunningApp) -> None:
    """Triggered, assembled from labelled predictions, trained by its orchestrations, approved by an analyst's boss."""
    with own_app.client("admin") as client:
        first, new = flow.sample(6000), flow.sample(2500, seed=8).filter(pl.col("transaction_id").is_not_null())
        new = new.with_columns(transaction_id=pl.format("again-{}", "transaction_id"))
        champion_id = flow.trained_model(client, first, "retrained")
        flow.promote(client, champion_id)
        score_and_label(client, new)
        strategy = {"type": "append", "maturity_days": 0}
        body = {"reason": "a test", "data_strategy": strategy, "tolerance": 0.5}
        answer = client.post("retraining/trigger", json=body)
        assert answer.status_code == 202, answer.text
        job = answer.json()["data"]
        assert answer.headers["operation-location"].endswith(job["id"])
        again = client.post("retraining/trigger", json=body)
        assert again.status_code == 409
        waiting = wait_for(client, job["id"], "AWAITING_APPROVAL")
        assert waiting["verdict"]["passed"]
        assert waiting["data"]["new_rows"] == len(new)
        assert flow.data(client.get("models/production"))["id"] == champion_id
        done = flow.data(client.post(f"retraining/jobs/{job['id']}/promote", json={"reason": "better"}))
        assert done["status"] == "PROMOTED"
        assert flow.data(client.get("models/production"))["id"] == waiting["challenger_id"]
        scored = flow.data(client.post("predict", json={"transaction": flow.transaction(first, 100)}))
        assert scored["model_id"] == waiting["challenger_id"]
        assert flow.data(client.get("retraining/jobs"))[0]["id"] == job["id"]
