"""A whole file scored and stored, in rows a second, beside what PostgreSQL itself can take by COPY.

    python -m benchmarks.batch_scoring --rows 200000

Starts a private PostgreSQL with production's durability settings and a blob emulator of its own. The model has 200
trees of depth 6 over 30 features without history. Each round copies the same finished rows into the empty table by as
many connections as slices run side by side, in binary form and in text form, then runs the job. "slices" is what the
orchestration fans out: read the slice from Blob, build vectors, predict, render JSON and cells, put the part of the
result in Blob, COPY and commit. "job" has reading and cutting the file before it and joining the result behind it. The
last line is a model that looks at the past: 40 history features of five entities, slices one after the other.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from statistics import median
from uuid import UUID, uuid4

import numpy as np
import polars as pl
from psycopg.types.json import Jsonb

from benchmarks import online_history
from benchmarks.private_database import private_database
from devhost import azurite
from devhost.daemons import Daemon, free_port
from devhost.sample_data import SampleConfig, generate
from shared.alerts.service import AlertService
from shared.audit.model import Origin
from shared.datasets.model import Column, DatasetLimits, DatasetSchema, upload_path
from shared.datasets.service import DatasetService
from shared.features.batch import fit_plan, transform
from shared.features.config import FeatureConfig
from shared.features.fitting import column_type
from shared.features.inference import infer_config
from shared.features.plan import FeaturePlan
from shared.monitoring.profile import build_profile, profile_scores
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.platform.queries import queries
from shared.platform.xgboost_runtime import load_xgboost
from shared.registry.service import RegistryService
from shared.scoring import repository as predictions
from shared.scoring.jobs.model import SLICE_ROWS, ScoringJobRequest
from shared.scoring.jobs.reading import ROW
from shared.scoring.jobs.rows import SliceScorer
from shared.scoring.jobs.service import ScoringJobService
from shared.scoring.service import ScoringService
from shared.training.artifact_store import write_artifact
from shared.training.artifacts import ModelArtifact, pack_artifact
from shared.users.model import Caller, Role

_FEATURES = 30
_LANES = 2
_WAVE = 8
_HIDDEN = ["is_fraud", "label_known_at"]


def model_of(frame: pl.DataFrame, features: range = range(_FEATURES)) -> ModelArtifact:
    """200 trees of depth 6 over some of the features that need no history."""
    columns = [
        Column(name=name, type=kind, nullable=True)
        for name, dtype in frame.schema.items()
        if (kind := column_type(dtype)) is not None
    ]
    config = FeatureConfig(
        groups=("transaction", "temporal"),
        label_column="is_fraud",
        time_column="transaction_time",
        amount_column="amount",
        id_column="transaction_id",
        excluded_columns=("label_known_at",),
    )
    plan = fit_plan(frame.lazy(), infer_config(DatasetSchema(columns=columns), config))
    return packed(plan.select(plan.feature_names[features.start : features.stop]), frame)


def packed(plan: FeaturePlan, frame: pl.DataFrame) -> ModelArtifact:
    """200 trees of depth 6 over all features of a plan; three transactions in a hundred are flagged."""
    matrix = transform(plan, frame.lazy()).collect().to_numpy()
    xgb = load_xgboost()
    parameters = {"objective": "binary:logistic", "max_depth": 6, "eta": 0.05}
    booster = xgb.train(parameters, xgb.QuantileDMatrix(matrix, frame["is_fraud"].to_numpy()), 200)
    scores = booster.inplace_predict(matrix).astype(np.float32)
    threshold = float(np.quantile(scores, 0.97))
    profile = build_profile(dict(zip(plan.feature_names, matrix.T, strict=True)))
    profile = profile.model_copy(update={"scores": profile_scores(scores, threshold)})
    metadata = {
        "model_id": UUID(int=7),
        "name": "fraud",
        "algorithm": "xgboost",
        "hyperparameters": {},
        "feature_set_id": UUID(int=1),
        "dataset_id": UUID(int=2),
        "training_job_id": UUID(int=3),
        "feature_names": list(plan.feature_names),
        "threshold": threshold,
        "threshold_policy": {"type": "max_f1"},
        "model_file": "model.ubj",
        "metrics": {"auc_roc": 0.9},
        "feature_importance": {},
        "score_profile": profile.scores,
        "training": {},
        "versions": {},
    }
    files = {
        "model.ubj": bytes(booster.save_raw("ubj")),
        "plan.json": plan.to_json(),
        "profile.json": profile.to_json(),
    }
    return pack_artifact(files, metadata)


@asynccontextmanager
async def private_blobs() -> AsyncIterator[BlobStore]:
    """A blob emulator of one's own, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="shadow-hubble-blobs-") as folder:
        daemon = Daemon("azurite", Path(folder))
        key, ports = azurite.new_account_key(), azurite.Ports(free_port())
        azurite.start(daemon, Path(folder) / "data", key, ports, azurite.install())
        blobs = BlobStore(container="benchmark", connection_string=azurite.connection_string(key, ports))
        try:
            await blobs.ensure_container()
            yield blobs
            await blobs.close()
        finally:
            daemon.stop()


async def insert_model(database: Database, blobs: BlobStore, artifact: ModelArtifact, status: str) -> UUID:
    """Register a model without training one; its id."""
    model_id = uuid4()
    await write_artifact(blobs, model_id, artifact)
    async with database.connection() as conn:
        await conn.execute(
            "INSERT INTO ml_models (id, name, version, algorithm, status, hyperparameters, storage_path, metrics, "
            "threshold, artifact_sha256) VALUES (%s, 'fraud', %s, 'xgboost', %s, '{}', 'models/', %s, 0.5, %s)",
            (model_id, model_id.hex, status, Jsonb({}), artifact.sha256),
        )
    return model_id


class Platform:
    """Scoring jobs without a host."""

    def __init__(self, database: Database, blobs: BlobStore, rows: int) -> None:
        self.database = database
        self.blobs = blobs
        self.rows = rows
        limits = DatasetLimits(body_bytes=10**10, direct_bytes=10**10, rows=10**8, columns=100)
        alerts = AlertService(database, utc_now)
        self.scoring = ScoringService(database, blobs, RegistryService(database), alerts, utc_now)
        datasets = DatasetService(database, blobs, utc_now, limits)
        self.jobs = ScoringJobService(database, blobs, datasets, self.scoring.models, self.scoring.history, utc_now)

    async def empty(self) -> None:
        """Nothing is stored, and nothing is left to write."""
        async with self.database.connection() as conn:
            await conn.execute("TRUNCATE predictions")
            await conn.execute("CHECKPOINT")

    async def copy(self, slices: list[bytes], statement: str) -> float:
        """Rows a second that COPY takes by itself, a transaction a slice."""
        await self.empty()
        waiting = iter(slices)

        async def lane() -> None:
            for records in waiting:
                async with (
                    self.database.transaction() as conn,
                    conn.cursor() as cursor,
                    cursor.copy(statement) as stream,  # type: ignore[arg-type]
                ):
                    await stream.write(records)

        started = time.perf_counter()
        await asyncio.gather(*(lane() for _ in range(_LANES)))
        return self.rows / (time.perf_counter() - started)

    async def job(self, frame: pl.DataFrame) -> tuple[float, float]:
        """Rows a second of the slices, and of the whole job."""
        await self.empty()
        buffer = BytesIO()
        frame.write_parquet(buffer)
        upload_id = uuid4()
        await self.blobs.upload_bytes(upload_path(upload_id), buffer.getvalue())
        job = await self.jobs.create(
            ScoringJobRequest(upload_id=upload_id), caller=Caller(Role.ADMIN), origin=Origin("benchmark", None, None)
        )
        stages = self.jobs.stages
        started = time.perf_counter()
        prepared = await stages.prepare(job.id)
        cut, count, wave = time.perf_counter(), prepared["slices"], 1 if prepared["in_order"] else _WAVE
        for first in range(0, count, wave):
            await asyncio.gather(*(stages.score(job.id, number) for number in range(first, min(first + wave, count))))
        scored = time.perf_counter()
        await stages.finish(job.id)
        done = await self.jobs.get(job.id)
        assert (done.status.value, done.rows_scored) == ("COMPLETED", frame.height), done
        return frame.height / (scored - cut), frame.height / (time.perf_counter() - started)


async def finished_rows(platform: Platform, model_id: UUID, frame: pl.DataFrame) -> tuple[list[bytes], list[bytes]]:
    """The rows that the job stores, a slice each, in COPY's binary and text form."""
    model = await platform.scoring.models.get(model_id)
    now = utc_now()
    binary = []
    numbered = frame.with_row_index(ROW)
    for first in range(0, frame.height, SLICE_ROWS):
        scorer = SliceScorer(model, UUID(int=9), now)
        found, matrix = scorer.read(numbered.slice(first, SLICE_ROWS))
        assert matrix is not None
        binary.append(scorer.score(found, matrix).records)
    statement = queries("scoring_jobs")["copy_predictions"]
    await platform.copy(binary, statement)
    text = []
    for number in range(len(binary)):
        async with platform.database.connection() as conn, conn.cursor() as cursor:
            columns = statement[statement.index("(") + 1 : statement.index(")")]
            query = (
                f"COPY (SELECT {columns} FROM predictions OFFSET {number * SLICE_ROWS} LIMIT {SLICE_ROWS}) TO STDOUT"
            )
            async with cursor.copy(query) as stream:  # type: ignore[arg-type]
                text.append(b"".join([bytes(block) async for block in stream]))
    return binary, text


async def run(rows: int, history_rows: int, rounds: int) -> None:
    """Measure and print."""
    frame = generate(SampleConfig(rows=rows, seed=8)).drop(_HIDDEN)
    artifact = model_of(generate(SampleConfig(rows=20_000, seed=7)))
    async with private_database() as database, private_blobs() as blobs:
        model_id = await insert_model(database, blobs, artifact, "PRODUCTION")
        async with database.connection() as conn:
            await predictions.ensure_partitions(conn, utc_now(), 2)
        platform = Platform(database, blobs, rows)
        binary, text = await finished_rows(platform, model_id, frame)
        statement = queries("scoring_jobs")["copy_predictions"]
        as_text = statement.replace("(FORMAT binary)", "")
        print(
            f"{rows:,} rows of {sum(map(len, binary)) / rows:.0f} bytes, slices of {SLICE_ROWS:,}, {_LANES} at a time"
        )
        print(f"{'round':<7}{'COPY':>10}{'as text':>10}{'slices':>10}{'job':>10}{'slices to COPY':>16}   rows/s")
        table = []
        for number in range(1, rounds + 1):
            copied, copied_text = await platform.copy(binary, statement), await platform.copy(text, as_text)
            sliced, whole = await platform.job(frame)
            table.append((copied, copied_text, sliced, whole, sliced / copied))
            print(f"{number:<7}" + _line(table[-1]))
        print(f"{'median':<7}" + _line(tuple(median(column) for column in zip(*table, strict=True))))
        if history_rows:
            async with database.connection() as conn:
                await conn.execute("UPDATE ml_models SET status = 'ARCHIVED'")
            looking_back = packed(online_history.fitted_plan(), online_history.transactions(20_000, seed=7))
            await insert_model(database, blobs, looking_back, "PRODUCTION")
            platform = Platform(database, blobs, history_rows)
            sliced, whole = await platform.job(online_history.transactions(history_rows, seed=9).drop("is_fraud"))
            print(
                f"with history, {history_rows:,} rows in order of time: {sliced:,.0f} in slices, {whole:,.0f} as a job"
            )


def _line(figures: tuple[float, ...]) -> str:
    return "".join(f"{figure:>10,.0f}" for figure in figures[:4]) + f"{figures[4]:>16.2f}"


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--history-rows", type=int, default=20_000, help="0 to leave it out")
    options = parser.parse_args()
    asyncio.run(run(options.rows, options.history_rows, options.rounds))


if __name__ == "__main__":
    main()
