"""Training jobs in the running app while processes die, storage and database go away, and the disk is full.

The app reaches Blob through a gate that falls silent at a chosen request: the job then stands in the middle of a known
stage, and the test does to it what it has come for.
"""

import os
import re
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient

from devhost.postgres import PostgresServer
from shared.training.artifacts import METADATA, parse_metadata, verify_artifact
from shared.training.model import model_id_of, model_prefix
from tests.fixtures import flow
from tests.fixtures.app import RunningApp, running_app
from tests.fixtures.gate import GateInThread

pytestmark = pytest.mark.slow

JOB = {
    "hyperparameters": {"n_estimators": 12, "early_stopping_rounds": None, "subsample": 0.8},
    "search": {"method": "random", "trials": 2, "space": {"max_depth": [3, 4]}},
}
# A request to Blob in the middle of each stage, in the order in which they come.
STAGES = {
    "prepare_training": r"PUT /\S*/training_jobs/[^/\s]+/progress-00000",
    "run_trials": r"PUT /\S*/training_jobs/[^/\s]+/trials/\S*checkpoint",
    "train_slice": r"PUT /\S*/training_jobs/[^/\s]+/checkpoint",
    "evaluate_model": r"PUT /\S*/models/[^/\s]+/model\.ubj",
    "load_history": r"GET /\S*/datasets/",
    "register_model": r"GET /\S*/models/[^/\s]+/metadata",
}
TIDYING = r"DELETE /\S*/training_jobs/[^/\s]+/(?!trials/)"  # those of a search go when it ends


@dataclass
class World:
    """An app with a feature set and the model of an undisturbed job on it."""

    app: RunningApp
    gate: GateInThread
    blobs: ContainerClient
    client: httpx.Client
    temp: Path
    feature_set_id: str = ""
    undisturbed: bytes = b""
    events: int = 0

    def prepare(self) -> None:
        """Make the feature set and the undisturbed job."""
        dataset = flow.upload(self.client, flow.sample(4000), "faults")
        self.feature_set_id = flow.compute_features(self.client, dataset["id"], "faults")
        flow.wait(self.client, f"features/sets/{self.feature_set_id}")
        model_id = self.wait(self.start())["model_id"]
        self.undisturbed = self.read(f"models/{model_id}/model.ubj")
        self.events = self.count("entity_events")

    def start(self, **changes: Any) -> str:
        """Ask for a job; its id."""
        return flow.start_training(self.client, self.feature_set_id, "faults", **{**JOB, **changes})

    def job(self, job_id: str) -> dict[str, Any]:
        """How it stands."""
        found: dict[str, Any] = flow.data(self.client.get(f"training/jobs/{job_id}"))
        return found

    def await_end(self, job_id: str) -> None:
        """Return when its orchestration has ended, which is after it has tidied up."""
        eventually(lambda: self.app.orchestration(f"training-{job_id}")["runtimeStatus"] == "Completed")

    def wait(self, job_id: str, until: str = "COMPLETED") -> dict[str, Any]:
        """The job once it has ended so."""
        return flow.wait(self.client, f"training/jobs/{job_id}", until=until)

    def count(self, rest: str, *parameters: Any) -> int:
        """Rows of a table that meet a condition."""
        with psycopg.connect(self.app.database_url) as conn:
            row = conn.execute(f"SELECT count(*) FROM {rest}", parameters).fetchone()  # type: ignore[call-overload]
        return int(row[0])

    def read(self, path: str) -> bytes:
        """A blob."""
        return bytes(self.blobs.download_blob(path).readall())

    def names(self, prefix: str) -> list[str]:
        """Blobs whose paths begin so."""
        return list(self.blobs.list_blob_names(name_starts_with=prefix))

    def tables(self) -> list[Path]:
        """Feature sets on the local disk, which are kept for the next job."""
        return list(self.temp.glob("shadow-hubble-training-*/table-*"))

    def litter(self) -> list[Path]:
        """Whatever else is in the temporary folder."""
        top = [path for path in self.temp.iterdir() if not path.name.startswith("shadow-hubble-")]
        left = self.temp.glob("shadow-hubble-training-*/building-*"), self.temp.glob("shadow-hubble-scratch-*/*")
        return [*top, *left[0], *left[1]]

    def assert_ended_well(self, job_id: str) -> None:
        """One model, as without disturbance; one row, one entry in the audit log; nothing left behind."""
        job = self.wait(job_id)
        self.await_end(job_id)
        model_id = job["model_id"]
        assert (job["error_message"], job["error_traceback"], job["progress"]) == (None, None, 1)
        with psycopg.connect(self.app.database_url) as conn:
            rows = conn.execute("SELECT id::text, artifact_sha256 FROM ml_models WHERE training_job_id = %s", (job_id,))
            [(registered, sha256)] = rows.fetchall()
        assert registered == model_id
        metadata = parse_metadata(self.read(f"models/{model_id}/{METADATA}"))
        files = {name: self.read(f"models/{model_id}/{name}") for name in (METADATA, *metadata.files)}
        verify_artifact(files, sha256)
        assert len(self.names(f"models/{model_id}/")) == len(files)
        assert self.names(f"training_jobs/{job_id}") == []
        assert files["model.ubj"] == self.undisturbed
        assert self.count("audit_logs WHERE resource_id = %s", job_id) == 1
        assert self.count("audit_logs WHERE resource_id = %s", model_id) == 1
        assert self.count("entity_events") == self.events


def eventually(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Return when the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def world(
    module_database_url: str, blob_connection_string: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    found = re.search(r"BlobEndpoint=http://127\.0\.0\.1:(\d+)/", blob_connection_string)
    assert found is not None
    container, state = f"test-{uuid4().hex}", tmp_path_factory.mktemp("faults")
    temp = state / "temp"
    temp.mkdir()
    with (
        BlobServiceClient.from_connection_string(blob_connection_string) as service,
        GateInThread(int(found[1])).running() as gate,
    ):
        blobs = service.create_container(container)
        through = blob_connection_string.replace(f":{found[1]}/", f":{gate.port}/", 1)
        environment = {"TMPDIR": str(temp)}
        with (
            running_app(state, module_database_url, through, container, environment) as app,
            app.client("scientist") as client,
        ):
            world = World(app, gate, blobs, client, temp)
            world.prepare()
            yield world


@pytest.fixture(autouse=True)
def _open_gate(world: World) -> Iterator[None]:
    yield
    world.gate.let_all_through()


def test_a_worker_killed_in_every_stage_of_one_job(world: World) -> None:
    """Seven deaths, the last while tidying up, and the job ends as if nothing had happened. What the dead leave on the
    disk is swept by a later job that builds a table.
    """
    world.gate.trip_at(STAGES["prepare_training"])
    job_id = world.start()
    for following in [*list(STAGES.values())[1:], TIDYING, None]:
        world.gate.await_trip()
        world.app.kill()
        world.gate.open()
        if following is not None:
            world.gate.trip_at(following)
        world.app.start()
    world.assert_ended_well(job_id)

    assert world.litter()
    for path in (*world.litter(), *world.tables()):
        os.utime(path, (0, 0))
    for table in world.tables():
        shutil.rmtree(table)
    world.assert_ended_well(world.start())
    assert world.litter() == []


def test_jobs_cancelled_in_every_stage(world: World) -> None:
    """Each is CANCELLED at once, and soon nothing is left of it; once the model is registered it is refused."""
    for pattern in STAGES.values():
        world.gate.trip_at(pattern)
        job_id = world.start()
        world.gate.await_trip()
        cancelled = flow.data(world.client.post(f"training/jobs/{job_id}/cancel"))
        world.gate.open()
        assert cancelled["status"] == "CANCELLED"
        world.await_end(job_id)
        assert world.wait(job_id, until="CANCELLED")["model_id"] is None
        assert world.names(f"training_jobs/{job_id}") == []
        assert world.names(model_prefix(model_id_of(UUID(job_id)))) == []
        assert world.count("ml_models WHERE training_job_id = %s", job_id) == 0
        assert world.count("audit_logs WHERE resource_id = %s", job_id) == 2
        assert world.count("entity_events") == world.events
    world.gate.trip_at(TIDYING)
    job_id = world.start()
    world.gate.await_trip()
    assert world.client.post(f"training/jobs/{job_id}/cancel").status_code == 409
    world.gate.open()
    world.assert_ended_well(job_id)
    assert world.litter() == []


def test_blob_away_for_half_a_minute(world: World) -> None:
    """Connections end and are refused while a checkpoint is written; the slice is done again."""
    world.gate.trip_at(STAGES["train_slice"])
    job_id = world.start()
    world.gate.await_trip()
    world.gate.refuse()
    time.sleep(30)
    waiting = world.job(job_id)
    world.gate.accept()
    assert waiting["status"] == "RUNNING"
    assert "blob storage is not reachable" in waiting["error_traceback"]
    world.assert_ended_well(job_id)
    assert world.litter() == []


def test_postgres_restarted_in_the_middle_of_a_job(world: World, postgres_server: PostgresServer) -> None:
    """Every connection is gone, three times; once the server stays away until a slice has failed for it."""
    patterns = [STAGES[name] for name in ("train_slice", "evaluate_model", "register_model")]
    before = world.app.log.count("the database is not reachable")
    world.gate.trip_at(patterns[0])
    job_id = world.start()
    for pattern, following in zip(patterns, [*patterns[1:], None], strict=True):
        world.gate.await_trip()
        if following is not None:
            world.gate.trip_at(following)
        postgres_server.stop()
        try:
            if pattern == STAGES["train_slice"]:
                world.gate.open()
                eventually(lambda: world.app.log.count("the database is not reachable") > before)
        finally:
            postgres_server.start()
        world.gate.open()
    world.assert_ended_well(job_id)
    assert world.litter() == []


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux can limit a process that runs")
def test_a_stage_that_keeps_failing_fails_the_job(world: World) -> None:
    """After eight attempts the job is FAILED with the reason and the last traceback; its place goes to the next."""
    [table] = world.tables()
    limit = (table / "features.npy").stat().st_size - 1
    shutil.rmtree(table)
    with world.app.file_size_limit(limit):
        job_id = world.start()
        job = world.wait(job_id, until="FAILED")
        world.await_end(job_id)
    assert "no room left" in job["error_message"]
    assert job["error_traceback"].startswith("Traceback")
    assert "no room left" in job["error_traceback"]
    failures = [line for line in world.app.log.splitlines() if "training_stage_failed" in line and job_id in line]
    assert len(failures) == 8
    assert (world.names(f"training_jobs/{job_id}"), world.litter()) == ([], [])
    world.assert_ended_well(world.start())


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux can limit a process that runs")
def test_disk_full_in_the_temporary_folder(world: World) -> None:
    """The job waits and says why; once there is room it ends as any other."""
    [table] = world.tables()
    limit = (table / "features.npy").stat().st_size - 1
    shutil.rmtree(table)
    with world.app.file_size_limit(limit):
        job_id = world.start()
        eventually(lambda: "no room left" in (world.job(job_id)["error_traceback"] or ""))
        assert world.job(job_id)["status"] == "RUNNING"
        assert (world.tables(), world.litter()) == ([], [])
    world.assert_ended_well(job_id)
    assert world.litter() == []
