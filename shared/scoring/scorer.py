"""One batch of transactions: look back, build vectors, predict, explain, store in one commit, answer."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import isnan
from time import perf_counter
from typing import Any
from uuid import UUID

import numpy as np
import orjson
import psycopg
from numpy.typing import NDArray

from shared.features.history.events import Entity, Event, hash_text
from shared.features.history.rows import EventRows
from shared.features.history.store import HistoryStore, ensure_months
from shared.features.history.window import EntityHistory
from shared.platform.clock import Clock
from shared.platform.database import Connection, Database
from shared.platform.errors import FieldError, InvalidContent, Unavailable
from shared.scoring import repository
from shared.scoring.batching import Pending
from shared.scoring.identifiers import prediction_id, to_milliseconds
from shared.scoring.model import Explanation, Reason, confidence, transaction_id
from shared.scoring.reason_codes import CATALOGUE_VERSION
from shared.scoring.reasons import explanation, reasons
from shared.scoring.repository import NewPrediction
from shared.scoring.served import ServedModel, ServedModels

_PROMOTIONS_FOLLOWED = 5


@dataclass(frozen=True, slots=True)
class Request:
    """A transaction that waits. ``model`` None means the one in production."""

    transaction: dict[str, Any]
    model: ServedModel | None
    explain: bool
    arrived: float


@dataclass(frozen=True, slots=True)
class Answer:
    """A stored prediction and what explains it; ``found`` is None for what was neither flagged nor asked about."""

    prediction: NewPrediction
    model: ServedModel
    found: Explanation | None
    reasons: list[Reason]


@dataclass(frozen=True, slots=True)
class _Row:
    pending: Pending[Request, Answer]
    transaction_id: str | None
    vector: NDArray[np.float32]
    event: Event | None


class BatchScorer:
    """Scores and stores what waits together; the batcher calls it with each batch."""

    def __init__(self, database: Database, models: ServedModels, history: HistoryStore, clock: Clock) -> None:
        self._database = database
        self._models = models
        self._history = history
        self._clock = clock

    async def __call__(self, batch: list[Pending[Request, Answer]]) -> None:
        groups: dict[UUID | None, list[Pending[Request, Answer]]] = {}
        for pending in batch:
            model = pending.item.model
            groups.setdefault(None if model is None else model.id, []).append(pending)
        for group in groups.values():
            try:
                model = group[0].item.model
                if model is None:
                    await self._score_in_production(group)
                else:
                    await self._score(group, model, None)
            except Exception as error:  # noqa: BLE001  # the callers of this group get it, the other groups go on
                for pending in group:
                    pending.fail(error)

    async def _score_in_production(self, group: list[Pending[Request, Answer]]) -> None:
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
        self, group: list[Pending[Request, Answer]], model: ServedModel, expected_production_id: UUID | None
    ) -> UUID | None:
        """Score and store a group; returns the model in production.

        Nobody is answered, not even those whose transaction does not fit, unless this model may answer: against
        the model that has just been promoted the transaction may fit.

        One connection is kept for reading and storing, though no transaction: taking one out costs a round trip.
        """
        async with self._database.connection() as conn:
            prepared = await self._prepare(conn, group, model)
            rows = [row for row in prepared if isinstance(row, _Row)]
            answers = await self._answers(rows, model) if rows else []
            events = await self._events(conn, rows, answers, model)
            predictions = [answer.prediction for answer in answers]
            production_id = await _store(conn, model.id, predictions, expected_production_id, events)
        if expected_production_id is None or production_id == expected_production_id:
            for row, answer in zip(rows, answers, strict=True):
                row.pending.resolve(answer)
            for pending, refusal in zip(group, prepared, strict=True):
                if isinstance(refusal, InvalidContent):
                    pending.fail(refusal)
        return production_id

    async def _prepare(
        self, conn: Connection, group: list[Pending[Request, Answer]], model: ServedModel
    ) -> list[_Row | InvalidContent]:
        """Each transaction's row or refusal; where the model looks at the past, that is read in one round trip."""
        layout = model.online.layout
        if layout is None:
            return [_prepare(pending, model) for pending in group]
        events = [_event(pending, model) for pending in group]
        fitting = [event for event in events if isinstance(event, Event)]
        pasts = iter(await self._history.read(conn, layout, fitting))
        return [
            _prepare(pending, model, event, next(pasts)) if isinstance(event, Event) else event
            for pending, event in zip(group, events, strict=True)
        ]

    async def _events(
        self, conn: Connection, rows: list[_Row], answers: list[Answer], model: ServedModel
    ) -> EventRows | None:
        """What these transactions add to history; ``None`` where the model does not look at it."""
        layout = model.online.layout
        if layout is None:
            return None
        events = [
            _identified(row.event, answer.prediction.id)
            for row, answer in zip(rows, answers, strict=True)
            if row.event is not None
        ]
        return await self._history.rows(conn, layout, events)

    async def _answers(self, rows: list[_Row], model: ServedModel) -> list[Answer]:
        """One predict for all rows, Shapley values for the flagged ones and for those who asked."""
        matrix = np.stack([row.vector for row in rows])
        scores = model.fitted.predict(matrix)
        explained = [
            position
            for position, row in enumerate(rows)
            if row.pending.item.explain or scores[position] >= model.threshold
        ]
        found: dict[int, Explanation] = {}
        if explained:
            contributions = await asyncio.to_thread(model.fitted.contributions, matrix[explained])
            names = model.online.feature_names
            found = {
                position: explanation(names, values.tolist(), model.fitted.explanation)
                for position, values in zip(explained, contributions, strict=True)
            }
        now = to_milliseconds(self._clock())
        return [
            _answer(row, model, float(scores[position]), found.get(position), now) for position, row in enumerate(rows)
        ]


async def _store(
    conn: Connection,
    model_id: UUID,
    predictions: list[NewPrediction],
    expected_production_id: UUID | None,
    events: EventRows | None,
) -> UUID | None:
    """Store, and learn which model is in production; storing nothing is asking."""
    try:
        production_id, _ = await repository.store(conn, model_id, predictions, expected_production_id, events)
    except psycopg.errors.CheckViolation:  # no partition for this month yet
        await repository.ensure_partitions(conn, predictions[0].created_at, 1)
        if events is not None:
            await ensure_months(conn, events.occurred)
        production_id, _ = await repository.store(conn, model_id, predictions, expected_production_id, events)
    return production_id


def _prepare(
    pending: Pending[Request, Answer],
    model: ServedModel,
    event: Event | None = None,
    past: Mapping[Entity, EntityHistory] | None = None,
) -> _Row | InvalidContent:
    """The row's id and vector, or why this transaction does not fit; its neighbours go on."""
    transaction = pending.item.transaction
    try:
        vector = model.online.vector(transaction, past)
        return _Row(pending, transaction_id(transaction, model.id_column), vector, event)
    except InvalidContent as error:
        return _refusal(error)


def _event(pending: Pending[Request, Answer], model: ServedModel) -> Event | InvalidContent:
    """What history keeps of the transaction, or why it does not fit."""
    try:
        return model.online.event(pending.item.transaction)
    except InvalidContent as error:
        return _refusal(error)


def _identified(event: Event, prediction: UUID) -> Event:
    """An event without an id is known by its prediction's."""
    return event if event.id_hash is not None else event._replace(id_hash=hash_text(str(prediction)))


def _refusal(error: InvalidContent) -> InvalidContent:
    details = [FieldError(f"transaction.{detail.field}", detail.message) for detail in error.details]
    target = details[0].field if details else "transaction"
    return InvalidContent(error.message, target=target, details=details)


def _answer(row: _Row, model: ServedModel, score: float, found: Explanation | None, now: datetime) -> Answer:
    request = row.pending.item
    values = _values(row.vector, model.online.feature_names)
    is_fraud = score >= model.threshold
    stored = None
    if found is not None:
        document = {
            "base_value": found.base_value,
            "contributions": found.contributions,
            "reason_catalogue": CATALOGUE_VERSION,
        }
        stored = orjson.dumps(document).decode()
    prediction = NewPrediction(
        id=prediction_id(now),
        transaction_id=row.transaction_id,
        inputs=orjson.dumps({"transaction": request.transaction, "features": values}).decode(),
        score=score,
        is_fraud=is_fraud,
        confidence=round(confidence(score, model.threshold), 6),
        explanation=stored,
        latency_ms=round((perf_counter() - request.arrived) * 1000),
        created_at=now,
    )
    return Answer(prediction, model, found, [] if found is None else reasons(found, values, model.meanings))


def _values(vector: NDArray[np.float32], names: tuple[str, ...]) -> dict[str, float | None]:
    return {name: None if isnan(value) else value for name, value in zip(names, vector.tolist(), strict=True)}
