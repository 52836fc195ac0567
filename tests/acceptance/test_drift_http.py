"""Drift over HTTP: timers fired through the host, figures, series and a page read as clients would."""

import asyncio
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep

import httpx
import numpy as np
import pytest

from devhost.keys import load_keys
from shared.platform.blobs import BlobStore
from shared.platform.database import Database
from tests.fixtures import flow
from tests.fixtures.app import RunningApp
from tests.fixtures.monitoring import KINDS, Monitored

pytestmark = pytest.mark.slow


def _last_hour() -> datetime:
    """The newest full hour that is counted, whose last minute has settled."""
    return (datetime.now(UTC) - timedelta(minutes=2)).replace(minute=0, second=0, microsecond=0)


async def _predicted(app: RunningApp, blob_connection_string: str) -> Monitored:
    """A model in STAGING (others may be in production in this app) that scored the last two full hours, the later one
    with amounts ten times as large."""
    database = Database(app.database_url)
    blobs = BlobStore(container=app.environment["BLOB_CONTAINER"], connection_string=blob_connection_string)
    await database.open()
    try:
        monitored = Monitored(database, blobs)
        await monitored.register("STAGING")
        rng = np.random.default_rng(0)
        hour = _last_hour()
        for back, scale in ((2, 1.0), (1, 10.0)):
            transactions = [
                {"amount": float(rng.uniform(1, 500)) * scale, "kind": str(rng.choice(KINDS)), "gender": "F"}
                for _ in range(300)
            ]
            start = hour - back * timedelta(hours=1)
            await monitored.predict(transactions, [start + i * timedelta(seconds=11) for i in range(300)])
    finally:
        await blobs.close()
        await database.close()
    return monitored


def test_timers_find_drift_and_clients_read_it(app: RunningApp, blob_connection_string: str) -> None:
    """The hourly timer stores figures and raises alerts; a scientist computes a longer window; everybody reads."""
    monitored = asyncio.run(_predicted(app, blob_connection_string))
    key = {"x-functions-key": load_keys(app.state / "host").master}
    httpx.post(f"{app.url}/admin/functions/check_drift", headers=key, json={}).raise_for_status()
    of_model = {"model_id": str(monitored.model_id)}
    with app.client("analyst") as client, app.client("scientist") as scientist:
        deadline = monotonic() + 60
        while not flow.data(client.get("monitoring/drift", params=of_model)) and monotonic() < deadline:
            sleep(0.3)
        drifted = flow.data(client.get("monitoring/drift", params={**of_model, "status": "WARNING", "window_hours": 1}))
        assert {row["feature_name"] for row in drifted} >= {"amount", None}
        alerts = flow.data(client.get("alerts", params={**of_model, "source_type": "DRIFT"}))
        assert {alert["alert_type"] for alert in alerts} >= {"DATA_DRIFT", "FEATURE_DRIFT"}

        end = _last_hour()
        window = {**of_model, "window_hours": 2, "window_end": end.isoformat()}
        computed = flow.data(scientist.post("monitoring/drift/compute", json=window))
        assert (computed["rows"], computed["status"]) == (600, "WARNING")
        assert client.post("monitoring/drift/compute", json=window).status_code == 403
        assert scientist.post("monitoring/drift/compute", json={**window, "window_hours": 0}).status_code == 422
        later = {**window, "window_end": (end + timedelta(hours=5)).isoformat()}
        assert scientist.post("monitoring/drift/compute", json=later).status_code == 409

        series = flow.data(client.get("monitoring/drift/features", params={**of_model, "window_hours": 1}))
        assert series["columns"][0]["name"] == "amount"
        page = client.get(f"models/{monitored.model_id}/drift-report", params={"window_hours": 2})
        assert page.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "amount: WARNING" in page.text
        assert client.get("monitoring/drift", params={**of_model, "cursor": "x"}).status_code == 422
