"""Idempotency keys on a real database: one run commits, whoever is slow and whatever dies in between."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from shared.audit.model import AuditFilter, Origin
from shared.audit.service import AuditService, record
from shared.idempotency.model import Claim, InProgress, KeyedRequest, KeyReused, StoredAnswer
from shared.idempotency.service import IdempotencyService
from shared.platform.database import Database

REQUEST = KeyedRequest("user:1", "start_training_job", "key-1", b"a" * 32)
ANSWER = StoredAnswer(202, {"Operation-Location": "/api/v1/training/jobs/1"}, b'{"data": 1}')


@pytest.fixture
def keys(database: Database) -> IdempotencyService:
    return IdempotencyService(database)


@pytest.fixture
def overdue(database: Database) -> IdempotencyService:
    """Claims run out at once, as if their runs had died."""
    return IdempotencyService(database, lease=timedelta(0))


async def _claimed(service: IdempotencyService, request: KeyedRequest = REQUEST) -> Claim:
    claim = await service.claim(request)
    assert isinstance(claim, Claim)
    return claim


async def _do(database: Database, origin: Origin, claim: Claim, resource_id: UUID) -> None:
    """A change as the services make it."""
    async with database.transaction() as conn:
        await record(
            conn,
            replace(origin, claim=claim.id),
            None,
            action="CREATE",
            resource_type="training_job",
            resource_id=resource_id,
        )


async def _done(audit: AuditService) -> list[UUID | None]:
    return [entry.resource_id for entry in (await audit.list_page(AuditFilter(action="CREATE"), limit=50))[0]]


async def test_what_was_answered_is_answered_again(keys: IdempotencyService) -> None:
    """Status, headers and body, to the same request."""
    await keys.keep(await _claimed(keys), ANSWER)
    assert await keys.claim(REQUEST) == ANSWER


@pytest.mark.parametrize("answered", [True, False])
async def test_another_request_with_the_key_is_refused(keys: IdempotencyService, answered: bool) -> None:
    """Before the answer as after it."""
    claim = await _claimed(keys)
    if answered:
        await keys.keep(claim, ANSWER)
    with pytest.raises(KeyReused):
        await keys.claim(replace(REQUEST, fingerprint=b"b" * 32))


@pytest.mark.parametrize("other", [{"caller": "user:2"}, {"function": "promote_model"}, {"key": "key-2"}])
async def test_keys_belong_to_a_caller_and_a_route(keys: IdempotencyService, other: dict[str, str]) -> None:
    """The same key of another is another key."""
    await keys.keep(await _claimed(keys), ANSWER)
    await _claimed(keys, replace(REQUEST, **other))


async def test_of_twenty_at_once_one_may_act(keys: IdempotencyService) -> None:
    """The others are told to come back."""
    found = await asyncio.gather(*(keys.claim(REQUEST) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(claim, Claim) for claim in found) == 1
    refused = [error for error in found if isinstance(error, InProgress)]
    assert len(refused) == 19
    assert {error.retry_after for error in refused} == {5}


async def test_a_run_that_died_before_its_change_is_replaced(
    database: Database, overdue: IdempotencyService, audit: AuditService, origin: Origin
) -> None:
    """The key is not locked for ever, and the work is done by the second run."""
    await _claimed(overdue)
    second, resource_id = await _claimed(overdue), uuid4()
    assert not second.settled
    await _do(database, origin, second, resource_id)
    assert await _done(audit) == [resource_id]


async def test_a_run_that_died_after_its_change_is_not_repeated(
    database: Database, overdue: IdempotencyService, audit: AuditService, origin: Origin
) -> None:
    """The second run is told what was made, and only has to answer."""
    resource_id = uuid4()
    await _do(database, origin, await _claimed(overdue), resource_id)
    second = await _claimed(overdue)
    assert (second.settled, second.resource_id) == (True, resource_id)
    await overdue.keep(second, ANSWER)
    assert await overdue.claim(REQUEST) == ANSWER
    assert await _done(audit) == [resource_id]


async def test_a_slow_run_that_was_replaced_commits_nothing(
    database: Database, overdue: IdempotencyService, audit: AuditService, origin: Origin
) -> None:
    """Two runs at the same time, one change."""
    slow, quick, resource_id = await _claimed(overdue), await _claimed(overdue), uuid4()
    await _do(database, origin, quick, resource_id)
    with pytest.raises(InProgress):
        await _do(database, origin, slow, uuid4())
    assert await _done(audit) == [resource_id]


async def test_a_change_that_rolls_back_settles_nothing(
    database: Database, overdue: IdempotencyService, origin: Origin
) -> None:
    """The mark is part of the transaction."""
    claim = await _claimed(overdue)
    async with database.transaction() as conn:
        await record(
            conn, replace(origin, claim=claim.id), None, action="CREATE", resource_type="x", resource_id=uuid4()
        )
        raise psycopg.Rollback
    assert not (await _claimed(overdue)).settled


async def test_a_run_that_takes_over_waits_for_a_change_that_is_being_committed(
    database: Database, overdue: IdempotencyService, origin: Origin
) -> None:
    """It then finds it settled."""
    claim, resource_id = await _claimed(overdue), uuid4()
    async with database.transaction() as conn:
        await record(
            conn, replace(origin, claim=claim.id), None, action="CREATE", resource_type="x", resource_id=resource_id
        )
        later = asyncio.create_task(_claimed(overdue))
        await asyncio.sleep(0.1)
        assert not later.done()
    assert (await later).resource_id == resource_id


async def test_a_failed_run_frees_the_key(keys: IdempotencyService) -> None:
    """Errors are not kept: the same request may succeed later."""
    await keys.release(await _claimed(keys))
    assert not (await _claimed(keys)).settled


async def test_a_run_that_failed_after_its_change_leaves_it_settled(
    database: Database, keys: IdempotencyService, origin: Origin
) -> None:
    """Whoever asks again is answered at once, without doing it again."""
    claim, resource_id = await _claimed(keys), uuid4()
    await _do(database, origin, claim, resource_id)
    await keys.release(claim)
    assert (await _claimed(keys)).resource_id == resource_id


async def test_what_was_undone_may_be_done_again(database: Database, keys: IdempotencyService, origin: Origin) -> None:
    """A job whose orchestration could not be started, for instance."""
    claim = await _claimed(keys)
    await _do(database, origin, claim, uuid4())
    await keys.forget(claim.id)
    assert not (await _claimed(keys)).settled


async def test_keys_expire_and_are_purged(database: Database, keys: IdempotencyService) -> None:
    """An expired key begins anew even before it is purged, with any request; others stay."""
    brief = IdempotencyService(database, lifetime=timedelta(0))
    await brief.keep(await _claimed(brief), ANSWER)
    assert not (await _claimed(keys, replace(REQUEST, fingerprint=b"c" * 32))).settled
    await brief.keep(await _claimed(brief, replace(REQUEST, key="old")), ANSWER)
    assert await keys.purge() == 1
    with pytest.raises(InProgress):
        await keys.claim(replace(REQUEST, fingerprint=b"c" * 32))
