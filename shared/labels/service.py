"""Taking labels, keeping what was told, and letting those wait that came before their transaction."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from shared.archiving.months import ArchivedMonths, archived_prediction
from shared.audit import service as audit
from shared.audit.model import Origin
from shared.features.history.store import RETENTION, HistoryStore
from shared.labels import repository
from shared.labels.ledger import Told
from shared.labels.model import LabelBatch, LabelOutcome, NewLabel, RecordedLabel, check_times
from shared.labels.recording import Asked, LabelRecorder
from shared.labels.telling import HistoryTelling
from shared.platform.clock import Clock
from shared.platform.database import Database
from shared.platform.errors import NotFound, Unavailable
from shared.scoring.identifiers import created_at
from shared.scoring.service import ScoringService
from shared.users.model import Caller

_MOST_WAITING: Final = 32
_TRIED_AT_ONCE: Final = 2_000


class LabelService:
    """Use cases of labels."""

    def __init__(
        self, database: Database, scoring: ScoringService, clock: Clock, *, history_retention: timedelta = RETENTION
    ) -> None:
        self._database = database
        self._scoring = scoring
        self._clock = clock
        self._telling = HistoryTelling(database, HistoryStore(database, clock, retention=history_retention))
        self._recorder = LabelRecorder(database, scoring, self._telling)
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def record(self, batch: LabelBatch, *, caller: Caller, origin: Origin) -> list[LabelOutcome]:
        """Record labels in one transaction, in their order; one outcome for each.

        A label of a transaction that was not scored waits until it is. History knows the labels when this returns,
        except layouts that lag behind (:meth:`catch_up`).

        :raises InvalidContent: an event time cannot be true; nothing was recorded.
        :raises Unavailable: the database is away, or many calls wait already; nothing was recorded.
        """
        now = self._clock()
        check_times(batch.labels, now)
        asked = [_asked(label, now, caller) for label in batch.labels]
        async with self._one_at_a_time():
            results = await self._recorder.record(asked, origin, caller)
        return [
            LabelOutcome(label.transaction_id, label.prediction_id, outcome, predictions)
            for label, (outcome, predictions) in zip(batch.labels, results, strict=True)
        ]

    async def settle_pending(self, origin: Origin) -> int:
        """Apply the labels whose transaction was scored since they came; returns how many ids were looked at.

        Those that were not looked at for longest come first, a few thousand a call.
        """
        async with self._one_at_a_time():
            async with self._database.connection() as conn:
                waiting = await repository.try_pending(conn, _TRIED_AT_ONCE)
            if waiting:
                await self._recorder.record([(target, None) for target in waiting], origin, None)
            return len(waiting)

    async def catch_up(self) -> int:
        """Tell the history of every model that may serve what it has missed; returns how many labels that were."""
        plans = await self._scoring.history_plans()
        return sum([await self._telling.catch_up(plan) for plan in plans])

    async def forget_pending(self, before: datetime, origin: Origin) -> int:
        """Remove the labels that have waited since before a moment; returns how many."""
        async with self._database.transaction() as conn:
            removed = await repository.forget_pending(conn, before)
            if removed:
                await audit.record(
                    conn, origin, None, action="DELETE", resource_type="pending_label", resource_id=None,
                    old={"labels": removed}, metadata={"recorded_before": before.isoformat()},
                )  # fmt: skip
        return removed

    async def list_of_prediction(self, prediction_id: UUID, *, before: int, limit: int) -> list[RecordedLabel]:
        """What was told of a prediction, newest first, from behind a row's id on.

        :raises NotFound: there is no such prediction, or it is archived.
        """
        at = created_at(prediction_id)
        if at is not None:
            async with self._database.connection() as conn:
                if await repository.find(conn, {prediction_id: at}, with_input=False):
                    return await repository.list_of_prediction(conn, prediction_id, at, before=before, limit=limit)
            if await ArchivedMonths(self._database).holds(at):
                raise archived_prediction(at)
        raise NotFound("no prediction has this id", target="prediction_id")

    @asynccontextmanager
    async def _one_at_a_time(self) -> AsyncIterator[None]:
        """Take turns within the worker: who waits here holds no connection that scoring may need."""
        if self._waiting >= _MOST_WAITING:
            raise Unavailable("many label calls wait already", retry_after=2, target="labels")
        self._waiting += 1
        try:
            async with self._turn:
                yield
        finally:
            self._waiting -= 1


def _asked(label: NewLabel, now: datetime, caller: Caller) -> Asked:
    target = label.prediction_id or label.transaction_id
    assert target is not None
    timed = label.labeled_at is not None
    return target, Told(label.is_fraud, label.labeled_at or now, label.source, now, caller.user_id, timed)
