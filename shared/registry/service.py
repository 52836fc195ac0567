"""Looking at models, and moving them through their life."""

from datetime import datetime
from uuid import UUID

import psycopg

from shared.audit import service as audit
from shared.audit.model import Origin
from shared.platform.clock import Clock
from shared.platform.database import Connection, Database
from shared.platform.errors import Conflict, FieldError, Forbidden, InvalidContent, NotFound
from shared.registry import repository
from shared.registry.lifecycle import ModelStatus, Move, check_move
from shared.registry.model import (
    Baseline,
    Model,
    NewBaseline,
    PromotionRequest,
    Transition,
    Verdict,
    judge,
    numeric,
)
from shared.users.model import Caller, Role


class RegistryService:
    """Use cases of models, baselines and promotions."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def ping(self) -> None:
        """Return when the database answers."""
        async with self._database.connection() as conn:
            await repository.ping(conn)

    async def get(self, model_id: UUID) -> Model:
        """One model.

        :raises NotFound: there is none with this id.
        """
        async with self._database.connection() as conn:
            return _found(await repository.get(conn, model_id))

    async def production(self, at: datetime | None = None) -> Model:
        """The model in production, now or at the time ``at``.

        :raises NotFound: there is or was none.
        """
        async with self._database.connection() as conn:
            model = await repository.get_production(conn, at)
        if model is None:
            raise NotFound("no model is in production" if at is None else "no model was in production at this time")
        return model

    async def list_page(
        self, *, status: ModelStatus | None, algorithm: str | None, limit: int, offset: int
    ) -> tuple[list[Model], int]:
        """One page of models, newest first, and how many the filters leave."""
        async with self._database.connection() as conn:
            return await repository.list_page(conn, status=status, algorithm=algorithm, limit=limit, offset=offset)

    async def history(self, model_id: UUID) -> list[Transition]:
        """Every step of a model's life, newest first."""
        async with self._database.connection() as conn:
            _found(await repository.get(conn, model_id))
            return await repository.list_transitions(conn, model_id)

    async def in_use(self) -> list[Model]:
        """The models in STAGING and PRODUCTION, and the one that a rollback would put back."""
        async with self._database.connection() as conn:
            return await repository.list_in_use(conn)

    async def baselines(self, model_id: UUID) -> list[Baseline]:
        """The baselines of a model."""
        async with self._database.connection() as conn:
            _found(await repository.get(conn, model_id))
            return await repository.list_baselines(conn, model_id)

    async def set_baselines(
        self, model_id: UUID, baselines: list[NewBaseline], *, caller: Caller, origin: Origin
    ) -> list[Baseline]:
        """Set baselines; the others of the model stay as they are.

        :raises InvalidContent: the model has no recorded metric of a baseline's name.
        """
        async with self._database.transaction() as conn:
            model = _found(await repository.get(conn, model_id))
            known = sorted(name for name, value in model.metrics.items() if numeric(value) is not None)
            unknown = [
                FieldError(f"baselines.{position}.metric", f"{new.metric} is not a recorded metric: {', '.join(known)}")
                for position, new in enumerate(baselines)
                if new.metric not in known
            ]
            if unknown:
                raise InvalidContent("some metrics are not recorded for this model", details=unknown)
            for new in baselines:
                await repository.upsert_baseline(conn, model_id, new, caller.user_id)
            await audit.record(
                conn,
                origin,
                caller,
                action="UPDATE",
                resource_type="baseline",
                resource_id=model_id,
                new={"baselines": [new.model_dump(mode="json") for new in baselines]},
            )
            return await repository.list_baselines(conn, model_id)

    async def promote(
        self, model_id: UUID, request: PromotionRequest, *, caller: Caller, origin: Origin
    ) -> tuple[Model, Verdict]:
        """Move a model to STAGING or, through the gate, to PRODUCTION, archiving the one that was there.

        All of it is one transaction; when two promotions meet, one wins and the other changes nothing.

        :raises Conflict: the move is not possible, a baseline fails, or another promotion was quicker.
        :raises Forbidden: an override by someone who is not an administrator.
        """
        if request.override and caller.role is not Role.ADMIN:
            raise Forbidden("only an administrator may override the gate")
        try:
            async with self._database.transaction() as conn:
                found, production = await repository.lock_for_promotion(conn, model_id)
                model = _found(found)
                check_move(model.status, Move.PROMOTE, request.target_status)
                verdict = judge(await repository.list_baselines(conn, model_id), model.metrics)
                to_production = request.target_status is ModelStatus.PRODUCTION
                overridden = to_production and not verdict.passed and request.override
                if to_production and not verdict.passed and not overridden:
                    raise _failed_gate(verdict)
                moved = await self._move(
                    conn,
                    model,
                    request.target_status,
                    replacing=production if to_production else None,
                    action="PROMOTE",
                    reason=request.reason,
                    verdict=verdict,
                    overridden=overridden,
                    caller=caller,
                    origin=origin,
                )
                return moved, verdict
        except psycopg.errors.UniqueViolation as error:
            raise Conflict("another model was promoted at the same time") from error

    async def rollback(self, model_id: UUID, reason: str, *, caller: Caller, origin: Origin) -> Model:
        """Put the model that was in production before ``model_id`` back, archiving ``model_id``.

        :raises Conflict: ``model_id`` is not in production, or there is nothing to go back to.
        """
        try:
            async with self._database.transaction() as conn:
                current, _ = await repository.lock_for_promotion(conn, model_id)
                if _found(current).status is not ModelStatus.PRODUCTION:
                    raise Conflict("only the model in production can be rolled back")
                previous = await repository.get_rollback_target(conn)
                if previous is None:
                    raise Conflict("no model was in production before this one")
                check_move(previous.status, Move.ROLLBACK, ModelStatus.PRODUCTION)
                return await self._move(
                    conn,
                    previous,
                    ModelStatus.PRODUCTION,
                    replacing=current,
                    action="ROLLBACK",
                    reason=reason,
                    verdict=None,
                    overridden=False,
                    caller=caller,
                    origin=origin,
                )
        except psycopg.errors.UniqueViolation as error:
            raise Conflict("another model was promoted at the same time") from error

    async def archive(self, model_id: UUID, reason: str, *, caller: Caller, origin: Origin) -> Model:
        """Take a model out of use; archiving the one in production leaves none until another is promoted.

        :raises Conflict: it is archived already.
        """
        async with self._database.transaction() as conn:
            found, _ = await repository.lock_for_promotion(conn, model_id)
            model = _found(found)
            check_move(model.status, Move.ARCHIVE, ModelStatus.ARCHIVED)
            return await self._move(
                conn,
                model,
                ModelStatus.ARCHIVED,
                replacing=None,
                action="ARCHIVE",
                reason=reason,
                verdict=None,
                overridden=False,
                caller=caller,
                origin=origin,
            )

    async def _move(
        self,
        conn: Connection,
        model: Model,
        target: ModelStatus,
        *,
        replacing: Model | None,
        action: str,
        reason: str,
        verdict: Verdict | None,
        overridden: bool,
        caller: Caller,
        origin: Origin,
    ) -> Model:
        at = await repository.current_time(conn)
        if replacing is not None:
            replaced = f"replaced by {model.name} {model.version}: {reason}"
            await repository.set_status(conn, replacing.id, ModelStatus.ARCHIVED, at, replaced)
            await repository.insert_transition(
                conn, replacing, ModelStatus.ARCHIVED, at=at, reason=replaced, promoted_by=caller.user_id
            )
        moved = await repository.set_status(conn, model.id, target, at, reason)
        await repository.insert_transition(
            conn,
            model,
            target,
            at=at,
            reason=reason,
            promoted_by=caller.user_id,
            verdict=None if verdict is None else verdict.as_json(),
            overridden=overridden,
        )
        await audit.record(
            conn,
            origin,
            caller,
            action=action,
            resource_type="model",
            resource_id=model.id,
            old={"status": model.status, "production": None if replacing is None else str(replacing.id)},
            new={"status": target},
            metadata={"reason": reason, "overridden": overridden},
        )
        return moved


def _found(model: Model | None) -> Model:
    if model is None:
        raise NotFound("no model has this id", target="model_id")
    return model


def _failed_gate(verdict: Verdict) -> Conflict:
    details = [
        FieldError(check.metric, f"is {check.value}, must be {check.operator.value} {check.threshold}")
        for check in verdict.checks
        if not check.passed
    ]
    return Conflict("the model does not meet its baselines", target="baselines", details=details)
