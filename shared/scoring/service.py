"""The way of a transaction: wait with its neighbours, be scored, be stored, be answered."""

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

from shared.features.history.events import Entity, Event
from shared.features.history.repository import EventRows
from shared.features.history.store import HistoryStore, ensure_months
from shared.features.history.window import EntityHistory
from shared.platform.blobs import BlobStore
from shared.platform.clock import Clock
from shared.platform.database import Database
from shared.platform.errors import Conflict, FieldError, InvalidContent, NotFound, Unavailable
from shared.registry.service import RegistryService
from shared.scoring import repository
from shared.scoring.batching import MicroBatcher, Pending
from shared.scoring.identifiers import created_at, prediction_id, to_milliseconds
from shared.scoring.model import Explanation, Prediction, Reason, confidence, transaction_id
from shared.scoring.reasons import explanation, reasons
from shared.scoring.repository import NewPrediction
from shared.scoring.served import ServedModel, ServedModels

_LANES = 2
_LARGEST_BATCH = 256
_PROMOTIONS_FOLLOWED = 5
_MONTHS_AHEAD = 3


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


class ScoringService:
    """Use cases of scoring."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        registry: RegistryService,
        clock: Clock,
        *,
        explain_always: bool = False,
        queue_size: int = 2000,
        deadline_seconds: float = 5.0,
    ) -> None:
        self._database = database
        self._clock = clock
        self._explain_always = explain_always
        self._deadline_seconds = deadline_seconds
        self._models = ServedModels(registry, blobs, clock)
        self._history = HistoryStore(database, clock)
        self._batcher: MicroBatcher[Request, Answer] = MicroBatcher(
            self._process, lanes=_LANES, largest_batch=_LARGEST_BATCH, queue_size=queue_size
        )

    async def score(self, transaction: dict[str, Any], *, model_id: UUID | None, explain: bool) -> Answer:
        """Score one transaction; when this returns, its row is committed.

        :raises InvalidContent: fields of the transaction do not fit the model's features.
        :raises Conflict: no model is in production, or ``model_id`` is not in use.
        :raises NotFound: no model has this id.
        :raises Unavailable: the database is away, the queue is full, or the deadline passed.
        """
        arrived = perf_counter()
        # Loaded before it queues: one model that cannot be loaded must not keep the others waiting.
        model = None if model_id is None else await self._named(model_id)
        request = Request(transaction, model, explain or self._explain_always, arrived)
        return await self._batcher.submit(request, deadline_seconds=self._deadline_seconds - (perf_counter() - arrived))

    async def _named(self, model_id: UUID) -> ServedModel:
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await self._models.get(model_id)
        except TimeoutError as error:
            raise Unavailable("the model could not be loaded in time", retry_after=1, target="model") from error

    async def readiness(self) -> dict[str, Any]:
        """Which model serves, and whether it is the one in production."""
        try:
            current = await self._models.production()
        except Conflict:
            return {"model_id": None}
        return {
            "model_id": current.served.id,
            "model_version": current.served.version,
            "is_production": current.failed_at is None,
        }

    async def make_partitions(self) -> None:
        """Make the partitions of this month and the months ahead, where they are missing."""
        async with self._database.connection() as conn:
            await repository.ensure_partitions(conn, self._clock(), _MONTHS_AHEAD + 1)
        await self._history.make_partitions()

    async def forget_history(self) -> list[str]:
        """Drop the months of history that are older than its retention; returns the partitions' names."""
        return await self._history.forget()

    async def _process(self, batch: list[Pending[Request, Answer]]) -> None:
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
        """
        prepared = await self._prepare(group, model)
        rows = [row for row in prepared if isinstance(row, _Row)]
        answers = await self._answers(rows, model) if rows else []
        predictions = [answer.prediction for answer in answers]
        events = await self._events(rows, model)
        production_id = await self._store(model.id, predictions, expected_production_id, events)
        if expected_production_id is None or production_id == expected_production_id:
            for row, answer in zip(rows, answers, strict=True):
                row.pending.resolve(answer)
            for pending, refusal in zip(group, prepared, strict=True):
                if isinstance(refusal, InvalidContent):
                    pending.fail(refusal)
        return production_id

    async def _prepare(self, group: list[Pending[Request, Answer]], model: ServedModel) -> list[_Row | InvalidContent]:
        """Each transaction's row or refusal; where the model looks at the past, that is read in one round trip."""
        layout = model.online.layout
        if layout is None:
            return [_prepare(pending, model) for pending in group]
        events = [_event(pending, model) for pending in group]
        pasts = iter(await self._history.read(layout, [event for event in events if isinstance(event, Event)]))
        return [
            _prepare(pending, model, event, next(pasts)) if isinstance(event, Event) else event
            for pending, event in zip(group, events, strict=True)
        ]

    async def _events(self, rows: list[_Row], model: ServedModel) -> EventRows | None:
        """What these transactions add to history; ``None`` where the model does not look at it."""
        if model.online.layout is None:
            return None
        return await self._history.rows(model.online.layout, [row.event for row in rows if row.event is not None])

    async def _answers(self, rows: list[_Row], model: ServedModel) -> list[Answer]:
        """One predict for all rows, exact SHAP values for the flagged ones and for those who asked."""
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
                position: explanation(names, values.tolist())
                for position, values in zip(explained, contributions, strict=True)
            }
        now = to_milliseconds(self._clock())
        return [
            _answer(row, model, float(scores[position]), found.get(position), now) for position, row in enumerate(rows)
        ]

    async def _store(
        self,
        model_id: UUID,
        predictions: list[NewPrediction],
        expected_production_id: UUID | None,
        events: EventRows | None,
    ) -> UUID | None:
        """Store, and learn which model is in production; storing nothing is asking."""
        async with self._database.connection() as conn:
            try:
                production_id, _ = await repository.store(conn, model_id, predictions, expected_production_id, events)
            except psycopg.errors.CheckViolation:  # no partition for this month yet
                await repository.ensure_partitions(conn, predictions[0].created_at, 1)
                if events is not None:
                    await ensure_months(conn, events.occurred)
                production_id, _ = await repository.store(conn, model_id, predictions, expected_production_id, events)
        return production_id

    async def get(self, identifier: UUID) -> tuple[Prediction, Explanation, list[Reason]]:
        """A stored prediction with its reasons, computed from the stored vector where they were not stored.

        :raises NotFound: there is no such prediction.
        """
        at = created_at(identifier)
        prediction = None
        if at is not None:
            async with self._database.connection() as conn:
                prediction = await repository.get(conn, identifier, at)
        if prediction is None:
            raise NotFound("no prediction has this id", target="prediction_id")
        model = await self._models.get_any(prediction.model_id)
        values: dict[str, float | None] = prediction.input_features["features"]
        if prediction.explanation is not None:
            found = Explanation(**prediction.explanation)
        else:
            vector = _vector(values, model.online.feature_names)
            contributions = await asyncio.to_thread(model.fitted.contributions, vector)
            found = explanation(model.online.feature_names, contributions[0].tolist())
        return prediction, found, reasons(found, values, model.sentences)

    async def list_of_transaction(
        self, transaction_id: str, *, before: tuple[datetime, UUID], limit: int
    ) -> list[Prediction]:
        """Predictions of one transaction, newest first."""
        async with self._database.connection() as conn:
            return await repository.list_of_transaction(conn, transaction_id, before=before, limit=limit)

    async def list_of_model(
        self, model_id: UUID | None, *, is_fraud: bool | None, before: tuple[datetime, UUID], limit: int
    ) -> list[Prediction]:
        """Predictions of one model, by default of the one in production, newest first.

        :raises Conflict: no model is named and none is in production.
        """
        chosen = model_id or (await self._models.production()).expected_id
        async with self._database.connection() as conn:
            return await repository.list_of_model(conn, chosen, is_fraud=is_fraud, before=before, limit=limit)


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
        document = {"base_value": found.base_value, "contributions": found.contributions}
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
    return Answer(prediction, model, found, [] if found is None else reasons(found, values, model.sentences))


def _values(vector: NDArray[np.float32], names: tuple[str, ...]) -> dict[str, float | None]:
    return {name: None if isnan(value) else value for name, value in zip(names, vector.tolist(), strict=True)}


def _vector(values: Mapping[str, float | None], names: tuple[str, ...]) -> NDArray[np.float32]:
    row = [np.nan if (value := values.get(name)) is None else value for name in names]
    return np.array([row], dtype=np.float32)
