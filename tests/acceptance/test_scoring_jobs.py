"""A file scored over HTTP, from upload to download; a kill -9 in between costs a slice, and nothing is doubled."""

import io
import time
from typing import Any
from uuid import uuid4

import httpx
import polars as pl
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

ROWS = 200_000


@pytest.fixture
async def serving(own_app: RunningApp, blob_connection_string: str, container: str) -> RunningApp:
    """The app with a small model in production."""
    blobs = BlobStore(container=container, connection_string=blob_connection_string)
    database = Database(own_app.database_url)
    await database.open()
    await registered(database, blobs, packed_model())
    await database.close()
    await blobs.close()
    return own_app


def uploaded(client: httpx.Client, content: bytes) -> str:
    """The id of a direct upload."""
    place = flow.data(client.post("datasets/uploads"))
    httpx.put(place["url"], content=content, headers=place["headers"]).raise_for_status()
    return str(place["upload_id"])


def result(client: httpx.Client, route: str) -> pl.DataFrame:
    """The scored file, downloaded as anybody with the URL can."""
    return pl.read_parquet(io.BytesIO(httpx.get(flow.data(client.get(f"{route}/result"))["url"]).content))


def stored(app: RunningApp) -> tuple[int, int, int]:
    """Predictions, distinct ids, distinct transactions."""
    with psycopg.connect(app.database_url) as conn:
        row = conn.execute(
            "SELECT count(*), count(DISTINCT id), count(DISTINCT transaction_id) FROM predictions"
        ).fetchone()
    assert row is not None
    return row[0], row[1], row[2]


def test_killed_while_a_file_is_scored(serving: RunningApp) -> None:
    """The job goes on where it stood: every row of the file has one prediction and one row in the result."""
    frame = pl.DataFrame(
        {
            "transaction_id": [f"order-{n}" for n in range(ROWS)],
            "amount": [n % 500 + 0.5 for n in range(ROWS)],
            "kind": [["card", "bank", "gift", "cash"][n % 4] for n in range(ROWS)],
        }
    )
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    with serving.client("scientist") as client:
        answer = client.post("scoring/jobs", json={"upload_id": uploaded(client, buffer.getvalue()), "name": "nightly"})
        assert answer.status_code == 202
        route = answer.headers["operation-location"].removeprefix("/api/v1/")
        assert client.get(f"{route}/result").status_code == 409
        job: dict[str, Any] = flow.data(client.get(route))
        while not job["rows_scored"]:
            assert job["status"] in ("QUEUED", "RUNNING"), job
            time.sleep(0.02)
            job = flow.data(client.get(route))
        assert job["rows_scored"] < ROWS, "it ended before it could be interrupted"
        serving.kill()
        serving.start()
        job = flow.wait(client, route)
        assert (job["rows_scored"], job["rows_refused"], job["progress"]) == (ROWS, 0, 1.0)
        assert stored(serving) == (ROWS, ROWS, ROWS)
        scored = result(client, route)
        assert scored.columns == [
            "row", "transaction_id", "prediction_id", "fraud_score", "is_fraud", "confidence", "error",
        ]  # fmt: skip
        assert scored["transaction_id"].to_list() == frame["transaction_id"].to_list()
        assert scored["is_fraud"].sum() == job["rows_flagged"]
        row = scored.row(12_345, named=True)
        prediction = flow.data(client.get(f"predictions/{row['prediction_id']}"))
        assert prediction["fraud_score"] == row["fraud_score"]
        listed = flow.data(client.get("scoring/jobs", params={"status": "COMPLETED"}))
        assert [entry["job_id"] for entry in listed] == [job["job_id"]]


def test_cancelled_and_refused(serving: RunningApp) -> None:
    """A job is cancelled over HTTP; analysts may look and not start; what cannot be scored is told with its reason."""
    frame = pl.DataFrame({"amount": [1.5] * ROWS, "kind": ["card"] * ROWS})
    with serving.client("scientist") as client, serving.client("analyst") as analyst:
        upload_id = uploaded(client, frame.write_csv().encode())
        assert analyst.post("scoring/jobs", json={"upload_id": upload_id}).status_code == 403
        job = flow.data(client.post("scoring/jobs", json={"upload_id": upload_id}))
        route = f"scoring/jobs/{job['job_id']}"
        assert flow.data(client.post(f"{route}/cancel"))["status"] == "CANCELLED"
        assert flow.data(analyst.get(route))["status"] == "CANCELLED"
        assert analyst.get(f"{route}/result").status_code == 409
        other = uploaded(client, b"colour\nred\n")
        job = flow.data(client.post("scoring/jobs", json={"upload_id": other}))
        failed = flow.wait(client, f"scoring/jobs/{job['job_id']}", until="FAILED")
        assert "amount: the file has no such column" in failed["error_message"]
        dataset = flow.upload(client, pl.DataFrame({"colour": ["red", "blue"]}), "colours")
        refused = client.post("scoring/jobs", json={"dataset_id": dataset["id"]})
        assert refused.status_code == 422
        assert {"field": "amount", "message": "the file has no such column"} in refused.json()["error"]["details"]
        assert client.post("scoring/jobs", json={}).status_code == 422


def test_a_job_that_nobody_works_on_is_taken_up(serving: RunningApp) -> None:
    """As after a worker that died between the row and the start of its orchestration."""
    frame = pl.DataFrame({"amount": [1.5, 2.5], "kind": ["card", "bank"]})
    job_id = uuid4()
    with serving.client("scientist") as client:
        dataset = flow.upload(client, frame, "orphaned")
        with psycopg.connect(serving.database_url, autocommit=True) as conn:
            conn.execute(
                "INSERT INTO scoring_jobs (id, model_id, source, source_id, orchestration_id, created_at) "
                "SELECT %s, id, 'dataset', %s, %s, now() - interval '1 hour' FROM ml_models",
                (job_id, dataset["id"], f"scoring-{job_id}"),
            )
        key = load_keys(serving.state / "host").master
        url = f"{serving.url}/admin/functions/resume_orphaned_work"
        assert httpx.post(url, headers={"x-functions-key": key}, json={}).status_code == 202
        assert flow.wait(client, f"scoring/jobs/{job_id}")["rows_scored"] == 2
