"""What other models scored becomes history of a model that is about to serve.

Scoring writes events for the layout of the model that scores. A model in waiting is topped up from ``predictions``:
slice by slice, each committed with how far it goes, so that work which was killed goes on where it stood. Whatever is
added twice is stored once: a transaction is known by its id, one without an id by that of its prediction.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Final
from uuid import UUID

from shared.features.history.events import Event, EventLayout
from shared.features.history.store import HistoryStore
from shared.features.online import OnlinePlan
from shared.platform.clock import Clock
from shared.platform.database import Database
from shared.platform.errors import InvalidContent
from shared.platform.telemetry import get_logger
from shared.scoring import repository
from shared.scoring.repository import Scored
from shared.scoring.served import ServedModel

HISTORY_TOPPED_UP: Final = "history_topped_up"
HISTORY_NOT_TOPPED_UP: Final = "history_not_topped_up"

_SLICE: Final = 500  # predictions; a few milliseconds of the event loop that scoring shares
_PATIENCE_SECONDS: Final = 2.0
# A prediction may be committed this much later than it was made, by another instance with another clock.
_OVERLAP: Final = timedelta(minutes=1)
_FIRST: Final = UUID(int=0)
_log = get_logger("scoring")


class HistoryTopUp:
    """Tops up one model at a time and once, however many ask for it."""

    def __init__(self, database: Database, history: HistoryStore, clock: Clock) -> None:
        self._database = database
        self._history = history
        self._clock = clock
        self._running: dict[UUID, asyncio.Task[int]] = {}

    async def before_serving(self, model: ServedModel) -> None:
        """Wait for the model's history, though not for long: a promotion takes effect whatever remains to be added,
        and that is then added while the model serves.
        """
        if model.online.layout is not None:
            await asyncio.wait({self._topping_up(model, model.online.layout)}, timeout=_PATIENCE_SECONDS)

    async def complete(self, model: ServedModel) -> int:
        """Add all that is missing; returns how many rows of history were."""
        if model.online.layout is None:
            return 0
        return await asyncio.shield(self._topping_up(model, model.online.layout))

    def _topping_up(self, model: ServedModel, layout: EventLayout) -> asyncio.Task[int]:
        running = self._running.get(model.id)
        if running is None:
            running = self._running[model.id] = asyncio.create_task(self._top_up(model, layout))
            running.add_done_callback(partial(self._ended, model.id))
        return running

    def _ended(self, model_id: UUID, running: asyncio.Task[int]) -> None:
        del self._running[model_id]
        if running.cancelled():
            return
        if (error := running.exception()) is not None:
            _log.error(HISTORY_NOT_TOPPED_UP, model_id=str(model_id), reason=type(error).__name__)
        elif running.result():
            _log.info(HISTORY_TOPPED_UP, model_id=str(model_id), rows=running.result())

    async def _top_up(self, model: ServedModel, layout: EventLayout) -> int:
        until = self._clock() - _OVERLAP
        async with self._database.connection() as conn:
            position = await self._history.complete_until(conn, layout), _FIRST
        added = 0
        while True:
            async with self._database.connection() as conn:
                scored = await repository.list_of_others(conn, model.id, after=position, limit=_SLICE)
            events = await asyncio.to_thread(_events, model.online, scored)
            last = len(scored) < _SLICE
            async with self._database.transaction() as conn:
                await self._history.take_label_turn(conn)  # what is known is read and told while nobody changes it
                added += await self._history.add(conn, layout, list(events.values()))
                known = await repository.list_known(conn, [row for row in scored if row.id in events])
                await self._history.set_labels(
                    conn,
                    layout,
                    [events[row.id] for row in known],
                    [row.actual_label for row in known],
                    [row.known_at for row in known],
                )
                await self._history.completed(conn, layout, until if last else min(until, scored[-1].created_at))
            if last:
                return added
            position = scored[-1].created_at, scored[-1].id


def _events(online: OnlinePlan, scored: Sequence[Scored]) -> dict[UUID, Event]:
    """What history keeps of each; a transaction that does not fit this model is not part of its history."""
    events = {}
    for row in scored:
        try:
            events[row.id] = online.event(row.transaction, str(row.id))
        except InvalidContent:
            continue
    return events
