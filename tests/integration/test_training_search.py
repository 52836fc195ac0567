"""Searches on a real database and a real blob store: what is tried, what is kept, what survives."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from shared.audit.model import Origin
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.platform.errors import InvalidContent
from shared.training import repository
from shared.training.algorithms import ALGORITHMS
from shared.training.artifact_store import read_metadata
from shared.training.job_stages import StageResult
from shared.training.model import JobStatus, TrainingJob, job_prefix
from shared.training.search import MOST_ATTEMPTS, Search
from shared.training.service import TrainingService
from shared.training.slices import SliceLimits
from shared.training.stages import TrainingStages
from shared.training.worker_cache import TableCache
from shared.users.model import Caller
from tests.fixtures.training import make_feature_set, started, training_request

ROUNDS = {"n_estimators": 90, "learning_rate": 0.3, "max_depth": 3, "early_stopping_rounds": None}
SPACE = {"max_depth": [1, 2, 3, 4], "learning_rate": {"low": 0.01, "high": 0.5, "log": True}}
HALVING = {"method": "successive_halving", "trials": 9, "space": SPACE, "seed": 3}


@pytest.fixture
def service(database: Database, blobs: BlobStore) -> TrainingService:
    return TrainingService(database, blobs, utc_now)


@pytest.fixture
async def feature_set(database: Database, blobs: BlobStore, tmp_path: Path) -> UUID:
    return await make_feature_set(database, blobs, tmp_path)


@pytest.fixture
def worker(database: Database, blobs: BlobStore, tmp_path: Path) -> Callable[..., TrainingStages]:
    """Makes workers that share nothing but the database and the blob store."""

    def make(rounds: int | None = None) -> TrainingStages:
        limits = SliceLimits(seconds=60, rounds=rounds)
        return TrainingStages(database, blobs, utc_now, limits=limits, tables=TableCache(tmp_path / str(uuid4())))

    return make


@pytest.fixture
def ask(service: TrainingService, feature_set: UUID, origin: Origin, system: Caller) -> Callable[[dict[str, Any]], Any]:
    async def make(search: dict[str, Any], **changes: Any) -> TrainingJob:
        request = training_request(feature_set, hyperparameters=ROUNDS, search=search, **changes)
        return await started(service, request, system, origin)

    return make


async def _search_to_the_end(next_worker: Callable[[], TrainingStages], job_id: UUID, *, twice: bool = False) -> int:
    """What the orchestration does; with ``twice`` everything is done two times, side by side. Returns the waves."""
    result = await next_worker().prepare(job_id)
    assert result.get("searched") is False
    waves = 0
    while True:
        step: StageResult = await next_worker().advance_search(job_id)
        if twice:
            step = await next_worker().advance_search(job_id)
        if step["finished"]:
            return waves
        waves += 1
        lanes = step["lanes"] * (2 if twice else 1)
        await asyncio.gather(*(next_worker().run_trials(job_id, lane) for lane in lanes))


async def _train(stages: TrainingStages, job_id: UUID) -> None:
    while not (await stages.train_slice(job_id))["finished"]:
        pass
    await stages.evaluate(job_id)
    await stages.register(job_id)


async def _searched(service: TrainingService, job_id: UUID) -> Search:
    search = (await service.get(job_id)).search
    assert search is not None
    return search


def _outcome(search: Search) -> list[tuple[Any, ...]]:
    """All that must not depend on who did what when."""
    trials = [(t.number, t.hyperparameters, t.status, t.rung, t.scores, t.rounds) for t in search.trials]
    return [(search.winner, search.rung), *trials]


async def test_a_search_ends_in_the_winners_model(
    service: TrainingService,
    worker: Callable[..., TrainingStages],
    blobs: BlobStore,
    ask: Callable[..., Any],
) -> None:
    """Nine, three, one; the job trains the winner in full, and the metadata tells of the search."""
    job = await ask(HALVING)
    stages = worker()
    await _search_to_the_end(lambda: stages, job.id)
    running = await service.get(job.id)
    search = await _searched(service, job.id)
    assert search.winner is not None
    winner = search.trials[search.winner]
    assert [sum(len(t.scores) > rung for t in search.trials) for rung in range(3)] == [9, 3, 1]
    assert [t.rounds for t in search.trials if t.status == "STOPPED" and t.rung == 0] == [10] * 6
    assert winner.rounds == 90
    assert running.hyperparameters == {**job.hyperparameters, **winner.hyperparameters}
    assert 0.3 < running.progress < 0.9
    assert running.eta_seconds is not None
    assert await blobs.delete_prefix(job_prefix(job.id) + "trials/") == 0

    await _train(stages, job.id)
    done = await service.get(job.id)
    assert (done.status, done.current_epoch) == (JobStatus.COMPLETED, 90)
    assert done.final_metrics is not None
    assert done.model_id is not None
    assert done.final_metrics["validation"]["auc_pr"] == pytest.approx(winner.score, abs=1e-9)
    metadata, _, _ = await read_metadata(blobs, done.model_id)
    assert metadata.hyperparameters == running.hyperparameters
    assert metadata.training["search"]["winner"] == search.winner
    [listed], _ = await service.list_page()
    assert listed.metrics is not None
    assert "trials" not in listed.metrics["search"]


async def test_workers_that_die_and_double_change_nothing(
    service: TrainingService, worker: Callable[..., TrainingStages], ask: Callable[..., Any]
) -> None:
    """Four rounds a slice, every activity on two new workers at once: the trials, the scores and the winner of a quiet
    search.
    """
    quiet, stormy = await ask(HALVING), await ask(HALVING)
    stages = worker()
    assert await _search_to_the_end(lambda: stages, quiet.id) == 3
    assert await _search_to_the_end(lambda: worker(rounds=4), stormy.id, twice=True) > 3
    assert _outcome(await _searched(service, stormy.id)) == _outcome(await _searched(service, quiet.id))
    assert (await service.get(stormy.id)).hyperparameters == (await service.get(quiet.id)).hyperparameters


async def test_a_trial_that_cannot_work_is_passed_over(
    service: TrainingService, worker: Callable[..., TrainingStages], database: Database, ask: Callable[..., Any]
) -> None:
    """What it died of stands with it; the others go on."""
    job = await ask({"trials": 3, "space": {"max_depth": [1, 2, 3]}})
    stages = worker()
    await stages.prepare(job.id)
    search = await _searched(service, job.id)
    broken = search.trials[1].model_copy(update={"hyperparameters": {"max_depth": 2, "scale_pos_weight": 1e-320}})
    async with database.transaction() as conn:
        await repository.report_progress(
            conn, job.id, rounds=0, progress=0, metrics={"search": search.with_trial(broken).model_dump(mode="json")}
        )
    await _search_to_the_end(lambda: stages, job.id)
    trials = (await _searched(service, job.id)).trials
    assert [trial.status for trial in trials] == ["COMPLETED", "FAILED", "COMPLETED"]
    assert trials[1].attempts == MOST_ATTEMPTS
    assert trials[1].reason
    assert (await service.get(job.id)).status is JobStatus.RUNNING


async def test_a_trial_that_kills_its_workers_is_given_up(
    service: TrainingService, worker: Callable[..., TrainingStages], database: Database, ask: Callable[..., Any]
) -> None:
    """A worker that is killed cannot say so: beginnings are counted, and forgotten when the trial gets further."""
    job = await ask({"trials": 2, "space": {"max_depth": [1, 2]}})
    stages = worker()
    await stages.prepare(job.id)
    search = await _searched(service, job.id)
    for number, attempts in ((0, MOST_ATTEMPTS), (1, MOST_ATTEMPTS - 1)):
        begun = search.trials[number].model_copy(update={"status": "RUNNING", "attempts": attempts})
        search = search.with_trial(begun)
    async with database.transaction() as conn:
        await repository.report_progress(
            conn, job.id, rounds=0, progress=0, metrics={"search": search.model_dump(mode="json")}
        )
    await _search_to_the_end(lambda: stages, job.id)
    found = await _searched(service, job.id)
    assert (found.trials[0].status, found.trials[0].reason) == ("FAILED", "its worker ended 3 times")
    assert found.winner == 1
    assert found.trials[1].attempts == 0


async def test_a_search_without_a_trial_that_works_fails_the_job(
    service: TrainingService, worker: Callable[..., TrainingStages], database: Database, ask: Callable[..., Any]
) -> None:
    """With what the trials died of."""
    job = await ask({"trials": 2, "space": {"max_depth": [1, 2]}})
    stages = worker()
    await stages.prepare(job.id)
    search = await _searched(service, job.id)
    for trial in search.trials:
        search = search.with_trial(trial.model_copy(update={"status": "FAILED", "reason": "no luck"}))
    async with database.transaction() as conn:
        await repository.report_progress(
            conn, job.id, rounds=0, progress=0, metrics={"search": search.model_dump(mode="json")}
        )
    assert await stages.advance_search(job.id) == {"status": "FAILED", "finished": True}
    assert (await service.get(job.id)).error_message == "no trial could be trained: no luck"


async def test_cancelling_stops_trials_that_are_under_way(
    service: TrainingService,
    worker: Callable[..., TrainingStages],
    blobs: BlobStore,
    ask: Callable[..., Any],
    origin: Origin,
    system: Caller,
) -> None:
    """Trials of ten thousand rounds end within seconds, and leave no files."""
    job = await ask({"trials": 2, "space": {"max_depth": [2, 3], "n_estimators": [10_000]}})
    stages = worker()
    await stages.prepare(job.id)
    step = await stages.advance_search(job.id)
    lanes = [asyncio.ensure_future(stages.run_trials(job.id, lane)) for lane in step["lanes"]]
    under_way = await _searched(service, job.id)
    while {trial.status for trial in under_way.trials} != {"RUNNING"}:  # the database says so, no event does
        await asyncio.sleep(0.1)
        under_way = await _searched(service, job.id)
    await service.cancel(job.id, caller=system, origin=origin)
    results = await asyncio.wait_for(asyncio.gather(*lanes), 20)
    assert results == [{"status": "CANCELLED", "finished": True}] * 2
    assert (await stages.advance_search(job.id))["status"] == "CANCELLED"
    assert await blobs.delete_prefix(job_prefix(job.id)) == 0


async def test_few_rounds_are_halved_by_rows(
    service: TrainingService, worker: Callable[..., TrainingStages], ask: Callable[..., Any]
) -> None:
    """The first rung looks at the latest rows only; the last at all, as the job's own training does."""
    job = await ask({**HALVING, "trials": 3, "space": {"n_estimators": [3, 6, 12]}})
    assert (await _searched(service, job.id)).resource == "rounds"  # by the job's own n_estimators
    few = await service.create(
        training_request(
            job.feature_set_id,
            hyperparameters={**ROUNDS, "n_estimators": 12},
            search={**HALVING, "trials": 3, "space": {"max_depth": [1, 3, 6]}},
        ),
        caller=Caller(role="admin"),  # type: ignore[arg-type]
        origin=Origin("test"),
    )
    await service.admit()
    await _search_to_the_end(lambda: worker(rounds=5), few.id)
    search = await _searched(service, few.id)
    assert search.resource == "rows"
    assert search.winner is not None
    winner = search.trials[search.winner]
    assert (len(winner.scores), winner.rounds) == (2, 12)
    stages = worker()
    await _train(stages, few.id)
    done = await service.get(few.id)
    assert done.final_metrics is not None
    assert done.final_metrics["validation"]["auc_pr"] == pytest.approx(winner.score, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, entry in ALGORITHMS.items() if entry.requires is None])
async def test_every_algorithm_can_be_searched(
    service: TrainingService,
    worker: Callable[..., TrainingStages],
    feature_set: UUID,
    origin: Origin,
    system: Caller,
    name: str,
) -> None:
    """In its own space, by halving; the winner's model is the job's."""
    search = {"method": "successive_halving", "trials": 3}
    request = training_request(feature_set, algorithm=name, hyperparameters={}, search=search)
    job = await started(service, request, system, origin)
    stages = worker()
    await _search_to_the_end(lambda: stages, job.id)
    found = await _searched(service, job.id)
    assert found.winner is not None
    assert sorted(trial.status for trial in found.trials) == ["COMPLETED", "STOPPED", "STOPPED"]
    assert not [trial.reason for trial in found.trials if trial.reason]
    await _train(stages, job.id)
    done = await service.get(job.id)
    assert done.final_metrics is not None
    assert done.final_metrics["validation"]["auc_pr"] == pytest.approx(found.trials[found.winner].score, abs=1e-6)


async def test_a_space_that_makes_no_sense_never_becomes_a_job(
    service: TrainingService, feature_set: UUID, origin: Origin, system: Caller
) -> None:
    """Refused at once."""
    request = training_request(feature_set, search={"space": {"max_depth": [99]}})
    with pytest.raises(InvalidContent, match="space"):
        await service.create(request, caller=system, origin=origin)
    assert await service.list_page() == ([], 0)
