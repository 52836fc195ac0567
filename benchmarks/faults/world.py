"""A run of everything of one's own, and models in waiting that score differently."""

import asyncio
import io
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import sleep, time
from typing import Any, Final
from uuid import UUID, uuid4

import httpx
import polars as pl
import psycopg

from devhost.client import ApiClient
from devhost.console import Failure
from devhost.sample_data import SampleConfig, generate
from devhost.services import LocalServices
from devhost.settings_file import read_settings
from devhost.tokens import token
from shared.platform.blobs import BlobStore
from shared.training.artifact_store import read_artifact
from shared.training.model import model_prefix

ROWS: Final = 4_000
_BODIES: Final = 64
# Without history a score depends on nothing but the transaction and the model: a row that names the wrong one is found.
_CONFIG: Final[dict[str, Any]] = {
    "label_column": "is_fraud",
    "time_column": "transaction_time",
    "excluded_columns": ["label_known_at", "gender", "birth_date"],
    "groups": ["transaction", "temporal"],
}
_COPY: Final = """
    INSERT INTO ml_models (
        id, version, status, name, algorithm, hyperparameters, storage_path, metrics, threshold, artifact_sha256,
        feature_set_id
    )
    SELECT %(model_id)s, %(version)s, 'STAGING', name, algorithm, hyperparameters, storage_path, metrics, threshold,
        artifact_sha256, feature_set_id
    FROM ml_models
    WHERE id = %(template)s
"""


@dataclass(frozen=True)
class Switch:
    """A promotion: the model, and between which moments (seconds since 1970) it took effect."""

    model_id: str
    began: float
    ended: float


class World:
    """PostgreSQL, Azurite and the host in ``state``, and what can be done to them."""

    def __init__(self, state: Path) -> None:
        self.services = LocalServices(state=state)
        self.bodies: list[dict[str, Any]] = []
        self.scores: dict[str, list[float]] = {}
        """By model, its score of each of ``bodies``."""
        self.waiting: list[str] = []
        """Models in STAGING, to be promoted one after the other."""
        self.switches: list[Switch] = []
        self._templates: list[str] = []

    @property
    def url(self) -> str:
        """Where the API is."""
        return f"{self.services.url}/api/v1/"

    @property
    def headers(self) -> dict[str, str]:
        """How a machine calls."""
        return {"x-functions-key": self.services.secrets.function_key}

    @property
    def database_url(self) -> str:
        """The app's database."""
        return str(self._values["DATABASE_URL"])

    @property
    def _values(self) -> dict[str, str]:
        values: dict[str, str] = read_settings(self.services.settings)["Values"]
        return values

    def begin(self) -> None:
        """Start everything, train two models, and put the first into production."""
        self.services.start()
        frame = generate(SampleConfig(rows=ROWS, seed=7, fraud_rate=0.05)).sort("transaction_time")
        self.bodies = [_body(frame, position) for position in range(0, ROWS, ROWS // _BODIES)][:_BODIES]
        with self.client() as client:
            self._templates = _train(client, frame)
        for model_id in self._templates:
            self._learn(model_id)
        self.promote(self._templates[0])

    def client(self, role: str = "scientist") -> ApiClient:
        """A client of somebody in this role."""
        return ApiClient(self.services.url, token(self.services, role))

    def promote(self, model_id: str) -> None:
        """Put a model that is in STAGING into production."""
        with self.client() as client:
            began = time()
            body = {"target_status": "PRODUCTION", "reason": "because it can be done"}
            client.post(f"models/{model_id}/promote", body)
            self.switches.append(Switch(model_id, began, time()))

    def breed(self, count: int) -> None:
        """``count`` more models in STAGING, copies of the two in turn, each of them read by the host already."""
        for number in range(count):
            template = self._templates[(number + 1) % 2]
            model_id = str(uuid4())
            asyncio.run(self._copy_files(UUID(template), UUID(model_id)))
            with psycopg.connect(self.database_url, autocommit=True) as admin:
                admin.execute(_COPY, {"model_id": model_id, "version": model_id[:8], "template": template})
            self.scores[model_id] = self.scores[template]
            self.waiting.append(model_id)

    def touch(self, model_id: str) -> None:
        """Have the host read a model before it serves, as a careful person would."""
        body = {"transaction": {**self.bodies[0], "transaction_id": f"touch-{uuid4()}"}, "model_id": model_id}
        httpx.post(f"{self.url}predict", json=body, headers=self.headers, timeout=30, trust_env=False)

    def kill_host(self) -> None:
        """End the host as a power cut would."""
        pid = self.services.host.pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        while self.services.host.running:
            sleep(0.01)

    def start_host(self) -> None:
        """Start it again."""
        self.services.start()

    def restart_database(self, seconds_down: float) -> None:
        """Stop PostgreSQL, wait, start it."""
        server = self.services.existing_postgres()
        assert server is not None
        server.stop()
        sleep(seconds_down)
        server.start()

    def memory(self) -> float:
        """Megabytes that the host holds; NaN where the system does not say."""
        try:
            status = Path(f"/proc/{self.services.host.pid()}/status").read_text()
        except OSError:
            return float("nan")
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))

    def _learn(self, model_id: str) -> None:
        with httpx.Client(base_url=self.url, headers=self.headers, timeout=30, trust_env=False) as client:
            self.scores[model_id] = [self._score(client, body, model_id) for body in self.bodies]

    def _score(self, client: httpx.Client, body: dict[str, Any], model_id: str) -> float:
        transaction = {**body, "transaction_id": f"learn-{uuid4()}"}
        answer = client.post("predict", json={"transaction": transaction, "model_id": model_id})
        answer.raise_for_status()
        return float(answer.json()["data"]["fraud_score"])

    async def _copy_files(self, source: UUID, target: UUID) -> None:
        values = self._values
        blobs = BlobStore(container=values["BLOB_CONTAINER"], connection_string=values["BLOB_CONNECTION_STRING"])
        for name, content in (await read_artifact(blobs, source)).items():
            await blobs.upload_bytes(model_prefix(target) + name, content)
        await blobs.close()


@contextmanager
def running_world(state: Path) -> Iterator[World]:
    """Everything started, with a model in production; stopped at the end."""
    world = World(state)
    try:
        world.begin()
        yield world
    finally:
        world.services.stop()


def _body(frame: pl.DataFrame, position: int) -> dict[str, Any]:
    row = frame.drop("is_fraud", "label_known_at").row(position, named=True)
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in row.items()}


def _train(client: ApiClient, frame: pl.DataFrame) -> list[str]:
    """Two models in STAGING that differ in their scores."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    dataset = client.upload("datasets", buffer.getvalue(), "data.parquet", {"name": "faults"})
    features = {"dataset_id": dataset["id"], "output_name": "faults", "config": _CONFIG}
    feature_set_id = client.post("features/compute", features)["feature_set_id"]
    _completed(client, f"features/sets/{feature_set_id}")
    jobs = []
    for trees in (30, 60):
        hyperparameters = {"n_estimators": trees, "early_stopping_rounds": None}
        order = {"name": f"faults-{trees}", "feature_set_id": feature_set_id, "algorithm": "xgboost"}
        jobs.append(client.post("training/jobs", {**order, "hyperparameters": hyperparameters})["job_id"])
    models = [str(_completed(client, f"training/jobs/{job}")["model_id"]) for job in jobs]
    for model_id in models:
        client.post(f"models/{model_id}/promote", {"target_status": "STAGING", "reason": "to be served"})
    return models


def _completed(client: ApiClient, route: str) -> dict[str, Any]:
    while True:
        found: dict[str, Any] = client.get(route)
        if found["status"] == "COMPLETED":
            return found
        if found["status"] in ("FAILED", "CANCELLED"):
            raise Failure(f"{route} ended as {found['status']}", str(found.get("error_message")))
        sleep(0.2)
