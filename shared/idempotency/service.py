"""Acting once on each key, whoever asks how often, and whatever dies in between.

A run claims the key's row for a time. The change itself settles the claim in its own transaction (``audit.record`` does
it), and a claim that was taken over cannot: so of two runs, one commits. A later run finds the claim settled and only
renders the answer.
"""

from contextlib import suppress
from datetime import timedelta
from typing import Final
from uuid import UUID, uuid4

from shared.idempotency import repository
from shared.idempotency.model import Claim, InProgress, KeyedRequest, KeyReused, StoredAnswer
from shared.platform.database import Connection, Database
from shared.platform.errors import Unavailable
from shared.platform.telemetry import get_logger

ANSWER_NOT_KEPT: Final = "idempotent_answer_not_kept"

_LEASE: Final = timedelta(minutes=5)  # longer than a request lives at the platform's front end
_LIFETIME: Final = timedelta(hours=24)
_PATIENCE: Final = 5  # seconds that a caller is told to wait at most; most requests are quicker than their lease
_PURGED_AT_ONCE: Final = 1000
_log = get_logger("idempotency")


async def settle(conn: Connection, claim_id: UUID, resource_id: UUID | None) -> None:
    """The change in the transaction of ``conn`` is the work of this claim, on ``resource_id``.

    :raises InProgress: the claim was overdue and another run has taken it over; nothing must be committed.
    """
    if not await repository.settle(conn, claim_id, resource_id):
        raise InProgress("a later request with this key has taken over", retry_after=1)


class IdempotencyService:
    """Claims keys, and keeps answers for a day.

    :param lease: how long a run may take before another one may begin in its place.
    """

    def __init__(self, database: Database, *, lease: timedelta = _LEASE, lifetime: timedelta = _LIFETIME) -> None:
        self._database = database
        self._lease = lease
        self._lifetime = lifetime

    async def claim(self, request: KeyedRequest) -> Claim | StoredAnswer:
        """The right to act on a request, or what was answered to it before.

        :raises KeyReused: the key came with another request.
        :raises InProgress: a run is at work on it.
        """
        async with self._database.connection() as conn:
            claim = await repository.claim(conn, request, uuid4(), lease=self._lease, lifetime=self._lifetime)
            if claim is not None:
                return claim
            known = await repository.look(conn, request)
        if known is None:  # released just now
            raise InProgress("a request with this key has just failed", retry_after=1)
        if known["fingerprint"] != request.fingerprint:
            raise KeyReused("this key came with another request before", target="Idempotency-Key")
        if known["status"] is None:
            retry_after = min(max(1, known["seconds"]), _PATIENCE)
            raise InProgress("a request with this key is in progress", retry_after=retry_after)
        return StoredAnswer(known["status"], known["headers"], known["body"])

    async def keep(self, claim: Claim, answer: StoredAnswer) -> None:
        """Store what is answered. The work is done: a database that is away now only delays who asks again."""
        try:
            async with self._database.connection() as conn:
                await repository.keep(conn, claim.id, answer)
        except Unavailable:
            _log.warning(ANSWER_NOT_KEPT, claim=str(claim.id))

    async def release(self, claim: Claim) -> None:
        """The run has failed. Where nothing was committed the key is free; where something was, it stays settled."""
        with suppress(Unavailable):  # then the claim runs out
            async with self._database.connection() as conn:
                await repository.release(conn, claim.id)

    async def forget(self, claim_id: UUID) -> None:
        """What the run did was undone: the key is free."""
        async with self._database.connection() as conn:
            await repository.forget(conn, claim_id)

    async def purge(self) -> int:
        """Delete the keys that have expired; how many."""
        purged = 0
        async with self._database.connection() as conn:
            while some := await repository.purge(conn, _PURGED_AT_ONCE):
                purged += some
        return purged
