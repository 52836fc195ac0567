"""The product as ``benchmarks.serving`` measures it: a private run of everything, and a model that came through it.

The model has 200 trees of depth 6 over 30 numbers. Dataset, features, training and promotion go over HTTP; what is made
is kept in ``.local/serving`` for the next run.
"""

import asyncio
import io
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl
import psycopg

from benchmarks.serving_rivals import PROJECT, Subject
from devhost.client import ApiClient
from devhost.console import Failure
from devhost.services import LocalServices
from devhost.settings_file import read_settings, write_private
from devhost.tokens import token
from shared.platform.blobs import BlobStore
from shared.training.artifact_store import read_artifact
from shared.training.artifacts import parse_metadata

NAME = "serving"
FEATURES = [f"f{position:02d}" for position in range(30)]
_ROWS, _SENT = 100_000, 512
_STATE = PROJECT / ".local" / "serving"
_FEATURE_CONFIG: dict[str, Any] = {
    "label_column": "is_fraud",
    "id_column": "transaction_id",
    "groups": ["transaction"],
    "transforms": {name: ["raw"] for name in FEATURES},
    "categorical_columns": [],
    "ratios": [],
    "selection": {"enabled": False},
}
_TRAINING: dict[str, Any] = {
    "hyperparameters": {"n_estimators": 200, "max_depth": 6, "early_stopping_rounds": None},
    "threshold_policy": {"type": "fpr_limit", "fpr": 0.01},
    "calibration": "none",
}


@dataclass(frozen=True)
class Product:
    """A product that runs, the model that it serves, and what to send to it and to the rivals."""

    services: LocalServices
    database_url: str
    model: Subject
    bodies: Path
    rival_bodies: Path

    @property
    def url(self) -> str:
        """Where it takes transactions."""
        return f"{self.services.url}/api/v1/predict"

    @property
    def headers(self) -> dict[str, str]:
        """How a machine calls."""
        return {"x-functions-key": self.services.secrets.function_key}

    def empty(self) -> None:
        """Forget what was scored."""
        with psycopg.connect(self.database_url, autocommit=True) as admin:
            admin.execute("TRUNCATE predictions, submissions")
            admin.execute("CHECKPOINT")


def start(*, explain_always: bool = False, state: Path = _STATE) -> Product:
    """Start PostgreSQL, Azurite and the host with its one worker process; make the model at the first run."""
    state.mkdir(parents=True, exist_ok=True)
    services = LocalServices(state=state, settings=state / "local.settings.json")
    services.start()
    values = _set(services, EXPLAIN_ALWAYS=str(explain_always).lower(), LOG_LEVEL="INFO")
    with ApiClient(services.url, token(services, "scientist")) as client:
        found = client.find("models/production") or _make(client)
    subject = asyncio.run(_subject(values, UUID(found["id"]), state))
    return Product(services, values["DATABASE_URL"], subject, *_write_bodies(state))


def _set(services: LocalServices, **changes: str) -> dict[str, str]:
    """Settings other than those of the sample; the host restarts where they differ from what it runs with."""
    whole = read_settings(services.settings)
    if any(whole["Values"].get(name) != value for name, value in changes.items()):
        whole["Values"] |= changes
        write_private(services.settings, json.dumps(whole, indent=2) + "\n")
        services.start()
    return dict(whole["Values"])


def _table() -> pl.DataFrame:
    """Three frauds in a hundred, told from the rest by what the numbers say together."""
    from sklearn.datasets import make_classification

    values, labels = make_classification(
        n_samples=_ROWS,
        n_features=len(FEATURES),
        n_informative=16,
        n_redundant=6,
        n_clusters_per_class=4,
        weights=[0.97],
        flip_y=0.005,
        class_sep=0.9,
        random_state=7,
    )
    columns = dict(zip(FEATURES, values.astype(np.float32).T, strict=True))
    identifiers = [f"past-{position}" for position in range(_ROWS)]
    return pl.DataFrame({"transaction_id": identifiers, **columns, "is_fraud": labels.astype(np.int8)})


def _make(client: ApiClient) -> dict[str, Any]:
    buffer = io.BytesIO()
    _table().write_parquet(buffer)
    dataset = client.upload("datasets", buffer.getvalue(), "data.parquet", {"name": NAME})
    body = {"dataset_id": dataset["id"], "output_name": NAME, "config": _FEATURE_CONFIG}
    features = client.post("features/compute", body)["feature_set_id"]
    _completed(client, f"features/sets/{features}")
    job = client.post("training/jobs", {"name": NAME, "feature_set_id": features, **_TRAINING})
    model_id = _completed(client, f"training/jobs/{job['job_id']}")["model_id"]
    found: dict[str, Any] = {}
    for target in ("STAGING", "PRODUCTION"):
        found = client.post(f"models/{model_id}/promote", {"target_status": target, "reason": "benchmark"})
    return found


def _completed(client: ApiClient, route: str) -> dict[str, Any]:
    while True:
        found: dict[str, Any] = client.get(route)
        if found["status"] == "COMPLETED":
            return found
        if found["status"] in ("FAILED", "CANCELLED"):
            raise Failure(f"{route} ended as {found['status']}", str(found.get("error_message")))
        time.sleep(0.25)


async def _subject(values: dict[str, str], model_id: UUID, state: Path) -> Subject:
    """The model that the product serves, for the rivals."""
    blobs = BlobStore(container=values["BLOB_CONTAINER"], connection_string=values["BLOB_CONNECTION_STRING"])
    files = await read_artifact(blobs, model_id, without=("report.html",))
    await blobs.close()
    metadata = parse_metadata(files["metadata.json"])
    path = state / "model.ubj"
    path.write_bytes(files[metadata.model_file])
    return Subject(path, metadata.feature_names, metadata.threshold)


def _write_bodies(state: Path) -> tuple[Path, Path]:
    """The same transactions for the product and for the rivals: the last of the table, which no model was fitted on."""
    rows = _table().tail(_SENT).select(FEATURES).rows(named=True)
    ours, theirs = state / "bodies.txt", state / "rival_bodies.txt"
    numbers = [{name: round(value, 6) for name, value in row.items()} for row in rows]
    ours.write_text("\n".join(json.dumps({"transaction": {"transaction_id": "@ID@", **row}}) for row in numbers))
    theirs.write_text("\n".join(json.dumps({"transaction_id": "@ID@", "features": row}) for row in numbers))
    return ours, theirs
