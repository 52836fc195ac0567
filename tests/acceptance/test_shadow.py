"""A challenger over HTTP: started, followed by the timer, reported, stopped."""

import time
from uuid import UUID

import httpx
import psycopg
import pytest

from devhost.keys import load_keys
from shared.platform.blobs import BlobStore
from shared.platform.database import Database
from tests.fixtures import flow
from tests.fixtures.app import RunningApp
from tests.fixtures.artifacts import packed_model
from tests.fixtures.serving import registered

pytestmark = pytest.mark.slow


@pytest.fixture
async def challenger(own_app: RunningApp, blob_connection_string: str, container: str) -> UUID:
    """A model in STAGING, beside one in production."""
    blobs = BlobStore(container=container, connection_string=blob_connection_string)
    database = Database(own_app.database_url)
    await database.open()
    await registered(database, blobs, packed_model())
    found = await registered(database, blobs, packed_model(threshold=0.01), status="STAGING")
    await database.close()
    await blobs.close()
    return found


def test_from_start_to_stop(own_app: RunningApp, challenger: UUID) -> None:
    """What the timer followed is in the report; analysts may read and not start."""
    with own_app.client("scientist") as client, own_app.client("analyst") as analyst, own_app.client("machine") as shop:
        assert analyst.post(f"models/{challenger}/challenge").status_code == 403
        assert client.get(f"models/{challenger}/shadow-report").status_code == 404
        assert flow.data(client.post(f"models/{challenger}/challenge"))["active"]
        for number in range(20):
            transaction = {"transaction_id": f"order-{number}", "amount": 25.0 * number, "kind": "gift"}
            flow.data(shop.post("predict", json={"transaction": transaction}))
        backdate(own_app)
        run_timer(own_app, "follow_production")
        deadline = time.monotonic() + 60
        while (report := flow.data(analyst.get(f"models/{challenger}/shadow-report")))["decisions"]["followed"] < 20:
            assert time.monotonic() < deadline, report
            time.sleep(0.1)
        decisions = report["decisions"]
        assert decisions["scored"] == 20
        assert decisions["newly_blocked"]["count"] + decisions["both_blocked"]["count"] == 20
        examples = flow.data(analyst.get(f"models/{challenger}/shadow-report", params={"examples": 3}))
        assert len(examples["newly_blocked_examples"]) == 3
        flow.data(analyst.get(f"predictions/{examples['newly_blocked_examples'][0]['prediction_id']}"))
        assert [entry["model_id"] for entry in flow.data(analyst.get("models/challengers"))] == [str(challenger)]
        assert not flow.data(client.delete(f"models/{challenger}/challenge"))["active"]
        assert flow.data(analyst.get("models/challengers")) == []
        wrong = {"since": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}
        assert analyst.get(f"models/{challenger}/shadow-report", params=wrong).status_code == 422


def backdate(app: RunningApp) -> None:
    """Everything happened two minutes earlier than it did, ids included."""
    with psycopg.connect(app.database_url, autocommit=True) as conn:
        conn.execute(
            "UPDATE predictions SET created_at = created_at - interval '2 minutes', id = ("
            "lpad(to_hex((extract(epoch FROM created_at - interval '2 minutes') * 1000)::bigint), 12, '0') "
            "|| substr(replace(id::text, '-', ''), 13))::uuid"
        )
        conn.execute("UPDATE challengers SET position_at = position_at - interval '3 minutes'")


def run_timer(app: RunningApp, name: str) -> None:
    """Run it now, by the host's admin API."""
    headers = {"x-functions-key": load_keys(app.state / "host").master}
    httpx.post(f"{app.url}/admin/functions/{name}", headers=headers, json={}).raise_for_status()
