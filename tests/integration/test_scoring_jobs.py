"""Whole files scored by the stages of a job: the same as one by one, stored once, with a result for each row."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import polars as pl
import pytest

from shared.alerts.service import AlertService
from shared.audit.model import Origin
from shared.datasets.model import DatasetLimits, NewDataset, upload_path
from shared.datasets.service import DatasetService
from shared.features.config import FeatureConfig
from shared.platform.blobs import BlobMissing, BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Database, Row
from shared.platform.errors import Conflict, InvalidContent
from shared.registry.service import RegistryService
from shared.scoring.identifiers import created_at
from shared.scoring.jobs.model import JobFiles, JobStatus, ScoringJob, ScoringJobRequest
from shared.scoring.jobs.service import ScoringJobService
from shared.scoring.jobs.stages import ScoringJobStages
from shared.scoring.service import ScoringService
from shared.users.model import Caller
from tests.fixtures.artifacts import packed_model
from tests.fixtures.serving import registered
from tests.integration.test_history_scoring import CONFIG, as_request, transactions

ROWS = 500
LIMITS = DatasetLimits(body_bytes=10**8, direct_bytes=10**8, rows=10**6, columns=100)
PLAIN = FeatureConfig(time_column="time", id_column="order_id", amount_column="amount", label_column="is_fraud")


def orders(rows: int = ROWS) -> pl.DataFrame:
    """Transactions with numbers, categories, a time, whole numbers, flags and values that are missing."""
    start = utc_now().replace(microsecond=0) - timedelta(hours=rows)
    return pl.DataFrame(
        {
            "order_id": [f"order-{n}" for n in range(rows)],
            "time": pl.Series([start + timedelta(hours=n, seconds=n % 50) for n in range(rows)]).cast(
                pl.Datetime("us", "UTC")
            ),
            "amount": [None if n % 17 == 3 else n % 97 + n % 7 / 8 for n in range(rows)],
            "items": [n % 9 for n in range(rows)],
            "gift": [n % 3 == 0 for n in range(rows)],
            "kind": [["card", "bank", "gift", None][n % 4] for n in range(rows)],
            "is_fraud": [int(n % 10 == 0) for n in range(rows)],
        }
    )


class Jobs:
    """Scoring jobs on real parts, their stages called as the orchestration calls them."""

    def __init__(self, database: Database, blobs: BlobStore, origin: Origin, caller: Caller) -> None:
        self.database = database
        self.blobs = blobs
        self.scoring = ScoringService(
            database, blobs, RegistryService(database), AlertService(database, utc_now), utc_now
        )
        self.datasets = DatasetService(database, blobs, utc_now, LIMITS)
        models, history = self.scoring.models, self.scoring.history
        self.service = ScoringJobService(database, blobs, self.datasets, models, history, utc_now)
        self.stages = ScoringJobStages(
            database, blobs, models, history, utc_now, LIMITS, slice_rows=200, history_slice_rows=30
        )
        self._who: dict[str, Any] = {"caller": caller, "origin": origin}

    async def uploaded(self, content: bytes | pl.DataFrame) -> UUID:
        """A file in the place of a direct upload."""
        if isinstance(content, pl.DataFrame):
            buffer = BytesIO()
            content.write_parquet(buffer)
            content = buffer.getvalue()
        upload_id = uuid4()
        await self.blobs.upload_bytes(upload_path(upload_id), content)
        return upload_id

    async def asked(self, content: bytes | pl.DataFrame, **request: Any) -> ScoringJob:
        """A job of an upload."""
        body = ScoringJobRequest(upload_id=await self.uploaded(content), **request)
        return await self.service.create(body, **self._who)

    async def dataset(self, frame: pl.DataFrame) -> UUID:
        """A registered file."""
        buffer = BytesIO()
        frame.write_parquet(buffer)

        async def chunks() -> AsyncIterator[bytes]:
            yield buffer.getvalue()

        return (await self.datasets.create(NewDataset(name="orders"), chunks(), **self._who)).id

    async def of_dataset(self, dataset_id: UUID) -> ScoringJob:
        """A job of a dataset."""
        return await self.service.create(ScoringJobRequest(dataset_id=dataset_id), **self._who)

    async def cancel(self, job_id: UUID) -> ScoringJob:
        """Somebody cancels the job."""
        return await self.service.cancel(job_id, **self._who)

    async def run(self, job: ScoringJob) -> ScoringJob:
        """Every stage, once."""
        result = await self.stages.prepare(job.id)
        for number in range(result.get("slices", 0)):
            result = await self.stages.score(job.id, number)
        await self.stages.finish(job.id)
        return await self.service.get(job.id)

    async def result(self, job: ScoringJob) -> pl.DataFrame:
        """The scored file."""
        return pl.read_parquet(BytesIO(await self.blobs.read_bytes(JobFiles(job.id).result)))

    async def stored(self) -> list[Row]:
        """Every stored prediction."""
        async with self.database.connection() as conn:
            cursor = await conn.execute(
                "SELECT id, model_id, transaction_id, input_features, fraud_score, is_fraud, confidence, explanation, "
                "latency_ms, cells, created_at FROM predictions ORDER BY transaction_id"
            )
            return await cursor.fetchall()


@pytest.fixture
def jobs(database: Database, blobs: BlobStore, origin: Origin, system: Caller) -> Jobs:
    """Jobs on an empty database."""
    return Jobs(database, blobs, origin, system)


def request_of(row: dict[str, Any]) -> dict[str, Any]:
    """A row as a checkout would send it."""
    return {**{name: value for name, value in row.items() if name != "is_fraud"}, "time": row["time"].isoformat()}


def as_csv(frame: pl.DataFrame) -> bytes:
    """The table as CSV."""
    return frame.write_csv(datetime_format="%Y-%m-%dT%H:%M:%S%.6f%:z").encode()


@pytest.mark.parametrize("written", [lambda frame: frame, as_csv], ids=["parquet", "csv"])
async def test_equals_single_transactions(jobs: Jobs, written: Any) -> None:
    """Score, decision, confidence and stored input of every row are those of the transaction sent alone."""
    frame = orders()
    model_id = await registered(jobs.database, jobs.blobs, packed_model(frame, PLAIN))
    job = await jobs.run(await jobs.asked(written(frame)))
    assert (job.status, job.row_count, job.rows_scored, job.rows_refused) == (JobStatus.COMPLETED, ROWS, ROWS, 0)
    by_file = await jobs.stored()
    result = await jobs.result(job)
    assert result["row"].to_list() == list(range(ROWS))
    assert result["transaction_id"].to_list() == frame["order_id"].to_list()
    told = {row["prediction_id"]: row for row in result.to_dicts()}
    assert {created_at(row["id"]) == row["created_at"] for row in by_file} == {True}
    assert len({row["created_at"] for row in by_file}) >= 5, "whoever follows predictions reads one moment at a time"
    for row in by_file:
        shown = told[str(row["id"])]
        assert row["model_id"] == model_id
        assert [shown[name] for name in ("fraud_score", "is_fraud", "confidence", "transaction_id")] == [
            row[name] for name in ("fraud_score", "is_fraud", "confidence", "transaction_id")
        ]
    async with jobs.database.connection() as conn:
        await conn.execute("TRUNCATE predictions")
    for row in frame.to_dicts():
        await jobs.scoring.score(request_of(row), model_id=None, explain=False)
    for alone, row in zip(await jobs.stored(), by_file, strict=True):
        assert row["input_features"]["features"] == alone["input_features"]["features"]
        sent, received = row["input_features"]["transaction"], alone["input_features"]["transaction"]
        assert {**sent, "time": None} == {**received, "time": None}
        assert row["cells"] is not None
        for name in ("fraud_score", "is_fraud", "confidence", "cells"):
            assert row[name] == alone[name]


async def test_rows_that_do_not_fit_are_told_by_row(jobs: Jobs) -> None:
    """Each has the reason that it would have had alone, and no prediction; all others are scored."""
    frame = orders(20)
    await registered(jobs.database, jobs.blobs, packed_model(frame, PLAIN))
    lines = as_csv(frame).decode().splitlines()
    header = lines[0].split(",")

    def changed(line: int, column: str, value: str) -> None:
        cells = lines[line].split(",")
        cells[header.index(column)] = value
        lines[line] = ",".join(cells)

    changed(3, "amount", "much")
    changed(5, "gift", "perhaps")
    changed(7, "kind", "x" * 10_001)
    changed(9, "time", "")
    changed(11, "order_id", "y" * 256)
    changed(13, "items", "4.0")
    job = await jobs.run(await jobs.asked("\n".join(lines).encode()))
    assert (job.status, job.rows_scored, job.rows_refused) == (JobStatus.COMPLETED, 15, 5)
    result = await jobs.result(job)
    assert {row["row"]: row["error"] for row in result.to_dicts() if row["error"]} == {
        2: "amount: must be a number, not a string",
        4: "gift: must be true or false, not a string",
        6: "kind: must have at most 10000 characters",
        8: "time: is required",
        10: "order_id: must have 1 to 255 characters",
    }
    refused = result.filter(pl.col("error").is_not_null())
    assert refused.select("prediction_id", "fraud_score", "is_fraud", "confidence").null_count().row(0) == (5,) * 4
    assert len(await jobs.stored()) == 15


@pytest.mark.parametrize("config", [PLAIN, CONFIG], ids=["plain", "history"])
async def test_a_file_of_which_nothing_fits_is_completed(jobs: Jobs, config: FeatureConfig) -> None:
    """Every row has its reason, nothing is stored, and no history is left."""
    frame = transactions()
    await registered(jobs.database, jobs.blobs, packed_model(frame, config))
    job = await jobs.run(await jobs.asked(frame.with_columns(amount=pl.lit("much"))))
    assert (job.status, job.rows_scored, job.rows_refused) == (JobStatus.COMPLETED, 0, frame.height)
    assert set((await jobs.result(job))["error"]) == {"amount: must be a number, not a string"}
    assert await jobs.stored() == []
    assert await history(jobs.database) == []


async def test_slices_that_run_again_store_nothing_twice(jobs: Jobs) -> None:
    """One after the other or at the same moment: each row has one prediction, and the result names it."""
    frame = orders()
    await registered(jobs.database, jobs.blobs, packed_model(frame, PLAIN))
    job = await jobs.asked(frame)
    slices = (await jobs.stages.prepare(job.id))["slices"]
    assert slices == 3
    await jobs.stages.prepare(job.id)
    await asyncio.gather(*(jobs.stages.score(job.id, number) for number in [0, 0, 1, 1, 2]))
    await jobs.stages.score(job.id, 2)
    await jobs.stages.finish(job.id)
    await jobs.stages.finish(job.id)
    done = await jobs.service.get(job.id)
    assert (done.status, done.rows_scored) == (JobStatus.COMPLETED, ROWS)
    stored = await jobs.stored()
    assert len(stored) == ROWS
    result = await jobs.result(job)
    assert set(result["prediction_id"]) == {str(row["id"]) for row in stored}
    with pytest.raises(BlobMissing):
        await jobs.blobs.read_bytes(JobFiles(job.id).slice(0))


async def test_history_equals_one_after_the_other(jobs: Jobs) -> None:
    """A file in any order gives every feature that sending its rows at their times would have given, and leaves the
    same history behind; half of it was sent before.
    """
    frame = transactions()
    await registered(jobs.database, jobs.blobs, packed_model(frame, CONFIG))
    for row in frame.to_dicts():
        await jobs.scoring.score(as_request(row), model_id=None, explain=False)
    expected = {row["transaction_id"]: row["input_features"]["features"] for row in await jobs.stored()}
    events = await history(jobs.database)
    async with jobs.database.connection() as conn:
        await conn.execute("TRUNCATE predictions, entity_events")
    half = frame.height // 2
    for row in frame.head(half).to_dicts():
        await jobs.scoring.score(as_request(row), model_id=None, explain=False)
    shuffled = frame.tail(frame.height - half).sample(fraction=1, shuffle=True, seed=5)
    job = await jobs.run(await jobs.asked(shuffled))
    assert (job.status, job.slice_count) == (JobStatus.COMPLETED, 2)
    found = {row["transaction_id"]: row["input_features"]["features"] for row in await jobs.stored()}
    assert found == expected
    assert any(value for features in expected.values() for value in features.values())
    assert await history(jobs.database) == events
    assert (await jobs.result(job))["transaction_id"].to_list() == shuffled["order_id"].to_list()


async def history(database: Database) -> list[Row]:
    """Every event, without its layout's number."""
    async with database.connection() as conn:
        cursor = await conn.execute(
            "SELECT entity, key, occurred_at, id_hash, label, payload FROM entity_events ORDER BY 1, 2, 3, 4"
        )
        return await cursor.fetchall()


async def test_the_model_is_chosen_when_the_job_is_asked_for(jobs: Jobs) -> None:
    """A promotion between two slices changes nothing: every row carries the job's model."""
    frame = orders()
    first = await registered(jobs.database, jobs.blobs, packed_model(frame, PLAIN))
    job = await jobs.asked(frame)
    await jobs.stages.prepare(job.id)
    await jobs.stages.score(job.id, 0)
    async with jobs.database.connection() as conn:
        await conn.execute("UPDATE ml_models SET status = 'ARCHIVED'")
    await registered(jobs.database, jobs.blobs, packed_model(frame, PLAIN))
    await jobs.stages.score(job.id, 1)
    await jobs.stages.score(job.id, 2)
    await jobs.stages.finish(job.id)
    assert {row["model_id"] for row in await jobs.stored()} == {first}


async def test_cancel_takes_effect_between_slices(jobs: Jobs) -> None:
    """What was stored stays, nothing is added, what lay there for the job is tidied up, and there is no result."""
    frame = orders()
    await registered(jobs.database, jobs.blobs, packed_model(frame, PLAIN))
    job = await jobs.asked(frame)
    await jobs.stages.prepare(job.id)
    await jobs.stages.score(job.id, 0)
    assert (await jobs.cancel(job.id)).status is JobStatus.CANCELLED
    assert (await jobs.stages.score(job.id, 1))["status"] == "CANCELLED"
    assert (await jobs.stages.finish(job.id))["status"] == "CANCELLED"
    assert len(await jobs.stored()) == 200
    with pytest.raises(Conflict):
        await jobs.service.result_url(job.id)
    with pytest.raises(BlobMissing):
        await jobs.blobs.read_bytes(upload_path(job.source_id))
    assert (await jobs.cancel(job.id)).status is JobStatus.CANCELLED


async def test_cancelled_while_a_slice_is_on_its_way(jobs: Jobs) -> None:
    """The slice finds out when it is about to commit, and stores nothing."""
    frame = orders(200)
    await registered(jobs.database, jobs.blobs, packed_model(frame, PLAIN))
    job = await jobs.asked(frame)
    await jobs.stages.prepare(job.id)
    async with jobs.database.transaction() as conn:
        await conn.execute("UPDATE scoring_jobs SET status = 'CANCELLED'")
        slice_ = asyncio.create_task(jobs.stages.score(job.id, 0))
        await somebody_waits(jobs.database)
    assert (await slice_)["status"] == "CANCELLED"
    assert await jobs.stored() == []


async def somebody_waits(database: Database) -> None:
    """Return when somebody waits for a row of scoring_jobs."""
    async with database.connection() as conn:
        for _ in range(1000):
            cursor = await conn.execute(
                "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
                "AND query LIKE 'UPDATE scoring_jobs%'"
            )
            if await cursor.fetchone() is not None:
                return
            await asyncio.sleep(0.01)
    raise AssertionError("nobody waits")


async def test_files_that_cannot_be_scored_fail_with_the_reason(jobs: Jobs, tmp_path: Path) -> None:
    """Unreadable, empty, or without a column that is required: FAILED, and the message says which."""
    frame = orders(20)
    await registered(jobs.database, jobs.blobs, packed_model(frame, PLAIN))
    reasons = []
    for content in (b"\x00\x01\x02 a picture", b"order_id,amount\n", as_csv(frame.drop("time"))):
        job = await jobs.run(await jobs.asked(content))
        assert job.status is JobStatus.FAILED
        reasons.append(job.error_message or "")
    assert "neither CSV nor Parquet" in reasons[0]
    assert "no rows" in reasons[1]
    assert "time: the file has no such column" in reasons[2]


async def test_what_is_known_at_once_is_refused_at_once(jobs: Jobs, origin: Origin, system: Caller) -> None:
    """No model, no such upload or dataset, and two sources are no job."""
    with pytest.raises(Conflict):
        await jobs.asked(orders(5))
    await registered(jobs.database, jobs.blobs, packed_model(orders(20), PLAIN))
    for source in ({"upload_id": uuid4()}, {"dataset_id": uuid4()}):
        with pytest.raises(InvalidContent):
            await jobs.service.create(ScoringJobRequest(**source), caller=system, origin=origin)
    with pytest.raises(ValueError, match="either"):
        ScoringJobRequest(dataset_id=uuid4(), upload_id=uuid4())


async def test_a_dataset_is_scored_unless_it_is_deleted(jobs: Jobs) -> None:
    """The registered file is the source, and stays; its labels are not part of what is stored."""
    frame = orders(50)
    await registered(jobs.database, jobs.blobs, packed_model(frame, PLAIN))
    dataset_id = await jobs.dataset(frame)
    job = await jobs.run(await jobs.of_dataset(dataset_id))
    assert (job.status, job.rows_scored) == (JobStatus.COMPLETED, 50)
    assert all("is_fraud" not in row["input_features"]["transaction"] for row in await jobs.stored())
    assert (await jobs.run(await jobs.of_dataset(dataset_id))).rows_scored == 50
    async with jobs.database.connection() as conn:
        await conn.execute("UPDATE datasets SET status = 'ARCHIVED'")
    with pytest.raises(Conflict):
        await jobs.of_dataset(dataset_id)


async def test_stored_predictions_are_explained_when_read(jobs: Jobs) -> None:
    """A prediction of a file is read like any other, its reasons computed from what is stored."""
    frame = orders(50)
    await registered(jobs.database, jobs.blobs, packed_model(frame, PLAIN))
    await jobs.run(await jobs.asked(frame))
    row = (await jobs.stored())[0]
    prediction, found, _ = await jobs.scoring.get(row["id"])
    margin = found.base_value + sum(found.contributions.values())
    assert 1 / (1 + np.exp(-margin)) == pytest.approx(prediction.fraud_score, abs=1e-5)
