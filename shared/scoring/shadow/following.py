"""Following production: what challengers make of the predictions that have been stored since the last run.

Each slice is committed with how far it goes, so a run that is killed goes on where it stood, and a slice that is
repeated changes nothing. Nothing here is called by a request.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, Final
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from shared.alerts.model import Severity, Signal, Source
from shared.alerts.service import AlertService
from shared.features.history.store import HistoryStore
from shared.platform.clock import Clock
from shared.platform.database import Database
from shared.platform.errors import InvalidContent
from shared.platform.telemetry import get_logger
from shared.scoring.served import ServedModel, ServedModels
from shared.scoring.shadow import repository
from shared.scoring.shadow.model import Challenger, Followed, ShadowPrediction

CHALLENGER_FAILED: Final = "challenger_failed"
CHALLENGER_STOPPED: Final = "challenger_stopped"

_SLICE: Final = 200
# Where timers run beside requests, those have most of the processor: a rest this many times as long as the slice took.
_REST: Final = 2.0
# A prediction may be committed this much later than it was made, by another instance with another clock.
_MARGIN: Final = timedelta(minutes=1)
_FORGOTTEN_AT_ONCE: Final = 20_000
_log = get_logger("shadow")


class Following:
    """One run of all challengers, each with its share of the time.

    :param seconds: after which a run takes no further slice.
    """

    def __init__(
        self,
        database: Database,
        models: ServedModels,
        history: HistoryStore,
        alerts: AlertService,
        clock: Clock,
        *,
        seconds: float,
    ) -> None:
        self._database = database
        self._models = models
        self._history = history
        self._alerts = alerts
        self._clock = clock
        self._seconds = seconds

    async def run(self, *, retention: timedelta) -> int:
        """Let every challenger catch up, as far as the time allows; returns how many predictions were followed.

        One that fails is an alert, and the others go on.
        """
        async with self._database.connection() as conn:
            for model_id in await repository.stop_those_that_left_staging(conn, self._clock()):
                _log.info(CHALLENGER_STOPPED, model_id=str(model_id))
            challengers = await repository.list_active(conn)
            await repository.forget(conn, self._clock() - retention, _FORGOTTEN_AT_ONCE)
        followed = 0
        for challenger in challengers:
            try:
                followed += await self._catch_up(challenger, monotonic() + self._seconds / len(challengers))
            except Exception as error:  # noqa: BLE001  # its alert says so; the others go on
                _log.exception(CHALLENGER_FAILED, model_id=str(challenger.model_id))
                await self._alerts.report(_failed(challenger, error))
            else:
                await self._alerts.clear(_cause(challenger.model_id))
        return followed

    async def _catch_up(self, challenger: Challenger, deadline: float) -> int:
        model = await self._models.get_any(challenger.model_id)
        count = 0
        while (started := monotonic()) < deadline:
            until = await self._until(model)
            async with self._database.connection() as conn:
                followed = await repository.list_followed(conn, challenger, until, _SLICE)
            if not followed:
                break
            rows = await self._decide(model, followed)
            async with self._database.transaction() as conn:
                await repository.store(conn, model.id, rows)
            last = followed[-1]
            challenger = challenger.model_copy(update={"position_at": last.created_at, "position_id": last.id})
            count += len(followed)
            await asyncio.sleep(_REST * (monotonic() - started))
        return count

    async def _until(self, model: ServedModel) -> datetime:
        """What was scored before this moment is all committed, and in the history that the model looks at."""
        until = self._clock() - _MARGIN
        if model.online.layout is None:
            return until
        async with self._database.connection() as conn:
            return min(until, await self._history.complete_until(conn, model.online.layout))

    async def _decide(self, model: ServedModel, followed: Sequence[Followed]) -> list[ShadowPrediction]:
        same = {champion: await self._same_plan(model, champion) for champion in {row.model_id for row in followed}}
        pasts = await self._pasts(model, [row for row in followed if not same[row.model_id]])
        return await asyncio.to_thread(_decided, model, followed, same, pasts)

    async def _same_plan(self, model: ServedModel, champion: UUID) -> bool:
        """Whether the champion's vectors are what the challenger's own plan would make."""
        try:
            served = await self._models.get_any(champion)
        except Exception:  # noqa: BLE001  # the champion's files have their own alert; the transaction is there
            return False
        return served.plan.content_hash == model.plan.content_hash

    async def _pasts(self, model: ServedModel, rows: Sequence[Followed]) -> dict[UUID, Any]:
        """By prediction, the past that the challenger looks at: the events before the transaction's moment."""
        layout = model.online.layout
        if layout is None:
            return {}
        events = {}
        for row in rows:
            try:
                events[row.id] = model.online.event(row.transaction)
            except InvalidContent:
                continue
        async with self._database.connection() as conn:
            pasts = await self._history.read(conn, layout, list(events.values()))
        return dict(zip(events, pasts, strict=True))


def _decided(
    model: ServedModel, followed: Sequence[Followed], same: Mapping[UUID, bool], pasts: Mapping[UUID, Any]
) -> list[ShadowPrediction]:
    vectors: list[NDArray[np.float32] | None] = [
        _stored(model, row) if same[row.model_id] else _own(model, row, pasts.get(row.id)) for row in followed
    ]
    known = [vector for vector in vectors if vector is not None]
    scores = iter(model.fitted.predict(np.stack(known)).tolist() if known else [])
    column = model.plan.config.amount_column
    rows = []
    for row, vector in zip(followed, vectors, strict=True):
        score = None if vector is None else float(next(scores))
        decision = None if score is None else score >= model.threshold
        rows.append(ShadowPrediction(row, score, decision, _amount(row.transaction, column)))
    return rows


def _stored(model: ServedModel, row: Followed) -> NDArray[np.float32]:
    values = [row.features[name] for name in model.online.feature_names]
    return np.array([np.nan if value is None else value for value in values], np.float32)


def _own(model: ServedModel, row: Followed, past: Any) -> NDArray[np.float32] | None:
    """None where the transaction does not fit the challenger."""
    try:
        return model.online.vector(row.transaction, past)
    except InvalidContent:
        return None


def _amount(transaction: Mapping[str, Any], column: str | None) -> float | None:
    value = None if column is None else transaction.get(column)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _cause(model_id: UUID) -> str:
    return f"challenger:{model_id}"


def _failed(challenger: Challenger, error: Exception) -> Signal:
    return Signal(
        cause=_cause(challenger.model_id),
        source=Source.SYSTEM,
        alert_type="CHALLENGER",
        severity=Severity.WARNING,
        title="A challenger cannot follow the model in production",
        description=f"It ended with {type(error).__name__}; the log has the rest. It is tried again every minute and "
        "then catches up.",
        details={"followed_until": challenger.position_at.isoformat(), "error": type(error).__name__},
        model_id=challenger.model_id,
    )
