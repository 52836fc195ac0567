"""Rows of ``ml_models``, ``baselines``, ``champion_rules`` and ``model_promotions``."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from shared.platform.database import Connection, Row
from shared.platform.listing import Listing, Page
from shared.platform.queries import queries
from shared.registry.lifecycle import ModelStatus
from shared.registry.model import Model, ModelFilter, Transition
from shared.registry.rules import Baseline, ChampionRule, NewBaseline, NewChampionRule

_SQL = queries("registry")
MODELS: Final = Listing(
    _SQL["list_models"],
    _SQL["count_models"],
    table="m",
    sorts={
        "created_at": "created_at",
        "name": "name",
        "algorithm": "algorithm",
        "status": "status",
    },
)


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


async def get_many(conn: Connection, model_ids: Sequence[UUID]) -> dict[UUID, Model]:
    """The models that exist of these."""
    rows = await (await conn.execute(_SQL["get_models"], {"model_ids": list(model_ids)})).fetchall()
    return {row["id"]: Model.model_validate(row) for row in rows}


async def get_predecessor(conn: Connection, model_id: UUID) -> tuple[Model, bool] | None:
    """The model that was in production before ``model_id`` was promoted, and whether it was archived on purpose."""
    row = await _one(conn, "get_predecessor", {"model_id": model_id})
    return None if row is None else (Model.model_validate(row), row["retired"])


async def list_in_staging_and_production(conn: Connection) -> list[Model]:
    """The models that may score."""
    rows = await (await conn.execute(_SQL["list_models_in_staging_and_production"])).fetchall()
    return [Model.model_validate(row) for row in rows]


async def lock_lifecycle(conn: Connection) -> None:
    """Nobody else moves a model until the transaction ends; what is read from here on stays true."""
    await conn.execute(_SQL["lock_lifecycle"])


async def next_instant(conn: Connection) -> datetime:
    """The database's clock, later than the last change of production."""
    row = await _one(conn, "next_instant", {})
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
    replaced_by: UUID | None = None,
) -> None:
    """Record the step from the model's present status to ``to_status``."""
    parameters = {
        "model_id": model.id,
        "from_status": model.status,
        "to_status": to_status,
        "verdict": None if verdict is None else Jsonb(dict(verdict)),
        "reason": reason,
        "overridden": overridden,
        "replaced_by": replaced_by,
        "promoted_by": promoted_by,
        "at": at,
    }
    await conn.execute(_SQL["insert_transition"], parameters)


async def list_transitions(conn: Connection, model_id: UUID) -> list[Transition]:
    """The life of one model, newest step first."""
    rows = await (await conn.execute(_SQL["list_transitions"], {"model_id": model_id})).fetchall()
    return [Transition.model_validate(row) for row in rows]


async def list_page(conn: Connection, which: ModelFilter, page: Page) -> tuple[list[Model], int]:
    """One page, and the number of models that the filters leave."""
    rows, total = await MODELS.read(conn, asdict(which), page)
    return [Model.model_validate(row) for row in rows], total


async def list_baselines(conn: Connection, model_id: UUID) -> list[Baseline]:
    """The baselines of one model."""
    rows = await (await conn.execute(_SQL["list_baselines"], {"model_id": model_id})).fetchall()
    return [Baseline.model_validate(row) for row in rows]


async def upsert_baseline(conn: Connection, model_id: UUID, new: NewBaseline, created_by: UUID | None) -> None:
    """Set the baseline of one metric."""
    await conn.execute(_SQL["upsert_baseline"], {**new.model_dump(), "model_id": model_id, "created_by": created_by})


async def list_champion_rules(conn: Connection, model_id: UUID) -> list[ChampionRule]:
    """The champion rules of one model."""
    rows = await (await conn.execute(_SQL["list_champion_rules"], {"model_id": model_id})).fetchall()
    return [ChampionRule.model_validate(row) for row in rows]


async def upsert_champion_rule(conn: Connection, model_id: UUID, new: NewChampionRule, created_by: UUID | None) -> None:
    """Set the champion rule of one metric."""
    parameters = {**new.model_dump(), "model_id": model_id, "created_by": created_by}
    await conn.execute(_SQL["upsert_champion_rule"], parameters)
