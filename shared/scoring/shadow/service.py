"""Challengers as people see them: started, stopped, compared with the champion."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from shared.alerts.service import AlertService
from shared.audit import service as audit
from shared.audit.model import Origin
from shared.features.history.store import HistoryStore
from shared.platform.clock import Clock
from shared.platform.database import Connection, Database
from shared.platform.errors import Conflict, NotFound
from shared.registry.lifecycle import ModelStatus
from shared.registry.service import RegistryService
from shared.scoring.served import ServedModels
from shared.scoring.shadow import repository
from shared.scoring.shadow.following import Following
from shared.scoring.shadow.model import MOST_CHALLENGERS, Challenger, Period
from shared.scoring.shadow.report import ShadowReport, compare_decisions, compare_labelled
from shared.users.model import Caller

_RUN_SECONDS: Final = 40.0  # of the minute between two runs


class ShadowService:
    """Use cases of shadow scoring."""

    def __init__(
        self,
        database: Database,
        registry: RegistryService,
        models: ServedModels,
        history: HistoryStore,
        alerts: AlertService,
        clock: Clock,
        *,
        retention: timedelta,
    ) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock
        self._retention = retention
        self._following = Following(database, models, history, alerts, clock, seconds=_RUN_SECONDS)

    async def follow(self) -> int:
        """Let challengers score what was scored since the last run; returns how many predictions that were."""
        return await self._following.run(retention=self._retention)

    async def start(self, model_id: UUID, *, caller: Caller, origin: Origin) -> Challenger:
        """Let a model score in the shadow from now on. Starting it twice is no error.

        :raises NotFound: there is no such model.
        :raises Conflict: it is not in STAGING, or there are as many challengers as there may be.
        """
        model = await self._registry.get(model_id)
        if model.status is not ModelStatus.STAGING:
            raise Conflict(f"the model is {model.status.value}; a challenger is in STAGING", target="model_id")
        async with self._database.transaction() as conn:
            await repository.lock(conn)
            active = {challenger.model_id: challenger for challenger in await repository.list_active(conn)}
            if model_id in active:
                return active[model_id]
            if len(active) >= MOST_CHALLENGERS:
                raise Conflict(f"there are {MOST_CHALLENGERS} challengers; stop one of them first")
            await repository.start(conn, model_id, started_by=caller.user_id, now=self._clock())
            await self._audit(conn, model_id, caller, origin, was=False)
            return _found(await repository.get(conn, model_id))

    async def stop(self, model_id: UUID, *, caller: Caller, origin: Origin) -> Challenger:
        """Let a model score in the shadow no longer; what it has scored stays. Stopping it twice is no error.

        :raises NotFound: it never was a challenger.
        """
        async with self._database.transaction() as conn:
            if await repository.stop(conn, model_id, self._clock()):
                await self._audit(conn, model_id, caller, origin, was=True)
            return _found(await repository.get(conn, model_id))

    async def get(self, model_id: UUID) -> Challenger:
        """One challenger, stopped or not.

        :raises NotFound: the model never was one.
        """
        async with self._database.connection() as conn:
            return _found(await repository.get(conn, model_id))

    async def list_active(self) -> list[Challenger]:
        """The challengers that score."""
        async with self._database.connection() as conn:
            return await repository.list_active(conn)

    async def report(self, model_id: UUID, period: Period, *, examples: int) -> ShadowReport:
        """Champion against challenger over a period, with at most ``examples`` predictions of each kind of change.

        :raises NotFound: the model never was a challenger.
        """
        async with self._database.connection() as conn:
            challenger = _found(await repository.get(conn, model_id))
            decisions = await repository.count_decisions(conn, model_id, period)
            labelled = await repository.count_labelled(conn, model_id, period)
            scores, champions = await repository.compare_scores(conn, model_id, period)
            blocked, approved = [
                await repository.list_disagreements(conn, model_id, period, blocked=way, limit=examples)
                for way in (True, False)
            ]
        return ShadowReport(
            model_id=model_id,
            champion_ids=champions,
            active=challenger.active,
            period_start=period.start,
            period_end=period.until,
            followed_until=challenger.position_at,
            decisions=compare_decisions(decisions),
            scores=scores,
            labelled=compare_labelled(labelled),
            newly_blocked_examples=blocked,
            newly_approved_examples=approved,
        )

    async def _audit(self, conn: Connection, model_id: UUID, caller: Caller, origin: Origin, *, was: bool) -> None:
        await audit.record(
            conn,
            origin,
            caller,
            action="UPDATE",
            resource_type="challenger",
            resource_id=model_id,
            old={"challenges": was},
            new={"challenges": not was},
        )


def _found(challenger: Challenger | None) -> Challenger:
    if challenger is None:
        raise NotFound("the model never was a challenger", target="model_id")
    return challenger
