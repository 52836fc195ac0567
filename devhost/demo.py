"""From sample data to a scored transaction, over HTTP alone: what `make start` does once everything runs.

Each step looks for its own earlier result first, so an interrupted demo goes on where it stopped.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from devhost.client import ApiClient
from devhost.console import Failure, Step, bar
from devhost.demo_transactions import Transaction, ordinary, suspicious

if TYPE_CHECKING:
    import polars as pl

ROWS = 60_000
DATASET, FEATURES, MODEL = "demo-transactions", "demo-features", "demo-fraud-model"
FEATURE_CONFIG: dict[str, Any] = {
    "label_column": "is_fraud",
    "time_column": "transaction_time",
    "id_column": "transaction_id",
    "amount_column": "amount",
    "entity_columns": ["customer_id", "card_id", "device_id", "ip_address", "merchant_id"],
    "protected_columns": ["gender", "birth_date"],
    "excluded_columns": ["label_known_at"],
}
BASELINES: list[dict[str, Any]] = [
    {"metric": "auc_roc", "operator": "gte", "threshold": 0.85},
    {"metric": "recall", "operator": "gte", "threshold": 0.40},
    {"metric": "fpr", "operator": "lte", "threshold": 0.05},
]
"""What the demo model has to reach before it goes into production."""
STEP_SECONDS = 900.0


def production_model(client: ApiClient) -> dict[str, Any] | None:
    """The model in production, or None."""
    found: dict[str, Any] | None = client.find("models/production")
    return found


def train_and_promote(client: ApiClient) -> dict[str, Any]:
    """Upload the sample, compute features, train, set baselines and promote; returns the model in production.

    Raises Failure when a step fails, with what the app said.
    """
    dataset = _dataset(client)
    features = _feature_set(client, dataset["id"])
    model_id = _trained_model(client, features["id"])
    with Step("promotion") as step:
        model = client.get(f"models/{model_id}")
        if model["status"] == "TRAINED":
            client.post(f"models/{model_id}/baselines", {"baselines": BASELINES})
            reason = {"reason": "first model of the demo"}
            model = client.post(f"models/{model_id}/promote", {"target_status": "STAGING", **reason})
        if model["status"] == "STAGING":
            reason = {"reason": "baselines hold on later transactions than it was trained on"}
            model = client.post(f"models/{model_id}/promote", {"target_status": "PRODUCTION", **reason})
        step.result = "baselines hold: " + ", ".join(
            f"{item['metric']} {model['metrics'][item['metric']]:.3f} {_SIGNS[item['operator']]} {item['threshold']:g}"
            for item in BASELINES
        )
    return dict(model)


_SIGNS = {"gte": ">=", "lte": "<="}


def sample() -> pl.DataFrame:
    """The demo's transactions: half a year that ended in the last days, with the same weekdays whenever it is made.

    Recent ones, because the history that scoring looks at is kept for a little over a year.
    """
    from devhost.sample_data import SampleConfig, generate

    latest = datetime.now(UTC).date() - timedelta(days=SampleConfig.days)
    weekday = SampleConfig.start.weekday()
    return generate(SampleConfig(rows=ROWS, start=latest - timedelta(days=(latest.weekday() - weekday) % 7)))


def _dataset(client: ApiClient) -> dict[str, Any]:
    for known in client.get("datasets", name=DATASET, status="ACTIVE"):
        return dict(known)
    with Step("sample transactions") as step:
        frame, buffer = sample(), io.BytesIO()
        frame.write_parquet(buffer)
        fraud = int(frame["is_fraud"].sum())
        step.result = f"{len(frame):,} rows, {fraud:,} of them fraud, {len(buffer.getvalue()) / 1e6:.1f} MB Parquet"
    with Step("dataset upload") as step:
        fields = {"name": DATASET, "description": "Sample e-commerce transactions made by make start"}
        dataset = client.upload("datasets", buffer.getvalue(), "transactions.parquet", fields)
        step.result = f"dataset {dataset['id']}, {dataset['row_count']:,} rows"
    return dict(dataset)


def _feature_set(client: ApiClient, dataset_id: str) -> dict[str, Any]:
    usable = ("PENDING", "PROCESSING", "COMPLETED")
    known = client.get("features/sets", dataset_id=dataset_id, page_size=100)
    earlier = [item["id"] for item in known if item["name"] == FEATURES and item["status"] in usable]
    with Step("feature engineering") as step:
        if earlier:
            feature_set_id = earlier[0]
        else:
            body = {"dataset_id": dataset_id, "output_name": FEATURES, "config": FEATURE_CONFIG}
            feature_set_id = client.post("features/compute", body)["feature_set_id"]

        def look() -> dict[str, Any]:
            found: dict[str, Any] = client.get(f"features/sets/{feature_set_id}")
            progress = found.get("progress") or {}
            working = [stage["name"] for stage in progress.get("stages", ()) if stage["status"] == "PROCESSING"]
            step.detail(f"{bar(progress.get('fraction') or 0.0)} {', '.join(working)}")
            return found

        done = _poll(look, "feature engineering")
        step.result = f"{done['selected_feature_count']} of {done['feature_count']} features selected"
    return done


def _trained_model(client: ApiClient, feature_set_id: str) -> str:
    usable = ("QUEUED", "RUNNING", "COMPLETED")
    known = client.get("training/jobs", feature_set_id=feature_set_id, page_size=100)
    earlier = [
        job
        for job in known
        if job["name"] == MODEL and job["status"] in usable and not _is_archived(client, job["model_id"])
    ]
    with Step("training") as step:
        if earlier:
            job_id = earlier[0]["id"]
        else:
            body = {"name": MODEL, "feature_set_id": feature_set_id, "algorithm": "xgboost"}
            job_id = client.post("training/jobs", body)["job_id"]

        def look() -> dict[str, Any]:
            job: dict[str, Any] = client.get(f"training/jobs/{job_id}")
            eta = job.get("eta_seconds")
            rounds = f"round {job['current_epoch']} of {job['total_epochs']}" if job.get("current_epoch") else ""
            left = "" if eta is None else f", {eta:.0f} s left"
            step.detail(f"{bar(job.get('progress') or 0.0)} {rounds or str(job['status']).lower()}{left}")
            return job

        done = _poll(look, "training")
        metrics = client.get(f"models/{done['model_id']}")["metrics"]
        shown = (
            f"{name} {metrics[name]:.3f}" for name in ("auc_roc", "auc_pr", "recall_at_fpr_1pct") if name in metrics
        )
        step.result = ", ".join(shown)
    return str(done["model_id"])


def _is_archived(client: ApiClient, model_id: str | None) -> bool:
    """Whether somebody took an earlier demo model out of use, so that a new one has to be trained."""
    return model_id is not None and client.get(f"models/{model_id}")["status"] == "ARCHIVED"


def _poll(look: Callable[[], dict[str, Any]], what: str) -> dict[str, Any]:
    """Look until the work is over. Raises Failure when it failed, was cancelled or takes too long."""
    deadline = time.monotonic() + STEP_SECONDS
    while True:
        found = look()
        if found["status"] == "COMPLETED":
            return found
        if found["status"] in ("FAILED", "CANCELLED"):
            why = found.get("error_message") or found.get("error") or "no reason given"
            raise Failure(f"{what} ended {found['status']}: {why}", "make logs shows what the app logged")
        if time.monotonic() > deadline:
            raise Failure(f"{what} is not done after {STEP_SECONDS:.0f} s", "make logs shows what the app is doing")
        time.sleep(0.3)


def score(client: ApiClient) -> tuple[Transaction, dict[str, Any], Transaction, dict[str, Any], dict[str, Any]]:
    """Score a suspicious and an ordinary transaction and read the first one back from the database.

    Returns both transactions with their answers, and the stored prediction.
    """
    with Step("scoring") as step:
        frame = sample()
        strange, usual = suspicious(frame), ordinary(frame)
        strange_answer = client.post("predict", {"transaction": strange})
        begun = time.perf_counter()
        usual_answer = client.post("predict", {"transaction": usual})
        milliseconds = 1000 * (time.perf_counter() - begun)
        stored = client.get(f"predictions/{strange_answer['prediction_id']}")
        step.result = f"two transactions, the second in {milliseconds:.0f} ms over HTTP with its row committed"
    return strange, strange_answer, usual, usual_answer, stored
