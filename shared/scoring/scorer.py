"""One batch of transactions: look back, build vectors, predict, explain, store in one commit, answer."""

import asyncio
from datetime import datetime, timedelta
from time import perf_counter
from uuid import UUID

import numpy as np
import orjson
import psycopg
from numpy.typing import NDArray

from shared.features.history.events import Event
from shared.features.history.rows import EventRows
from shared.features.history.store import HistoryStore, ensure_months
from shared.platform.clock import Clock
from shared.platform.database import Connection, Database
from shared.platform.errors import InvalidContent, Unavailable
from shared.scoring import repository
from shared.scoring.identifiers import prediction_id, to_milliseconds
from shared.scoring.model import Explanation, confidence
from shared.scoring.prepared import Answer, Row, Waiting, event_of, identified, prepare
from shared.scoring.reason_codes import CATALOGUE_VERSION
from shared.scoring.reasons import explanation, reasons
from shared.scoring.repeats import answer_repeats, apart
from shared.scoring.repository import NewPrediction, Stored
from shared.scoring.served import ServedModel, ServedModels

_PROMOTIONS_FOLLOWED = 5
_EXPLAINED_AT_ONCE = 64  # rows; some milliseconds


class BatchScorer:
    """Scores and stores what waits together; the batcher calls it with each batch.

    :param window: how long a transaction that is sent again is known.
    """

    def __init__(
        self, database: Database, models: ServedModels, history: HistoryStore, clock: Clock, window: timedelta
    ) -> None:
        self._database = database
        self._models = models
        self._history = history
        self._clock = clock
        self._window = window

    async def __call__(self, batch: list[Waiting]) -> None:
        groups: dict[UUID | None, list[Waiting]] = {}
        for pending in batch:
            model = pending.item.model
            groups.setdefault(None if model is None else model.id, []).append(pending)
        for group in groups.values():
            await self._settle(group)

    async def _settle(self, group: list[Waiting]) -> None:
        """Answer everybody of a group. Where the database refuses what a row holds, halves of the group are tried by
        themselves until that row is alone.
        """
        try:
            model = group[0].item.model
            if model is None:
                await self._score_in_production(group)
            else:
                await self._score(group, model, None)
        except (psycopg.DataError, psycopg.errors.NotNullViolation):
            if len(group) == 1:
                group[0].fail(InvalidContent("the transaction cannot be stored", target="transaction"))
                return
            middle = len(group) // 2
            await self._settle(group[:middle])
            await self._settle(group[middle:])
        except Exception as error:  # noqa: BLE001  # the callers of this group get it, the other groups go on
            for pending in group:
                pending.fail(error)

    async def _score_in_production(self, group: list[Waiting]) -> None:
        for _ in range(_PROMOTIONS_FOLLOWED):
            current = await self._models.production()
            production_id = await self._score(group, current.served, current.expected_id)
            if production_id == current.expected_id:
                return
            if production_id is None:
                self._models.forget_production()
            else:
                await self._models.follow(production_id)
        raise Unavailable("the model in production changes too quickly", retry_after=1)

    async def _score(
        self, group: list[Waiting], model: ServedModel, expected_production_id: UUID | None
    ) -> UUID | None:
        """Score and store a group; returns the model in production.

        Nobody is answered, not even those whose transaction does not fit, unless this model may answer: against
        the model that has just been promoted the transaction may fit.

        One connection is kept for reading and storing, though no transaction: taking one out costs a round trip.
        """
        async with self._database.connection() as conn:
            prepared = await self._prepare(conn, group, model)
            rows, repeats = apart([row for row in prepared if isinstance(row, Row)])
            answers = await self._answers(rows, model) if rows else []
            events = await self._events(conn, rows, answers, model)
            stored = await self._store(conn, model.id, answers, expected_production_id, events)
            if expected_production_id is None or stored.production_id == expected_production_id:
                for row, answer in zip(rows, answers, strict=True):
                    if answer.prediction.id not in stored.repeated:
                        row.pending.resolve(answer)
                for pending, refusal in zip(group, prepared, strict=True):
                    if isinstance(refusal, InvalidContent):
                        pending.fail(refusal)
                if repeats or stored.repeated:
                    await answer_repeats(conn, rows, answers, repeats, stored.repeated)
        return stored.production_id

    async def _prepare(self, conn: Connection, group: list[Waiting], model: ServedModel) -> list[Row | InvalidContent]:
        """Each transaction's row or refusal; where the model looks at the past, that is read in one round trip."""
        layout = model.online.layout
        if layout is None:
            return [prepare(pending, model) for pending in group]
        events = [event_of(pending, model) for pending in group]
        fitting = [event for event in events if isinstance(event, Event)]
        pasts = iter(await self._history.read(conn, layout, fitting))
        return [
            prepare(pending, model, event, next(pasts)) if isinstance(event, Event) else event
            for pending, event in zip(group, events, strict=True)
        ]

    async def _events(
        self, conn: Connection, rows: list[Row], answers: list[Answer], model: ServedModel
    ) -> EventRows | None:
        """What these transactions add to history, in their order; ``None`` where the model does not look at it."""
        layout = model.online.layout
        if layout is None:
            return None
        events = [
            identified(row.event, answer.prediction.id)
            for row, answer in zip(rows, answers, strict=True)
            if row.event is not None  # which it never is with a layout
        ]
        return await self._history.rows(conn, layout, events)

    async def _answers(self, rows: list[Row], model: ServedModel) -> list[Answer]:
        """One predict for all rows, Shapley values for the flagged ones and for those who asked."""
        matrix = np.stack([row.vector for row in rows])
        predicted = model.fitted.predict(matrix)
        scores = predicted.tolist()
        explained = [
            position
            for position, (row, score) in enumerate(zip(rows, scores, strict=True))
            if row.pending.item.explain or score >= model.threshold
        ]
        names = model.online.feature_names
        found: dict[int, Explanation] = {}
        if explained:
            contributions = (await _contributions(model, matrix[explained])).tolist()
            found = {
                position: explanation(names, values, model.fitted.explanation)
                for position, values in zip(explained, contributions, strict=True)
            }
        cells: list[bytes] | list[None] = [None] * len(rows)
        if model.cells is not None:
            cells = model.cells.encode([row.pending.item.transaction for row in rows], matrix, predicted)
        now, finished = to_milliseconds(self._clock()), perf_counter()
        answers = []
        for position, (row, score, vector) in enumerate(zip(rows, scores, matrix.tolist(), strict=True)):
            values = dict(zip(names, vector, strict=True))
            explained_by = found.get(position)
            prediction = NewPrediction(
                id=prediction_id(now),
                transaction_id=row.transaction_id,
                # JSON has no NaN: a missing value becomes null.
                inputs=orjson.dumps({"transaction": row.pending.item.transaction, "features": values}),
                score=score,
                is_fraud=score >= model.threshold,
                confidence=round(confidence(score, model.threshold), 6),
                explanation=None if explained_by is None else _document(explained_by),
                latency_ms=round((finished - row.pending.item.arrived) * 1000),
                created_at=now,
                cells=cells[position],
                submission=row.submission,
            )
            because = [] if explained_by is None else reasons(explained_by, values, model.meanings)
            answers.append(Answer(prediction, model, explained_by, because))
        return answers

    async def _store(
        self,
        conn: Connection,
        model_id: UUID,
        answers: list[Answer],
        expected_production_id: UUID | None,
        events: EventRows | None,
    ) -> Stored:
        """Store, and learn which model is in production; storing nothing is asking."""
        predictions = [answer.prediction for answer in answers]
        begin = self._clock() - self._window
        try:
            return await repository.store(
                conn, model_id, predictions, expected_production_id, events, window_begin=begin
            )
        except psycopg.errors.CheckViolation:  # no partition for this month yet
            await _ensure_partitions(conn, predictions[0].created_at, events)
            return await repository.store(
                conn, model_id, predictions, expected_production_id, events, window_begin=begin
            )


async def _ensure_partitions(conn: Connection, month: datetime, events: EventRows | None) -> None:
    await repository.ensure_partitions(conn, month, 1)
    if events is not None:
        await ensure_months(conn, events.occurred)


async def _contributions(model: ServedModel, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shapley values; on another thread where they would keep the other requests waiting."""
    if model.fitted.explains_at_once and len(vectors) <= _EXPLAINED_AT_ONCE:
        return model.fitted.contributions(vectors)
    return await asyncio.to_thread(model.fitted.contributions, vectors)


def _document(found: Explanation) -> bytes:
    """An explanation as it is stored; the catalogue's version says what its reasons were called."""
    return orjson.dumps(
        {
            "base_value": found.base_value,
            "contributions": found.contributions,
            "reason_catalogue": CATALOGUE_VERSION,
        }
    )
