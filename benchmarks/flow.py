"""The main flow over HTTP on a real dataset: upload, features, training, promotion, scoring.

    python -m benchmarks.flow sparkov
    python -m benchmarks.flow handbook

Starts PostgreSQL, Azurite and the development host of its own (under .local/flow), walks the flow as a client would,
and prints rows, seconds a step and the model's figures on the later test part as Markdown. The datasets are read from
../shared/data; without them there is nothing to measure and the command says so.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from devhost.client import ApiClient, Stopwatch
from devhost.console import Failure
from devhost.services import LocalServices
from devhost.tokens import token

DATA = Path(__file__).parents[2] / "shared" / "data"
_SCORED = 500


@dataclass(frozen=True)
class Subject:
    """A dataset, which columns play which part, and the share of rows to train on."""

    files: tuple[str, ...]
    config: dict[str, Any]
    split: float | None  # None: the first file is the training part


SUBJECTS = {
    "sparkov": Subject(
        ("sparkov_train.parquet", "sparkov_test.parquet"),
        {
            "label_column": "is_fraud",
            "time_column": "trans_date_trans_time",
            "id_column": "trans_num",
            "amount_column": "amt",
            "protected_columns": ["gender", "dob"],
        },
        None,
    ),
    "handbook": Subject(
        ("handbook.parquet",),
        {
            "label_column": "TX_FRAUD",
            "time_column": "TX_DATETIME",
            "id_column": "TRANSACTION_ID",
            "amount_column": "TX_AMOUNT",
            "excluded_columns": ["TX_FRAUD_SCENARIO"],
            "label_delay_days": 7,
        },
        0.8,
    ),
}


def main() -> int:
    """Entry point of the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flow", description=__doc__)
    parser.add_argument("subject", choices=sorted(SUBJECTS))
    subject = SUBJECTS[parser.parse_args().subject]
    missing = [name for name in subject.files if not (DATA / name).is_file()]
    if missing:
        print(f"not measured: {', '.join(missing)} not found in {DATA}")
        return 0
    state = Path(".local/flow").resolve()
    state.mkdir(parents=True, exist_ok=True)
    services = LocalServices(state=state, settings=state / "local.settings.json")
    services.start()
    try:
        _walk(services, subject)
    except Failure as failure:
        print(f"{failure}\n{failure.log}", file=sys.stderr)
        return 1
    finally:
        services.stop()
    return 0


def _walk(services: LocalServices, subject: Subject) -> None:
    parts = [pl.read_parquet(DATA / name) for name in subject.files]
    frame = pl.concat(parts).sort(subject.config["time_column"], maintain_order=True)
    split = subject.split or parts[0].height / frame.height
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    name = f"flow-{int(time.time())}"
    with ApiClient(services.url, token(services, "scientist")) as client:
        watch = Stopwatch()
        dataset = client.upload("datasets", buffer.getvalue(), "data.parquet", {"name": name})
        watch.lap("upload and profile")
        config = {**subject.config, "train_fraction": split}
        body = {"dataset_id": dataset["id"], "output_name": name, "config": config}
        feature_set_id = client.post("features/compute", body)["feature_set_id"]
        feature_set = _wait(client, f"features/sets/{feature_set_id}")
        watch.lap("features and selection")
        job = client.post(
            "training/jobs",
            {"name": name, "feature_set_id": feature_set_id, "algorithm": "xgboost", "train_test_split": split},
        )
        trained = _wait(client, f"training/jobs/{job['job_id']}")
        watch.lap("training and evaluation")
        model = client.get(f"models/{trained['model_id']}")
        for target in ("STAGING", "PRODUCTION"):
            client.post(f"models/{model['id']}/promote", {"target_status": target, "reason": "benchmark"})
        watch.lap("promotion")
        latencies = [_score(client, frame, position) for position in range(-_SCORED, 0)]
        watch.lap(f"{_SCORED} transactions scored one after another")
    latencies.sort()
    print(f"\n| {frame.height:,} rows, {model['metrics']['rows']:,} of them tested | |\n|---|---|")
    print(f"| features built, selected | {feature_set['feature_count']}, {feature_set['selected_feature_count']} |")
    for step, seconds in watch.seconds.items():
        print(f"| {step} | {seconds:.1f} s |")
    for metric in ("auc_roc", "auc_pr", "recall_at_fpr_1pct"):
        print(f"| {metric} | {model['metrics'][metric]:.4f} |")
    print(f"| predict over HTTP, p50 / p99 | {latencies[_SCORED // 2]:.1f} / {latencies[int(_SCORED * 0.99)]:.1f} ms |")


def _wait(client: ApiClient, route: str) -> dict[str, Any]:
    while True:
        found: dict[str, Any] = client.get(route)
        if found["status"] == "COMPLETED":
            return found
        if found["status"] in ("FAILED", "CANCELLED"):
            raise Failure(f"{route} ended as {found['status']}", str(found.get("error_message")))
        time.sleep(0.25)


def _score(client: ApiClient, frame: pl.DataFrame, position: int) -> float:
    row = {
        name: value.isoformat() if hasattr(value, "isoformat") else value
        for name, value in frame.row(position, named=True).items()
    }
    begun = time.perf_counter()
    client.post("predict", {"transaction": row})
    return (time.perf_counter() - begun) * 1000


if __name__ == "__main__":
    sys.exit(main())
