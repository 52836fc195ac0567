"""Rows of ``ml_models``, ``baselines`` and ``model_promotions``."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from shared.platform.database import Connection, Row, scalar
from shared.platform.queries import queries
from shared.registry.lifecycle import ModelStatus
from shared.registry.model import Baseline, Model, NewBaseline, Transition

_SQL = queries("registry")


async def _one(conn: Connection, statement: str, parameters: Mapping[str, Any]) -> Row | None:
    return await (await conn.execute(_SQL[statement], parameters)).fetchone()


async def ping(conn: Connection) -> None:
    """Return when the database answers."""
    await conn.execute(_SQL["ping"])


async def get(conn: Connection, model_id: UUID) -> Model | None:
    """One model."""
    row = await _one(conn, "get_model", {"model_id": model_id})
    return None if row is None else Model.model_validate(row)


async def get_production(conn: Connection, at: datetime | None = None) -> Model | None:
    """The model in production, now or at a time."""
    row = await _one(conn, "get_production_model" if at is None else "get_production_model_at", {"at": at})
    return None if row is None else Model.model_validate(row)


async def get_rollback_target(conn: Connection) -> Model | None:
    """The archived model that was in production last."""
    row = await _one(conn, "get_rollback_target", {})
    return None if row is None else Model.model_validate(row)


async def list_in_use(conn: Connection) -> list[Model]:
    """The models in STAGING and PRODUCTION, and the one that a rollback would put back."""
    rows = await (await conn.execute(_SQL["list_models_in_use"])).fetchall()
    return [Model.model_validate(row) for row in rows]


async def lock_for_promotion(conn: Connection, model_id: UUID) -> tuple[Model | None, Model | None]:
    """The model of this id and the one in production (which may be the same), both locked."""
    rows = await (await conn.execute(_SQL["lock_models_for_promotion"], {"model_id": model_id})).fetchall()
    models = [Model.model_validate(row) for row in rows]
    wanted = next((model for model in models if model.id == model_id), None)
    production = next((model for model in models if model.status is ModelStatus.PRODUCTION), None)
    return wanted, production


async def current_time(conn: Connection) -> datetime:
    """The database's clock."""
    row = await _one(conn, "current_time", {})
    assert row is not None
    now: datetime = row["now"]
    return now


async def set_status(conn: Connection, model_id: UUID, status: ModelStatus, at: datetime, reason: str) -> Model:
    """Move a model.

    :raises psycopg.errors.UniqueViolation: another model is in production.
    """
    parameters = {"model_id": model_id, "status": status, "at": at, "reason": reason}
    return Model.model_validate(await _one(conn, "set_model_status", parameters))


async def insert_transition(
    conn: Connection,
    model: Model,
    to_status: ModelStatus,
    *,
    at: datetime,
    reason: str,
    promoted_by: UUID | None,
    verdict: Mapping[str, Any] | None = None,
    overridden: bool = False,
) -> None:
    """Record the step from the model's present status to ``to_status``."""
    parameters = {
        "model_id": model.id,
        "from_status": model.status,
        "to_status": to_status,
        "verdict": None if verdict is None else Jsonb(dict(verdict)),
        "reason": reason,
        "overridden": overridden,
        "promoted_by": promoted_by,
        "at": at,
    }
    await conn.execute(_SQL["insert_transition"], parameters)


async def list_transitions(conn: Connection, model_id: UUID) -> list[Transition]:
    """The life of one model, newest step first."""
    rows = await (await conn.execute(_SQL["list_transitions"], {"model_id": model_id})).fetchall()
    return [Transition.model_validate(row) for row in rows]


async def list_page(
    conn: Connection, *, status: ModelStatus | None, algorithm: str | None, limit: int, offset: int
) -> tuple[list[Model], int]:
    """One page, newest first, and the number of models that the filters leave."""
    filters = {"status": status, "algorithm": algorithm}
    rows = await (await conn.execute(_SQL["list_models"], {**filters, "limit": limit, "offset": offset})).fetchall()
    total = scalar(await _one(conn, "count_models", filters), "total")
    return [Model.model_validate(row) for row in rows], total


async def list_baselines(conn: Connection, model_id: UUID) -> list[Baseline]:
    """The baselines of one model."""
    rows = await (await conn.execute(_SQL["list_baselines"], {"model_id": model_id})).fetchall()
    return [Baseline.model_validate(row) for row in rows]


async def upsert_baseline(conn: Connection, model_id: UUID, new: NewBaseline, created_by: UUID | None) -> Baseline:
    """Set the baseline of one metric."""
    parameters = {**new.model_dump(), "model_id": model_id, "created_by": created_by}
    return Baseline.model_validate(await _one(conn, "upsert_baseline", parameters))
