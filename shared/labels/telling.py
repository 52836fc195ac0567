"""Telling history what became known: in the transaction that records it, and afterwards for a layout that lags behind.

A layout follows ``prediction_labels`` by number. One that was out of use, or whose model could not be read when a label
came, is behind; it catches up with what is known by then.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from shared.features.history.events import Event, EventLayout
from shared.features.history.store import HistoryStore
from shared.features.online import OnlinePlan
from shared.labels import repository
from shared.labels.ledger import Known
from shared.labels.repository import Found
from shared.platform.database import Connection, Database
from shared.platform.errors import InvalidContent

_SLICE: Final = 500

Events = dict[UUID, Event]


class HistoryTelling:
    """Encodes labelled transactions as events, and sets their labels in each layout."""

    def __init__(self, database: Database, history: HistoryStore) -> None:
        self._database = database
        self._history = history

    async def encode(self, plans: Sequence[OnlinePlan], found: Iterable[Found]) -> list[Events]:
        """The events of predictions, one mapping a plan; those that do not fit a plan are not in its history."""
        inputs = {one.id: one.transaction for one in found if one.transaction is not None}
        return [await asyncio.to_thread(_events, plan, inputs) for plan in plans]

    async def following(self, conn: Connection, plans: Sequence[OnlinePlan]) -> list[OnlinePlan]:
        """Those of the plans whose layout knows every label so far; the turn must be held."""
        known = await self._history.following(conn, [_layout(plan) for plan in plans])
        return [plan for plan, follows in zip(plans, known, strict=True) if follows]

    async def tell(self, conn: Connection, plan: OnlinePlan, events: Events, changed: Mapping[UUID, Known]) -> None:
        """Set what is known of predictions in one layout."""
        known = [(events[prediction], state) for prediction, state in changed.items() if prediction in events]
        labels = [state.is_fraud for _, state in known if state.is_fraud is not None]
        since = [state.since for _, state in known if state.since is not None]
        if known:
            await self._history.set_labels(conn, _layout(plan), [event for event, _ in known], labels, since)

    async def told(self, conn: Connection, plans: Iterable[OnlinePlan]) -> None:
        """These layouts know every label so far; the turn must be held."""
        layouts = [_layout(plan) for plan in plans]
        if layouts:
            await self._history.told_labels(conn, layouts)

    async def catch_up(self, plan: OnlinePlan) -> int:
        """Tell a layout what it has missed, slice by slice; returns how many labels that were."""
        layout = _layout(plan)
        told = 0
        async with self._database.connection() as conn:
            after = await self._history.labels_told(conn, layout)
        while True:
            async with self._database.connection() as conn:
                untold = await repository.list_untold(conn, after=after, limit=_SLICE)
            if not untold:
                return told
            inputs = {row.id: row.transaction for row in untold if row.id is not None and row.transaction is not None}
            events = await asyncio.to_thread(_events, plan, inputs)
            changed = {row.id: Known(row.actual_label, row.labeled_at) for row in untold if row.id is not None}
            after = untold[-1].label_id
            async with self._database.transaction() as conn:
                await self._history.take_label_turn(conn)
                # A label that came since then is behind ``after``, and told with what follows.
                await self.tell(conn, plan, events, changed)
                await self._history.told_labels(conn, [layout], after)
            told += len(untold)


def _layout(plan: OnlinePlan) -> EventLayout:
    assert plan.layout is not None
    return plan.layout


def _events(plan: OnlinePlan, inputs: Mapping[UUID, Mapping[str, Any]]) -> Events:
    events = {}
    for prediction, transaction in inputs.items():
        try:
            events[prediction] = plan.event(transaction, str(prediction))
        except InvalidContent:
            continue
    return events
