"""A transaction that is sent again gets its first answer; it is neither stored nor counted a second time."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.platform.errors import Conflict, InvalidContent
from shared.registry.lifecycle import ModelStatus
from shared.scoring.prepared import Answer
from shared.scoring.service import ScoringService
from tests.fixtures.scoring import Platform

TRANSACTION = {"transaction_id": "order-1", "amount": 12.5, "kind": "gift"}
WINDOW = timedelta(hours=24)


@pytest.fixture
async def worker(platform: Platform) -> ScoringService:
    """A worker with a model in production, and the window open."""
    await platform.promoted()
    return platform.worker(duplicate_window=WINDOW)


async def score(worker: ScoringService, *, explain: bool = False, sender: UUID | None = None, **changes: Any) -> Answer:
    """Score a transaction, by default always the same."""
    return await worker.score({**TRANSACTION, **changes}, model_id=None, explain=explain, sender=sender)


async def stored(database: Database) -> list[UUID]:
    """The predictions that there are."""
    async with database.connection() as conn:
        return [row["id"] async for row in await conn.execute("SELECT id FROM predictions ORDER BY created_at, id")]


def told(answer: Answer) -> tuple[Any, ...]:
    """What a client is told."""
    prediction = answer.prediction
    return (
        *(prediction.id, prediction.score, prediction.is_fraud, prediction.confidence, prediction.created_at),
        *(prediction.latency_ms, prediction.transaction_id, answer.model.id, answer.reasons),
    )


@pytest.mark.parametrize("explain", [False, True])
async def test_the_first_answer_is_given_again(platform: Platform, worker: ScoringService, explain: bool) -> None:
    """The same prediction, score, decision and reasons, if any; by any worker, and with the fields in any order."""
    first = await score(worker, explain=explain)
    assert bool(first.reasons) == explain
    again = await worker.score(dict(reversed(TRANSACTION.items())), model_id=None, explain=False)
    elsewhere = await score(platform.worker(duplicate_window=WINDOW))
    assert told(again) == told(elsewhere) == told(first)
    assert await stored(platform.database) == [first.prediction.id]


async def test_reasons_are_given_to_whoever_asks_for_them_only_now(worker: ScoringService) -> None:
    """The first answer had none; explained, it is still the same prediction."""
    first = await score(worker)
    explained = await score(worker, explain=True)
    assert first.found is None
    assert explained.prediction.id == first.prediction.id
    assert explained.found is not None
    assert explained.reasons


async def test_another_transaction_under_the_same_id_is_refused(platform: Platform, worker: ScoringService) -> None:
    """It is a conflict, and the first stays what it was."""
    first = await score(worker)
    with pytest.raises(Conflict, match="another transaction"):
        await score(worker, amount=13.5)
    assert (await score(worker)).prediction.id == first.prediction.id
    assert await stored(platform.database) == [first.prediction.id]


async def test_neighbours_of_a_repeated_transaction_are_scored(platform: Platform, worker: ScoringService) -> None:
    """In one batch: two of the same, another under its id, one stored before, one that does not fit, and new ones."""
    before = await score(worker, transaction_id="before")
    results = await asyncio.gather(
        score(worker, transaction_id="new-1"),
        score(worker, transaction_id="twice"),
        score(worker, transaction_id="twice"),
        score(worker, transaction_id="twice", amount=1.0),
        score(worker, transaction_id="before"),
        score(worker, transaction_id="wrong", amount="much"),
        score(worker, transaction_id="new-2"),
        return_exceptions=True,
    )
    answers = [result.prediction.id if isinstance(result, Answer) else type(result) for result in results]
    assert answers[1] == answers[2]
    assert answers[3:6] == [Conflict, before.prediction.id, InvalidContent]
    assert sorted(await stored(platform.database)) == sorted([before.prediction.id, answers[0], answers[1], answers[6]])


async def test_workers_at_once_store_a_transaction_once(platform: Platform, worker: ScoringService) -> None:
    """Whichever comes first, over lanes and workers, and in whatever order their batches hold the transactions."""
    workers = [worker, *(platform.worker(duplicate_window=WINDOW) for _ in range(3))]
    names = [f"order-{number}" for number in range(60)]
    orders = [names, names[::-1], names[30:] + names[:30], names[::2] + names[1::2]]
    found = await asyncio.gather(
        *(
            score(one, transaction_id=name)
            for one, order in zip(workers, orders, strict=True)
            for name in [*order, *order]
        )
    )
    by_name: dict[str | None, set[UUID]] = {}
    for answer in found:
        by_name.setdefault(answer.prediction.transaction_id, set()).add(answer.prediction.id)
    assert len(by_name) == 60
    assert all(len(predictions) == 1 for predictions in by_name.values())
    assert sorted(await stored(platform.database)) == sorted(min(predictions) for predictions in by_name.values())


async def test_transactions_without_an_id_are_never_repeated(platform: Platform, worker: ScoringService) -> None:
    """Equal in everything, they are two."""
    for _ in range(2):
        await worker.score({"amount": 12.5, "kind": "gift"}, model_id=None, explain=False)
    assert len(await stored(platform.database)) == 2


async def test_what_others_send_is_theirs(platform: Platform, worker: ScoringService) -> None:
    """The machines, each user and each model that is named know their own transactions only."""
    staged = await platform.move(await platform.trained(), ModelStatus.STAGING)
    machine = await score(worker)
    person = await score(worker, sender=UUID(int=1), amount=99.0)
    named = await worker.score(TRANSACTION, model_id=staged, explain=False)
    assert len({machine.prediction.id, person.prediction.id, named.prediction.id}) == 3
    assert named.model.id == staged


async def test_a_promotion_does_not_change_the_first_answer(platform: Platform, worker: ScoringService) -> None:
    """It is that of the model that gave it."""
    first = await score(worker)
    second = await platform.promoted()
    assert told(await score(worker)) == told(first)
    assert (await score(worker, transaction_id="order-2")).model.id == second


async def test_after_the_window_a_transaction_is_new(platform: Platform, worker: ScoringService) -> None:
    """From the first submission on, however often it came; and then the window begins anew."""
    first = await score(worker)
    platform.now = utc_now() + WINDOW + timedelta(seconds=1)
    second = await score(worker, amount=20.0)
    assert second.prediction.id != first.prediction.id
    assert (await score(worker, amount=20.0)).prediction.id == second.prediction.id


async def test_old_submissions_are_forgotten(platform: Platform, worker: ScoringService) -> None:
    """Those that the window has left behind, and no others."""
    await score(worker)
    platform.now = utc_now() + timedelta(hours=12)
    await score(worker, transaction_id="order-2")
    platform.now = utc_now() + WINDOW + timedelta(seconds=1)
    assert await worker.forget_submissions() == 1
    assert await worker.forget_submissions() == 0


async def test_without_a_window_every_submission_is_scored(platform: Platform, worker: ScoringService) -> None:
    """And nothing is remembered of it."""
    off = platform.worker()
    first, second = await score(off), await score(off)
    assert first.prediction.id != second.prediction.id
    async with platform.database.connection() as conn:
        row = await (await conn.execute("SELECT count(*) AS n FROM submissions")).fetchone()
    assert row == {"n": 0}


async def test_a_refused_transaction_is_not_remembered(worker: ScoringService) -> None:
    """What did not fit may be corrected under its id."""
    with pytest.raises(InvalidContent):
        await score(worker, amount="much")
    assert (await score(worker)).prediction.transaction_id == "order-1"


async def test_a_row_that_the_database_refuses_fails_alone(platform: Platform, worker: ScoringService) -> None:
    """PostgreSQL's jsonb knows no NUL; its neighbours in the batch are stored, and so are those of the next."""
    live = (await score(worker)).model.id
    results = await asyncio.gather(
        *(score(worker, transaction_id=uuid4().hex, kind="a\x00b" if n == 5 else "gift") for n in range(11)),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [InvalidContent if n == 5 else Answer for n in range(11)]
    assert {result.model.id for result in results if isinstance(result, Answer)} == {live}
    assert len(await stored(platform.database)) == 11
