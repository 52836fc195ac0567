"""Who may train, and when: places, order, and what becomes of them."""

import asyncio
from uuid import UUID, uuid4

import pytest
from psycopg.types.json import Jsonb

from shared.audit.model import Origin
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.training.model import JobFilter, JobStatus, TrainingJob, TrainingRequest
from shared.training.service import TrainingService
from shared.users.model import Caller
from tests.fixtures.artifacts import packed_model

PLACES = 5


@pytest.fixture
def service(database: Database, blobs: BlobStore) -> TrainingService:
    return TrainingService(database, blobs, utc_now, concurrency=PLACES)


@pytest.fixture
async def jobs(
    service: TrainingService, database: Database, blobs: BlobStore, origin: Origin, system: Caller
) -> list[TrainingJob]:
    """Eight jobs, asked for one after the other."""
    dataset_id, feature_set_id = uuid4(), uuid4()
    async with database.transaction() as conn:
        await conn.execute("INSERT INTO datasets (id, name, storage_path) VALUES (%s, 'd', 'p')", (dataset_id,))
        await conn.execute(
            "INSERT INTO feature_sets (id, dataset_id, name, config, status) VALUES (%s, %s, 'f', %s, 'COMPLETED')",
            (feature_set_id, dataset_id, Jsonb({})),
        )
    await blobs.upload_bytes(f"feature_sets/{feature_set_id}/plan.json", packed_model().files["plan.json"])
    request = TrainingRequest(name="queue", feature_set_id=feature_set_id)
    return [await service.create(request, caller=system, origin=origin) for _ in range(8)]


async def _statuses(service: TrainingService, jobs: list[TrainingJob]) -> list[str]:
    return [(await service.get(job.id)).status.value for job in jobs]


async def _positions(service: TrainingService, jobs: list[TrainingJob]) -> list[int | None]:
    return [(await service.get(job.id)).queue_position for job in jobs]


async def test_five_run_and_the_others_wait_in_line(service: TrainingService, jobs: list[TrainingJob]) -> None:
    """Twenty workers that admit at the same moment fill five places, with the five that came first."""
    assert await _positions(service, jobs) == list(range(1, 9))
    admitted = await asyncio.gather(*(service.admit() for _ in range(20)))
    assert sorted(name for names in admitted for name in names) == sorted(
        str(job.orchestration_id) for job in jobs[:PLACES]
    )
    assert await _statuses(service, jobs) == ["RUNNING"] * 5 + ["QUEUED"] * 3
    assert await _positions(service, jobs) == [None] * 5 + [1, 2, 3]
    listed, _ = await service.list_page(JobFilter(status=JobStatus.QUEUED))
    assert {job.id: job.queue_position for job in listed} == {jobs[5].id: 1, jobs[6].id: 2, jobs[7].id: 3}


async def test_a_place_goes_to_the_one_who_waited_longest(
    service: TrainingService, jobs: list[TrainingJob], origin: Origin, system: Caller
) -> None:
    """However a job ends, its place is free; who is cancelled while waiting holds up nobody."""
    await service.admit()
    await service.cancel(jobs[5].id, caller=system, origin=origin)
    assert await service.admit() == []
    await service.stages.fail(jobs[0].id, "no longer wanted")
    assert await service.admit() == [jobs[6].orchestration_id]
    await service.cancel(jobs[3].id, caller=system, origin=origin)
    assert await service.admit() == [jobs[7].orchestration_id]
    assert await service.admit() == []


async def test_cancelling_while_admitting_neither_overfills_nor_revives(
    service: TrainingService, jobs: list[TrainingJob], origin: Origin, system: Caller
) -> None:
    """A job is admitted or cancelled first, never both, and no more than five run."""

    async def cancel(job_id: UUID) -> None:
        await service.cancel(job_id, caller=system, origin=origin)

    await asyncio.gather(*(service.admit() for _ in range(5)), *(cancel(job.id) for job in jobs[:3]))
    await service.admit()
    statuses = await _statuses(service, jobs)
    assert statuses == ["CANCELLED"] * 3 + ["RUNNING"] * 5


async def test_the_queue_is_as_old_as_its_first_job(
    service: TrainingService, jobs: list[TrainingJob], database: Database
) -> None:
    """Running jobs do not count; without a job in line there is no age."""
    async with database.transaction() as conn:
        for minutes, job in enumerate(jobs):
            await conn.execute(
                "UPDATE training_jobs SET queued_at = now() - make_interval(mins => %s), status = %s WHERE id = %s",
                (minutes, "RUNNING" if minutes == 7 else "QUEUED", job.id),
            )
    age = await service.queue_age()
    async with database.transaction() as conn:
        await conn.execute("UPDATE training_jobs SET status = 'RUNNING'")
    assert age is not None
    assert 6 * 60 <= age.total_seconds() < 6 * 60 + 30
    assert await service.queue_age() is None
