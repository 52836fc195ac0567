"""The way of a transaction: wait with its neighbours, be scored, be stored, be answered."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from time import perf_counter
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from shared.alerts.service import AlertService
from shared.archiving.months import ArchivedMonths, archived_prediction
from shared.audit.model import Origin
from shared.features.history.store import RETENTION, HistoryStore
from shared.features.online import OnlinePlan
from shared.platform.blobs import BlobStore
from shared.platform.clock import Clock
from shared.platform.database import Database
from shared.platform.errors import Conflict, NotFound, Unavailable
from shared.platform.patience import answering_within
from shared.registry.service import RegistryService
from shared.scoring import repository
from shared.scoring.batching import MicroBatcher
from shared.scoring.history_top_up import HistoryTopUp
from shared.scoring.identifiers import created_at
from shared.scoring.model import Explanation, Prediction, Reason
from shared.scoring.outcomes import Outcomes
from shared.scoring.prepared import Answer, Request, Waiting
from shared.scoring.reasons import explanation, reasons
from shared.scoring.repository import NewPrediction
from shared.scoring.scorer import BatchScorer
from shared.scoring.served import ServedModel, ServedModels
from shared.scoring.submissions import Repeated, scope

_LARGEST_BATCH = 256
_PART = 128  # of many transactions sent at once; the rest of a batch is for those who come meanwhile
_MONTHS_AHEAD = 3


class ScoringService:
    """Use cases of scoring."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        registry: RegistryService,
        alerts: AlertService,
        clock: Clock,
        *,
        explain_always: bool = False,
        lanes: int = 1,
        queue_size: int = 2000,
        deadline_seconds: float = 5.0,
        history_retention: timedelta = RETENTION,
        duplicate_window: timedelta = timedelta(0),
    ) -> None:
        """:param lanes: batches at a time.
        :param duplicate_window: how long a transaction that is sent again gets its first answer; 0 for never."""
        self._database = database
        self._clock = clock
        self._explain_always = explain_always
        self._deadline_seconds = deadline_seconds
        self._registry = registry
        self._archived = ArchivedMonths(database)
        self.history = HistoryStore(database, clock, retention=history_retention)
        self._top_up = HistoryTopUp(database, self.history, clock)
        self.models = ServedModels(registry, blobs, alerts, clock, self._top_up.before_serving)
        self._window = duplicate_window
        self._outcomes = Outcomes(database, clock)
        self._scorer = BatchScorer(database, self.models, self.history, clock, duplicate_window)
        self._batcher: MicroBatcher[Request, Answer | Repeated] = MicroBatcher(
            self._score_batch,
            lanes=lanes,
            largest_batch=_LARGEST_BATCH,
            queue_size=queue_size,
        )

    async def _score_batch(self, batch: list[Waiting]) -> None:
        """A silent database holds a lane up no longer than anybody waits for it."""
        with answering_within(self._deadline_seconds):
            await self._scorer(batch)

    async def score(
        self, transaction: dict[str, Any], *, model_id: UUID | None, explain: bool, sender: UUID | None = None
    ) -> Answer:
        """Score one transaction; when this returns, its row is committed.

        :param sender: the user, None for the machines: among those of one sender a transaction is known by its id.
        :raises InvalidContent: fields of the transaction do not fit the model's features.
        :raises Conflict: no model is in production, ``model_id`` is not in use, or another transaction was scored
            under this id.
        :raises NotFound: no model has this id.
        :raises Unavailable: the database is away, the queue is full, or the deadline passed.
        """
        return await self._outcomes.watch(self._score(transaction, model_id, sender, explain=explain))

    async def _score(
        self, transaction: dict[str, Any], model_id: UUID | None, sender: UUID | None, *, explain: bool
    ) -> Answer:
        arrived = perf_counter()
        # Loaded before it queues: one model that cannot be loaded must not keep the others waiting.
        model = None if model_id is None else await self._named(model_id)
        return await self._submit(transaction, model, arrived, sender, explain=explain)

    async def _submit(
        self,
        transaction: dict[str, Any],
        model: ServedModel | None,
        arrived: float,
        sender: UUID | None,
        *,
        explain: bool = False,
    ) -> Answer:
        within = scope(sender, None if model is None else model.id) if self._window else None
        request = Request(transaction, model, explain or self._explain_always, arrived, within)
        left = self._deadline_seconds - (perf_counter() - arrived)
        found = await self._batcher.submit(request, deadline_seconds=left)
        return found if isinstance(found, Answer) else await self._first_answer(found, explain=request.explain)

    async def _first_answer(self, repeated: Repeated, *, explain: bool) -> Answer:
        """What was answered when the transaction came first; with its reasons too, if only now it is asked for them."""
        prediction = await self._stored(repeated.prediction_id)
        model = await self.models.get_any(prediction.model_id)
        first = NewPrediction(
            id=prediction.id,
            transaction_id=prediction.transaction_id,
            inputs=b"",
            score=prediction.fraud_score,
            is_fraud=prediction.is_fraud,
            confidence=prediction.confidence or 0.0,
            explanation=None,
            latency_ms=prediction.latency_ms or 0,
            created_at=prediction.created_at,
        )
        if not explain and prediction.explanation is None:
            return Answer(first, model, None, [])
        found = await _explanation(prediction, model)
        return Answer(first, model, found, reasons(found, prediction.input_features["features"], model.meanings))

    async def score_many(
        self, transactions: Sequence[dict[str, Any]], *, model_id: UUID | None, sender: UUID | None = None
    ) -> list[Answer | BaseException]:
        """Score transactions in their order, each as :meth:`score` does; in the place of one that is refused is why.

        A part at a time joins the queue, so that whoever sends a single transaction waits for one part at most, and
        each part sees in history what the parts before it have left there.

        :raises Conflict: no model is in production, or ``model_id`` is not in use.
        :raises NotFound: no model has this id.
        :raises Unavailable: the model cannot be loaded.
        """
        model = None if model_id is None else await self._named(model_id)
        if model is None:
            await self.models.production()
        results: list[Answer | BaseException] = []
        for first in range(0, len(transactions), _PART):
            arrived = perf_counter()
            results += await asyncio.gather(
                *(
                    self._submit(transaction, model, arrived, sender)
                    for transaction in transactions[first : first + _PART]
                ),
                return_exceptions=True,
            )
        return results

    async def _named(self, model_id: UUID) -> ServedModel:
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await self.models.get(model_id)
        except TimeoutError as error:
            raise Unavailable("the model could not be loaded in time", retry_after=1, target="model") from error

    async def readiness(self) -> dict[str, Any]:
        """Which model serves, and which is in production: while that cannot be loaded, its predecessor serves."""
        try:
            current = await self.models.production()
        except Conflict:
            return {"model_id": None}
        return {
            "model_id": current.served.id,
            "model_version": current.served.version,
            "is_production": current.failed_at is None,
            "production_id": current.expected_id,
        }

    async def make_partitions(self) -> None:
        """Make the partitions of this month and the months ahead, where they are missing."""
        async with self._database.connection() as conn:
            await repository.ensure_partitions(conn, self._clock(), _MONTHS_AHEAD + 1)
        await self.history.make_partitions()

    async def forget_history(self, origin: Origin) -> list[str]:
        """Drop the months of history that are older than its retention; returns the partitions' names."""
        return await self.history.forget(origin)

    async def forget_submissions(self) -> int:
        """Forget the submissions that are older than the window; returns how many."""
        async with self._database.connection() as conn:
            return await repository.forget_submissions(conn, self._clock() - self._window)

    async def top_up_history(self) -> int:
        """Give every model that may soon serve the history that others have written; returns how many rows were added.

        Those are the models in STAGING and PRODUCTION, and the one that a rollback returns to.
        """
        added = 0
        await self.models.clear_alerts()
        for model in await self._registry.in_use():
            with suppress(Exception):  # the log says what is wrong with this one; the others go on
                added += await self._top_up.complete(await self.models.get_any(model.id))
        return added

    async def history_plans(self) -> list[OnlinePlan]:
        """Plans of models that may soon serve and look at the past, one a layout; of those that can be read in time."""
        plans: dict[str, OnlinePlan] = {}
        for model in await self._registry.in_use():
            with suppress(Exception):  # the log says what is wrong with this one
                async with asyncio.timeout(self._deadline_seconds):
                    online = (await self.models.get_any(model.id)).online
                if online.layout is not None:
                    plans.setdefault(online.layout.fingerprint, online)
        return list(plans.values())

    async def get(self, identifier: UUID) -> tuple[Prediction, Explanation, list[Reason]]:
        """A stored prediction with its reasons, computed from the stored vector where they were not stored.

        :raises NotFound: there is no such prediction, or it is archived.
        """
        prediction = await self._stored(identifier)
        model = await self.models.get_any(prediction.model_id)
        found = await _explanation(prediction, model)
        return prediction, found, reasons(found, prediction.input_features["features"], model.meanings)

    async def _stored(self, identifier: UUID) -> Prediction:
        """:raises NotFound: there is no such prediction, or it is archived."""
        at = created_at(identifier)
        prediction = None
        if at is not None:
            async with self._database.connection() as conn:
                prediction = await repository.get(conn, identifier, at)
        if prediction is None:
            if at is not None and await self._archived.holds(at):
                raise archived_prediction(at)
            raise NotFound("no prediction has this id", target="prediction_id")
        return prediction

    async def archived_before(self) -> date | None:
        """Lists do not show predictions made before this day, except in months that were restored; None: they do."""
        return await self._archived.before()

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
        chosen = model_id or (await self.models.production()).expected_id
        async with self._database.connection() as conn:
            return await repository.list_of_model(conn, chosen, is_fraud=is_fraud, before=before, limit=limit)


async def _explanation(prediction: Prediction, model: ServedModel) -> Explanation:
    """As it was stored, else computed from the stored vector."""
    if (stored := prediction.explanation) is not None:
        return Explanation(stored["base_value"], stored["contributions"], model.fitted.explanation)
    vector = _vector(prediction.input_features["features"], model.online.feature_names)
    contributions = await asyncio.to_thread(model.fitted.contributions, vector)
    return explanation(model.online.feature_names, contributions[0].tolist(), model.fitted.explanation)


def _vector(values: Mapping[str, float | None], names: tuple[str, ...]) -> NDArray[np.float32]:
    row = [np.nan if (value := values.get(name)) is None else value for name in names]
    return np.array([row], dtype=np.float32)
