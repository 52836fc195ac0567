"""Drift begins, is noticed, and ends in a better model: the whole loop over HTTP."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import polars as pl
import psycopg
import pytest

from devhost.sample_data import SampleConfig, generate
from tests.acceptance.test_retraining_http import fire, score_and_label
from tests.fixtures import flow
from tests.fixtures.app import RunningApp, running_app

pytestmark = pytest.mark.slow


def _sample(rows: int, days: int, *, drifted: bool) -> pl.DataFrame:
    """Transactions up to yesterday; drifted ones are all of the time after the sample's drift switch was thrown."""
    start = datetime.now(UTC).date() - timedelta(days=days + 1 if drifted else days + 12)
    return generate(
        SampleConfig(
            rows=rows,
            seed=5 if drifted else 7,
            start=start,
            days=days,
            fraud_rate=0.05,
            drift_from=start if drifted else None,
        )
    )


def _age(app: RunningApp) -> None:
    """Predictions of the last whole hour that has settled, which is the window that is looked at first."""
    with psycopg.connect(app.database_url) as conn:
        for table, column in (("predictions", "created_at"), ("prediction_labels", "prediction_created_at")):
            hour = "date_trunc('hour', now() - interval '3 minutes')"
            conn.execute(f"UPDATE {table} SET {column} = {hour} - interval '30 minutes'")


def _until(what: str, client: httpx.Client, route: str, seconds: int = 60) -> list[dict]:
    """The list once it has entries."""
    deadline = time.monotonic() + seconds
    while not (found := flow.data(client.get(route))):
        assert time.monotonic() < deadline, what
        time.sleep(0.3)
    return found


def test_drift_leads_to_an_alert_a_retraining_and_a_promotion(
    database_url: str, blob_connection_string: str, container: str, tmp_path: Path
) -> None:
    """The rule asks for it, timers do it, a person approves it, and the gate lets it through."""
    settings = {"LABEL_MATURITY_DAYS": "0", "DRIFT_WINDOW_HOURS": "1"}
    with (
        running_app(tmp_path, database_url, blob_connection_string, container, settings) as app,
        app.client("admin") as client,
    ):
        champion_id = flow.trained_model(client, _sample(8000, 60, drifted=False), "closed-loop")
        rule = {
            "name": "Any feature drifts",
            "metric": "psi",
            "operator": "gte",
            "threshold": 0.25,
            "auto_retrain": True,
        }
        assert client.post("alerts/rules", json=rule).status_code == 201
        baseline = {"metric": "auc_roc", "operator": "gte", "threshold": 0.6}
        flow.data(client.post(f"models/{champion_id}/baselines", json={"baselines": [baseline]}))
        flow.promote(client, champion_id)

        drifted = _sample(4000, 10, drifted=True)
        drifted = drifted.with_columns(transaction_id=pl.format("drifted-{}", "transaction_id"))
        score_and_label(client, drifted)
        _age(app)
        fire(app, "count_predictions")
        fire(app, "check_drift")
        alerts = _until("an alert of the rule", client, "alerts?source_type=DRIFT&status=ACTIVE&page_size=100")
        deadline = time.monotonic() + 60
        while not any(alert["retraining_requested"] for alert in alerts):
            assert time.monotonic() < deadline
            alerts = flow.data(client.get("alerts?source_type=DRIFT&status=ACTIVE&page_size=100"))
            time.sleep(0.3)

        fire(app, "start_requested_retraining")
        (job,) = _until("a retraining job", client, "retraining/jobs")
        assert job["champion_id"] == champion_id
        alert = flow.data(client.get(f"alerts/{job['alert_id']}"))
        assert (alert["triggered_retraining"], alert["retraining_job_id"]) == (True, job["id"])
        waiting = flow.wait(client, f"retraining/jobs/{job['id']}", until="AWAITING_APPROVAL")
        assert waiting["verdict"]["passed"]
        compared = waiting["verdict"]["comparison"]
        assert compared["challenger"]["auc_pr"] >= compared["champion"]["auc_pr"]
        decision = {"reason": "it knows the new pattern"}
        assert flow.data(client.post(f"retraining/jobs/{job['id']}/promote", json=decision))["status"] == "PROMOTED"
        production = flow.data(client.get("models/production"))
        assert production["id"] == waiting["challenger_id"] != champion_id
        history = flow.data(client.get(f"models/{production['id']}/history"))
        assert any(step["to_status"] == "PRODUCTION" and step["verdict"]["passed"] for step in history)
