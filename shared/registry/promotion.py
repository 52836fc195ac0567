"""Moving models through their life.

Each move is one transaction that holds the lifecycle's lock, so it decides on what is true when it commits. What takes
long (reading and loading a model's files) happens before it; a move that finds another model in production than when it
began changes nothing.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from shared.audit import service as audit
from shared.audit.model import Origin
from shared.platform.blobs import BlobStore
from shared.platform.database import Connection, Database
from shared.platform.errors import Conflict, Forbidden
from shared.registry import lineage_repository, repository
from shared.registry.artifact_check import check_artifact
from shared.registry.gate import Verdict, judge
from shared.registry.lifecycle import ModelStatus, Move, check_move
from shared.registry.model import ArchiveRequest, Model, PromotionRequest, found
from shared.registry.provenance import differences
from shared.users.model import Caller, Role

_MEANWHILE = "another model was put into production meanwhile: look at the verdict again"


@dataclass(frozen=True, slots=True)
class Trial:
    """What a promotion would do. ``fault`` says why the model's files cannot serve, ``file`` which one it is."""

    model: Model
    target_status: ModelStatus
    replaces: Model | None
    verdict: Verdict
    overridden: bool
    fault: str | None
    file: str | None

    @property
    def allowed(self) -> bool:
        """Whether the promotion would succeed."""
        return self.fault is None and (not _gated(self.target_status) or self.verdict.passed or self.overridden)


@dataclass(frozen=True, slots=True)
class _Step:
    """A move that was decided on."""

    move: Move
    target: ModelStatus
    reason: str
    caller: Caller
    origin: Origin
    verdict: Verdict | None = None
    overridden: bool = False


class PromotionService:
    """Use cases that move a model."""

    def __init__(self, database: Database, blobs: BlobStore) -> None:
        self._database = database
        self._blobs = blobs

    async def promote(
        self, model_id: UUID, request: PromotionRequest, *, caller: Caller, origin: Origin
    ) -> tuple[Model, Verdict]:
        """Move a model to STAGING or, through the gate, to PRODUCTION, archiving the one that was there.

        :raises NotFound: there is no such model.
        :raises Conflict: the move is not possible, a rule fails, the model's files cannot be loaded, or another model
            came into production meanwhile.
        :raises Forbidden: an override by someone who is not an administrator.
        :raises Unavailable: Blob cannot be reached.
        """
        _check_override(request, caller)
        async with self._database.connection() as conn:
            model = found(await repository.get(conn, model_id))
            check_move(model.status, Move.PROMOTE, request.target_status)
            champion = await repository.get_production(conn)
        await check_artifact(self._blobs, model)
        async with self._moving() as conn:
            model = found(await repository.get(conn, model_id))
            check_move(model.status, Move.PROMOTE, request.target_status)
            production = await repository.get_production(conn)
            verdict = await _judge(conn, model, production)
            gated = _gated(request.target_status)
            if gated and (production and production.id) != (champion and champion.id):
                raise Conflict(_MEANWHILE, target="models/production")
            overridden = gated and not verdict.passed and request.override
            if gated and not verdict.passed and not overridden:
                raise Conflict("the model does not pass the gate", target="verdict", details=verdict.faults)
            step = _Step(Move.PROMOTE, request.target_status, request.reason, caller, origin, verdict, overridden)
            return await _take(conn, model, step, replacing=production if gated else None), verdict

    async def try_promotion(self, model_id: UUID, request: PromotionRequest, *, caller: Caller) -> Trial:
        """What :meth:`promote` would do now. Nothing is changed and nothing is written.

        :raises Conflict: the move is not possible from where the model stands.
        :raises Forbidden, NotFound, Unavailable: as :meth:`promote`.
        """
        _check_override(request, caller)
        async with self._database.connection() as conn:
            model = found(await repository.get(conn, model_id))
            check_move(model.status, Move.PROMOTE, request.target_status)
            production = await repository.get_production(conn)
            verdict = await _judge(conn, model, production)
        fault = file = None
        try:
            await check_artifact(self._blobs, model)
        except Conflict as error:
            fault, file = error.message, error.target
        gated = _gated(request.target_status)
        return Trial(
            model=model,
            target_status=request.target_status,
            replaces=production if gated else None,
            verdict=verdict,
            overridden=gated and not verdict.passed and request.override,
            fault=fault,
            file=file,
        )

    async def rollback(self, model_id: UUID, reason: str, *, caller: Caller, origin: Origin) -> Model:
        """Archive ``model_id`` and put the model back that was in production before ``model_id`` was promoted.

        Rolling back again goes one promotion further back, never forward.

        :raises NotFound: there is no such model.
        :raises Conflict: ``model_id`` is not in production, there is nothing to go back to, the predecessor was
            archived on purpose or cannot be loaded, or another model came into production meanwhile.
        :raises Unavailable: Blob cannot be reached.
        """
        async with self._database.connection() as conn:
            _, chosen = await _rollback(conn, model_id)
        await check_artifact(self._blobs, chosen)
        async with self._moving() as conn:
            current, previous = await _rollback(conn, model_id)
            if previous.id != chosen.id:
                raise Conflict(_MEANWHILE, target="models/production")
            step = _Step(Move.ROLLBACK, ModelStatus.PRODUCTION, reason, caller, origin)
            return await _take(conn, previous, step, replacing=current)

    async def archive(self, model_id: UUID, request: ArchiveRequest, *, caller: Caller, origin: Origin) -> Model:
        """Take a model out of use for good.

        :raises NotFound: there is no such model.
        :raises Conflict: it is archived already; or it is in production, and the request does not say that scoring
            shall stop.
        """
        async with self._moving() as conn:
            model = found(await repository.get(conn, model_id))
            check_move(model.status, Move.ARCHIVE, ModelStatus.ARCHIVED)
            if model.status is ModelStatus.PRODUCTION and not request.leave_without_production:
                message = (
                    "the model is in production and archiving it would stop scoring: promote another model, roll back, "
                    "or say leave_without_production"
                )
                raise Conflict(message, target="leave_without_production")
            step = _Step(Move.ARCHIVE, ModelStatus.ARCHIVED, request.reason, caller, origin)
            return await _take(conn, model, step)

    @asynccontextmanager
    async def _moving(self) -> AsyncIterator[Connection]:
        """A transaction in which nobody else moves a model."""
        async with self._database.transaction() as conn:
            await repository.lock_lifecycle(conn)
            yield conn


def _gated(target: ModelStatus) -> bool:
    return target is ModelStatus.PRODUCTION


def _check_override(request: PromotionRequest, caller: Caller) -> None:
    if request.override and caller.role is not Role.ADMIN:
        raise Forbidden("only an administrator may override the gate")


async def _judge(conn: Connection, model: Model, champion: Model | None) -> Verdict:
    rules = await repository.list_champion_rules(conn, model.id)
    warnings: list[str] = []
    if champion is not None and any(rule.is_active for rule in rules):
        sources = await lineage_repository.get_provenance(conn, [model.id, champion.id])
        warnings = differences(sources[model.id], model.metrics, sources[champion.id], champion.metrics)
    return judge(await repository.list_baselines(conn, model.id), model.metrics, rules, champion, warnings)


async def _rollback(conn: Connection, model_id: UUID) -> tuple[Model, Model]:
    """The model in production, and the one to put in its place."""
    current = found(await repository.get(conn, model_id))
    if current.status is not ModelStatus.PRODUCTION:
        raise Conflict(f"the model is {current.status.value}; only the model in production can be rolled back")
    predecessor = await repository.get_predecessor(conn, model_id)
    if predecessor is None:
        raise Conflict("no model was in production before this one was promoted")
    previous, retired = predecessor
    if retired:
        raise Conflict(
            f"the model before it, {previous.name} {previous.version}, was archived on purpose "
            f"({previous.archived_reason}); promote another model instead"
        )
    check_move(previous.status, Move.ROLLBACK, ModelStatus.PRODUCTION)
    return current, previous


async def _take(conn: Connection, model: Model, step: _Step, replacing: Model | None = None) -> Model:
    """Write the step: status, history and audit row, and those of the model that it replaces."""
    at = await repository.next_instant(conn)
    by = step.caller.user_id
    if replacing is not None:
        why = f"replaced by {model.name} {model.version}: {step.reason}"
        await repository.set_status(conn, replacing.id, ModelStatus.ARCHIVED, at, why)
        await repository.insert_transition(
            conn, replacing, ModelStatus.ARCHIVED, at=at, reason=why, promoted_by=by, replaced_by=model.id
        )
        await audit.record(
            conn,
            step.origin,
            step.caller,
            action=Move.ARCHIVE.name,
            resource_type="model",
            resource_id=replacing.id,
            old={"status": replacing.status},
            new={"status": ModelStatus.ARCHIVED},
            metadata={"reason": why, "replaced_by": str(model.id)},
        )
    moved = await repository.set_status(conn, model.id, step.target, at, step.reason)
    verdict = None if step.verdict is None else step.verdict.as_json()
    await repository.insert_transition(
        conn,
        model,
        step.target,
        at=at,
        reason=step.reason,
        promoted_by=by,
        verdict=verdict,
        overridden=step.overridden,
    )
    metadata: dict[str, Any] = {"reason": step.reason, "overridden": step.overridden}
    if verdict is not None:
        metadata["verdict"] = verdict
    await audit.record(
        conn,
        step.origin,
        step.caller,
        action=step.move.name,
        resource_type="model",
        resource_id=model.id,
        old={"status": model.status, "production": None if replacing is None else str(replacing.id)},
        new={"status": step.target},
        metadata=metadata,
    )
    return moved
