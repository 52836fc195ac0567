"""Promotion, rollback and history on a real database."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.types.json import Jsonb

from shared.audit.model import Origin
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.platform.errors import Conflict, DomainError, Forbidden, InvalidContent, NotFound
from shared.registry.lifecycle import ModelStatus
from shared.registry.model import Model, NewBaseline, Operator, PromotionRequest
from shared.registry.service import RegistryService
from shared.users.model import Caller, Role

SCIENTIST = Caller(Role.SCIENTIST)


@pytest.fixture
def registry(database: Database) -> RegistryService:
    return RegistryService(database, utc_now)


async def _trained(database: Database, name: str = "fraud", **metrics: float) -> UUID:
    model_id = uuid4()
    async with database.connection() as conn:
        await conn.execute(
            "INSERT INTO ml_models (id, name, version, algorithm, hyperparameters, storage_path, metrics) "
            "VALUES (%s, %s, %s, 'xgboost', '{}', %s, %s)",
            (model_id, name, model_id.hex, f"models/{model_id}/", Jsonb(metrics or {"precision": 0.9, "recall": 0.8})),
        )
    return model_id


async def _promote(
    registry: RegistryService,
    model_id: UUID,
    target: ModelStatus,
    origin: Origin,
    *,
    caller: Caller = SCIENTIST,
    override: bool = False,
) -> Model:
    request = PromotionRequest(target_status=target, reason="better", override=override)
    return (await registry.promote(model_id, request, caller=caller, origin=origin))[0]


async def _in_production(registry: RegistryService, database: Database, origin: Origin) -> UUID:
    model_id = await _trained(database)
    await _promote(registry, model_id, ModelStatus.STAGING, origin)
    await _promote(registry, model_id, ModelStatus.PRODUCTION, origin)
    return model_id


async def _rows(database: Database, statement: Any) -> list[dict[str, Any]]:
    async with database.connection() as conn:
        return await (await conn.execute(statement)).fetchall()


async def test_promotion_replaces_the_model_in_production(
    registry: RegistryService, database: Database, origin: Origin
) -> None:
    """The new one is in production, the old one archived with the reason, in one step."""
    old, new = await _in_production(registry, database, origin), await _in_production(registry, database, origin)
    assert (await registry.production()).id == new
    archived = await registry.get(old)
    assert archived.status is ModelStatus.ARCHIVED
    assert archived.archived_reason is not None
    assert "better" in archived.archived_reason


async def test_a_stage_cannot_be_skipped(registry: RegistryService, database: Database, origin: Origin) -> None:
    """TRAINED goes to STAGING first."""
    with pytest.raises(Conflict, match="promoted to STAGING"):
        await _promote(registry, await _trained(database), ModelStatus.PRODUCTION, origin)


async def test_a_failed_baseline_keeps_the_model_out(
    registry: RegistryService, database: Database, origin: Origin
) -> None:
    """The refusal names metric, value and threshold, and nothing has changed."""
    live, model_id = await _in_production(registry, database, origin), await _trained(database, recall=0.8)
    await _promote(registry, model_id, ModelStatus.STAGING, origin)
    baseline = NewBaseline(metric="recall", operator=Operator.GTE, threshold=0.85)
    await registry.set_baselines(model_id, [baseline], caller=SCIENTIST, origin=origin)
    with pytest.raises(Conflict) as refused:
        await _promote(registry, model_id, ModelStatus.PRODUCTION, origin)
    assert refused.value.details[0].message == "is 0.8, must be gte 0.85"
    assert (await registry.production()).id == live
    assert (await registry.get(model_id)).status is ModelStatus.STAGING


async def test_only_an_administrator_overrides_and_it_is_recorded(
    registry: RegistryService, database: Database, origin: Origin, system: Caller
) -> None:
    """A scientist is refused; an administrator's override is in the history with the failing numbers."""
    model_id = await _trained(database, recall=0.8)
    await _promote(registry, model_id, ModelStatus.STAGING, origin)
    baseline = NewBaseline(metric="recall", operator=Operator.GTE, threshold=0.85)
    await registry.set_baselines(model_id, [baseline], caller=SCIENTIST, origin=origin)
    with pytest.raises(Forbidden):
        await _promote(registry, model_id, ModelStatus.PRODUCTION, origin, override=True)
    await _promote(registry, model_id, ModelStatus.PRODUCTION, origin, caller=system, override=True)
    step = (await registry.history(model_id))[0]
    assert step.overridden
    assert step.verdict is not None
    assert step.verdict["checks"][0]["value"] == 0.8


async def test_a_baseline_needs_a_recorded_metric(
    registry: RegistryService, database: Database, origin: Origin
) -> None:
    """A misspelt metric is refused with those that exist, and none of the request is kept."""
    model_id = await _trained(database)
    wanted = [NewBaseline(metric=name, operator=Operator.GTE, threshold=0.5) for name in ("recall", "recal")]
    with pytest.raises(InvalidContent) as refused:
        await registry.set_baselines(model_id, wanted, caller=SCIENTIST, origin=origin)
    assert refused.value.details[0].field == "baselines.1.metric"
    assert await registry.baselines(model_id) == []


async def test_setting_a_baseline_again_replaces_it(
    registry: RegistryService, database: Database, origin: Origin
) -> None:
    """One baseline a metric."""
    model_id = await _trained(database)
    for threshold in (0.5, 0.7):
        baseline = NewBaseline(metric="recall", operator=Operator.GTE, threshold=threshold)
        await registry.set_baselines(model_id, [baseline], caller=SCIENTIST, origin=origin)
    assert [found.threshold for found in await registry.baselines(model_id)] == [0.7]


async def test_rollback_brings_the_predecessor_back(
    registry: RegistryService, database: Database, origin: Origin
) -> None:
    """In one call, and a second rollback goes forward again."""
    first, second = await _in_production(registry, database, origin), await _in_production(registry, database, origin)
    assert (await registry.rollback(second, "worse", caller=SCIENTIST, origin=origin)).id == first
    assert (await registry.production()).id == first
    assert (await registry.get(second)).status is ModelStatus.ARCHIVED
    assert (await registry.rollback(first, "better after all", caller=SCIENTIST, origin=origin)).id == second


async def test_rollback_needs_the_production_model_and_a_predecessor(
    registry: RegistryService, database: Database, origin: Origin
) -> None:
    """Otherwise it is a conflict and changes nothing."""
    only = await _in_production(registry, database, origin)
    with pytest.raises(Conflict):
        await registry.rollback(only, "worse", caller=SCIENTIST, origin=origin)
    with pytest.raises(Conflict):
        await registry.rollback(await _trained(database), "worse", caller=SCIENTIST, origin=origin)
    assert (await registry.production()).id == only


async def test_which_model_was_in_production_at_a_time(
    registry: RegistryService, database: Database, origin: Origin
) -> None:
    """Before the first none, between two promotions the first, after an archiving none again."""
    before = datetime.now(UTC)
    first = await _in_production(registry, database, origin)
    between = datetime.now(UTC)
    second = await _in_production(registry, database, origin)
    after = datetime.now(UTC)
    await registry.archive(second, "retired", caller=SCIENTIST, origin=origin)
    assert (await registry.production(between)).id == first
    assert (await registry.production(after)).id == second
    for moment in (before, datetime.now(UTC)):
        with pytest.raises(NotFound):
            await registry.production(moment)


async def test_of_simultaneous_promotions_one_wins(
    registry: RegistryService, database: Database, origin: Origin
) -> None:
    """The others are conflicts, nothing of them remains, and there is one model in production."""
    await _in_production(registry, database, origin)
    candidates = [await _trained(database) for _ in range(8)]
    for model_id in candidates:
        await _promote(registry, model_id, ModelStatus.STAGING, origin)
    results = await asyncio.gather(
        *(_promote(registry, model_id, ModelStatus.PRODUCTION, origin) for model_id in candidates),
        return_exceptions=True,
    )
    winners = [result for result in results if isinstance(result, Model)]
    assert winners
    assert all(isinstance(result, Conflict) for result in results if not isinstance(result, Model))
    live = await _rows(database, "SELECT id FROM ml_models WHERE status = 'PRODUCTION'")
    assert len(live) == 1
    steps = await _rows(database, "SELECT 1 FROM model_promotions WHERE to_status = 'PRODUCTION'")
    assert len(steps) == 1 + len(winners)


async def test_every_move_is_audited(registry: RegistryService, database: Database, origin: Origin) -> None:
    """Each step of the registry's history has its audit row."""
    model_id = await _in_production(registry, database, origin)
    await registry.archive(model_id, "retired", caller=SCIENTIST, origin=origin)
    actions = await _rows(database, "SELECT action FROM audit_logs ORDER BY created_at")
    assert [row["action"] for row in actions] == ["PROMOTE", "PROMOTE", "ARCHIVE"]


async def test_unknown_models_are_not_found(registry: RegistryService, origin: Origin) -> None:
    """For every use case that names one."""
    nobody = uuid4()
    uses = [
        registry.get(nobody),
        registry.history(nobody),
        registry.baselines(nobody),
        registry.archive(nobody, "x", caller=SCIENTIST, origin=origin),
        registry.rollback(nobody, "x", caller=SCIENTIST, origin=origin),
        _promote(registry, nobody, ModelStatus.STAGING, origin),
    ]
    for result in await asyncio.gather(*uses, return_exceptions=True):
        assert isinstance(result, DomainError)
        assert isinstance(result, NotFound)
