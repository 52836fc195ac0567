"""A worker is killed, or the job cancelled, at every call to the database and to Blob that any stage makes."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from shared.audit.model import Origin
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Connection, Database
from shared.platform.errors import Conflict
from shared.training.artifact_store import read_artifact
from shared.training.artifacts import verify_artifact
from shared.training.job_stages import StageResult
from shared.training.model import TrainingJob, job_prefix, model_id_of, model_prefix
from shared.training.service import TrainingService
from shared.training.slices import SliceLimits
from shared.training.stages import TrainingStages
from shared.training.worker_cache import TableCache
from shared.users.model import Caller
from tests.fixtures.training import make_feature_set, started, training_request, transactions

if TYPE_CHECKING:
    from azure.storage.blob.aio import ContainerClient

pytestmark = pytest.mark.slow

# The stages, and which time they come: the last advance_search chooses the winner, the last train_slice ends boosting.
POINTS = [
    ("prepare", 0),
    ("advance_search", 0),
    ("advance_search", 2),
    ("run_trials", 0),
    ("run_trials", 3),
    ("train_slice", 0),
    ("train_slice", 1),
    ("evaluate", 0),
    ("load_history", 0),
    ("register", 0),
]
SEARCH = {"trials": 2, "space": {"max_depth": [2, 3]}}
ROUNDS = {"n_estimators": 6, "learning_rate": 0.3, "early_stopping_rounds": None}


class Killed(BaseException):
    """The process is gone: nothing that the stage would still do happens."""


@dataclass
class Fuse:
    """Lets ``calls`` calls to the database and to Blob pass, and blows at the next one."""

    calls: int
    blown: bool = False

    def blows(self) -> bool:
        """Whether this call is the one."""
        self.calls -= 1
        self.blown = self.blown or self.calls < 0
        return self.calls == -1


class FusedBlobs(BlobStore):
    """The same container, until a fuse blows."""

    def __init__(self, like: BlobStore, fuse: Fuse) -> None:
        super().__init__(container=like.container_name, connection_string=like._connection_string)
        self._fuse = fuse

    def _container(self) -> "ContainerClient":
        if self._fuse.blows():
            raise Killed
        return super()._container()


class FusedDatabase(Database):
    """The same database; ``then`` comes before the call at which a fuse blows."""

    def __init__(self, like: Database, fuse: Fuse, then: Callable[[], Awaitable[None]]) -> None:
        self._like, self._fuse, self._then = like, fuse, then

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        if self._fuse.blows():
            await self._then()
        async with self._like.connection() as conn:
            yield conn

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        if self._fuse.blows():
            await self._then()
        async with self._like.transaction() as conn:
            yield conn


@dataclass
class World:
    """One feature set with a past, and workers that share the database, the container and a disk."""

    database: Database
    blobs: BlobStore
    service: TrainingService
    feature_set_id: UUID
    folder: Path
    caller: Caller
    origin: Origin
    stores: list[BlobStore] = field(default_factory=list)

    async def job(self, name: str) -> TrainingJob:
        request = training_request(self.feature_set_id, name=name, hyperparameters=ROUNDS, search=SEARCH)
        return await started(self.service, request, self.caller, self.origin)

    def worker(self, database: Database | None = None, blobs: BlobStore | None = None) -> TrainingStages:
        limits, tables = SliceLimits(seconds=60, rounds=4), TableCache(self.folder)
        return TrainingStages(database or self.database, blobs or self.blobs, utc_now, limits=limits, tables=tables)

    def mortal(self, fuse: Fuse) -> TrainingStages:
        """A worker that is killed when the fuse blows."""

        async def kill() -> None:
            raise Killed

        blobs = FusedBlobs(self.blobs, fuse)
        self.stores.append(blobs)
        return self.worker(FusedDatabase(self.database, fuse, kill), blobs)

    async def count(self, query: str, *parameters: Any) -> int:
        async with self.database.connection() as conn:
            row = await (await conn.execute(f"SELECT count(*) AS n FROM {query}", parameters)).fetchone()  # type: ignore[call-overload]
        assert row is not None
        return int(row["n"])


@pytest.fixture
async def world(
    database: Database, blobs: BlobStore, tmp_path: Path, origin: Origin, system: Caller
) -> AsyncIterator[World]:
    start = (datetime.now(UTC) - timedelta(days=3)).replace(tzinfo=None)
    frame = transactions(2000, start=start, customers=50)
    feature_set_id = await make_feature_set(database, blobs, tmp_path, frame=frame)
    service = TrainingService(database, blobs, utc_now, concurrency=100)
    world = World(database, blobs, service, feature_set_id, tmp_path / "tables", system, origin)
    yield world
    for store in world.stores:
        await store.close()


async def _orchestrate(call: Callable[..., Awaitable[StageResult]]) -> str:
    """What the orchestration ``train_model`` does once the job has its place; the last status."""
    result = await call("prepare")
    while result["status"] == "RUNNING":
        result = await call("advance_search")
        if result["finished"]:
            break
        for lane in result["lanes"]:
            await call("run_trials", lane)
    while result["status"] == "RUNNING":
        result = await call("train_slice")
        if result["finished"]:
            break
    if result["status"] == "RUNNING":
        result = await call("evaluate")
    first_row: int | None = 0
    while result["status"] == "RUNNING" and first_row is not None:
        result = await call("load_history", first_row)
        first_row = result.get("next_row")
    if result["status"] == "RUNNING":
        result = await call("register")
    return result["status"]


def _stage(worker: TrainingStages | None, name: str) -> Callable[..., Awaitable[StageResult]]:
    stage: Callable[..., Awaitable[StageResult]] = getattr(worker, name)
    return stage


async def _run(
    world: World,
    job_id: UUID,
    point: tuple[str, int] = ("", 0),
    special: TrainingStages | None = None,
    *,
    again: bool = True,
) -> str:
    """A job's life on a worker. At one point a special one takes over; if that is killed, the stage is done again, or
    with ``again`` false nothing more is.
    """
    healthy = world.worker()
    seen: list[str] = []

    async def call(name: str, *arguments: Any) -> StageResult:
        here = (name, seen.count(name)) == point
        seen.append(name)
        if here:
            with suppress(*([Killed] if again else [])):
                return await _stage(special, name)(job_id, *arguments)
        return await _stage(healthy, name)(job_id, *arguments)

    return await _orchestrate(call)


@pytest.mark.parametrize("point", POINTS)
async def test_a_worker_killed_at_any_call_of_a_stage_changes_nothing(world: World, point: tuple[str, int]) -> None:
    """One model, the same bytes, the same past, one audit entry, and no file left behind."""
    quiet = await world.job("quiet")
    assert await _run(world, quiet.id) == "COMPLETED"
    expected = await world.blobs.read_bytes(model_prefix(model_id_of(quiet.id)) + "model.ubj")
    events = await world.count("entity_events")
    assert events > 0
    deaths = 0
    while True:
        job, fuse = await world.job("killed"), Fuse(deaths)
        assert await _run(world, job.id, point, world.mortal(fuse)) == "COMPLETED"
        model_id = model_id_of(job.id)
        files = await read_artifact(world.blobs, model_id)
        assert files["model.ubj"] == expected
        async with world.database.connection() as conn:
            found = await conn.execute(
                "SELECT id, artifact_sha256 FROM ml_models WHERE training_job_id = %s", (job.id,)
            )
            rows = await found.fetchall()
        assert [row["id"] for row in rows] == [model_id]
        verify_artifact(files, rows[0]["artifact_sha256"])
        assert await world.count("audit_logs WHERE resource_id = %s", model_id) == 1
        assert await world.count("entity_events") == events
        assert await world.blobs.delete_prefix(job_prefix(job.id)) == 0
        assert await world.blobs.delete_prefix(model_prefix(model_id)) == len(files)
        if not fuse.blown:
            break
        deaths += 1
    assert deaths, "it was killed nowhere"


@pytest.mark.parametrize("point", POINTS)
async def test_a_job_begun_anew_at_any_stage_goes_on(world: World, point: tuple[str, int]) -> None:
    """As when its orchestration was lost and the watchdog starts another: the same model, and no work done twice that
    was on record.
    """
    quiet, job = await world.job("quiet"), await world.job("anew")
    assert await _run(world, quiet.id) == "COMPLETED"
    with pytest.raises(Killed):
        await _run(world, job.id, point, world.mortal(Fuse(0)), again=False)
    before = await world.service.get(job.id)
    assert await _run(world, job.id) == "COMPLETED"
    models = [await world.blobs.read_bytes(model_prefix(model_id_of(j.id)) + "model.ubj") for j in (quiet, job)]
    assert models[0] == models[1]
    after = await world.service.get(job.id)
    assert after.metrics is not None
    assert before.search is not None
    assert after.search is not None
    for trial, later in zip(before.search.trials, after.search.trials, strict=True):
        assert later.seconds == trial.seconds or not trial.scores
    assert after.metrics["slices"] == 2
    assert await world.count("ml_models WHERE training_job_id = %s", job.id) == 1
    assert await world.blobs.delete_prefix(job_prefix(job.id)) == 0


@pytest.mark.parametrize("point", POINTS)
async def test_a_job_cancelled_at_any_call_of_a_stage_leaves_nothing(world: World, point: tuple[str, int]) -> None:
    """No model, no file, and it stays cancelled; once the model is registered cancelling is refused."""
    cancelled = 0
    while True:
        job, fuse, refused = await world.job("cancelled"), Fuse(cancelled), False

        async def cancel(job_id: UUID = job.id) -> None:
            nonlocal refused
            try:
                await world.service.cancel(job_id, caller=world.caller, origin=world.origin)
            except Conflict:
                refused = True

        status = await _run(world, job.id, point, world.worker(FusedDatabase(world.database, fuse, cancel)))
        model_id, registered = model_id_of(job.id), refused or not fuse.blown
        assert status == ("COMPLETED" if registered else "CANCELLED")
        assert (await world.service.get(job.id)).status.value == status
        assert await world.count("ml_models WHERE id = %s", model_id) == int(registered)
        assert (await world.blobs.delete_prefix(model_prefix(model_id)) > 0) == registered
        assert await world.blobs.delete_prefix(job_prefix(job.id)) == 0
        if not fuse.blown:
            break
        cancelled += 1
    assert cancelled, "it was cancelled nowhere"
