"""Promotion, rollback and archiving on real parts."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from devhost.daemons import free_port
from shared.platform.blobs import BlobStore
from shared.platform.errors import Conflict, Forbidden, NotFound, Unavailable
from shared.registry.lifecycle import ModelStatus
from shared.registry.model import PromotionRequest
from shared.registry.promotion import PromotionService
from shared.registry.rules import NewBaseline, Operator
from shared.users.model import Caller
from tests.fixtures.registry import SCIENTIST, Registry

TO_PRODUCTION = PromotionRequest(target_status=ModelStatus.PRODUCTION, reason="better")


async def _unmet(registry: Registry, model_id: UUID) -> None:
    """Give the model a baseline that it does not meet."""
    baseline = NewBaseline(metric="recall", operator=Operator.GTE, threshold=0.85)
    await registry.models.set_baselines(model_id, [baseline], caller=SCIENTIST, origin=registry.origin)


async def _everything(registry: Registry) -> list[object]:
    """All that a move may write."""
    tables = ("ml_models", "model_promotions", "audit_logs", "baselines", "champion_rules")
    return [await registry.rows(f"SELECT to_jsonb(t) AS row FROM {table} AS t ORDER BY t.id") for table in tables]


async def test_promotion_replaces_the_model_in_production(registry: Registry) -> None:
    """The new one is in production, the old one archived with the reason and by whom it was replaced, in one step."""
    old, new = await registry.live(), await registry.live()
    assert (await registry.models.production()).id == new
    archived = await registry.models.get(old)
    assert archived.status is ModelStatus.ARCHIVED
    assert archived.archived_reason is not None
    assert "better" in archived.archived_reason
    assert (await registry.models.history(old))[0].replaced_by == new


async def test_a_stage_cannot_be_skipped(registry: Registry) -> None:
    """TRAINED goes to STAGING first."""
    with pytest.raises(Conflict, match="promoted to STAGING"):
        await registry.promote(await registry.trained(), ModelStatus.PRODUCTION)


async def test_a_failed_baseline_keeps_the_model_out(registry: Registry) -> None:
    """The refusal names metric, value and threshold, and nothing has changed."""
    live, model_id = await registry.live(), await registry.staged()
    await _unmet(registry, model_id)
    before = await _everything(registry)
    with pytest.raises(Conflict) as refused:
        await registry.promote(model_id, ModelStatus.PRODUCTION)
    assert refused.value.details[0].message == "is 0.8, must be gte 0.85"
    assert (await registry.models.production()).id == live
    assert await _everything(registry) == before


async def test_only_an_administrator_overrides_and_it_is_recorded(registry: Registry, system: Caller) -> None:
    """A scientist is refused; an administrator's override is in history and audit log with the failing numbers."""
    model_id = await registry.staged()
    await _unmet(registry, model_id)
    with pytest.raises(Forbidden):
        await registry.promote(model_id, ModelStatus.PRODUCTION, override=True)
    await registry.promote(model_id, ModelStatus.PRODUCTION, caller=system, override=True)
    step = (await registry.models.history(model_id))[0]
    assert step.overridden
    assert step.verdict is not None
    assert step.verdict["checks"][0]["value"] == 0.8
    (row,) = await registry.rows("SELECT metadata FROM audit_logs WHERE new_values ->> 'status' = 'PRODUCTION'")
    assert row["metadata"] == {"reason": "better", "overridden": True, "verdict": step.verdict}


async def test_an_override_that_is_not_needed_is_not_recorded(registry: Registry, system: Caller) -> None:
    """A model that meets its baselines was promoted by the gate, whatever was asked for."""
    model_id = await registry.staged()
    await registry.promote(model_id, ModelStatus.PRODUCTION, caller=system, override=True)
    assert not (await registry.models.history(model_id))[0].overridden


async def test_a_dry_run_tells_what_would_happen_and_writes_nothing(registry: Registry, system: Caller) -> None:
    """The verdict with its numbers, who would be replaced, and what an override would do."""
    live, model_id = await registry.live(), await registry.staged()
    await _unmet(registry, model_id)
    before = await _everything(registry)
    trial = await registry.promotions.try_promotion(model_id, TO_PRODUCTION, caller=SCIENTIST)
    assert not trial.allowed
    assert trial.verdict.checks[0].value == 0.8
    assert trial.replaces is not None
    assert trial.replaces.id == live
    overriding = TO_PRODUCTION.model_copy(update={"override": True})
    assert (await registry.promotions.try_promotion(model_id, overriding, caller=system)).allowed
    with pytest.raises(Forbidden):
        await registry.promotions.try_promotion(model_id, overriding, caller=SCIENTIST)
    assert await _everything(registry) == before


@pytest.mark.parametrize("harm", ["lost", "truncated", "altered"])
@pytest.mark.parametrize("name", ["model.ubj", "plan.json", "metadata.json"])
async def test_a_model_that_cannot_be_loaded_goes_nowhere(registry: Registry, name: str, harm: str) -> None:
    """Neither to STAGING nor to PRODUCTION; the refusal and the dry run name the file."""
    trained, staged = await registry.trained(), await registry.staged()
    for model_id in (trained, staged):
        path = f"models/{model_id}/{name}"
        content = await registry.blobs.read_bytes(path)
        if harm == "lost":
            await registry.blobs.delete_prefix(path)
        else:
            harmed = content[:-1] if harm == "truncated" else bytes([content[0] ^ 1]) + content[1:]
            await registry.blobs.upload_bytes(path, harmed)
    for model_id, target in ((trained, ModelStatus.STAGING), (staged, ModelStatus.PRODUCTION)):
        with pytest.raises(Conflict, match="cannot be loaded") as refused:
            await registry.promote(model_id, target)
        assert refused.value.target == name
    trial = await registry.promotions.try_promotion(staged, TO_PRODUCTION, caller=SCIENTIST)
    assert (trial.allowed, trial.file) == (False, name)


async def test_a_model_without_a_recorded_artifact_goes_nowhere(registry: Registry) -> None:
    """Nobody can tell whether its files are the right ones."""
    with pytest.raises(Conflict, match="no verified artifact"):
        await registry.staged(artifact_sha256=None)


async def test_blob_that_is_away_is_told_as_such(registry: Registry, blob_connection_string: str) -> None:
    """The files may be fine: try again later."""
    away = re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{free_port()}", blob_connection_string)
    store = BlobStore(container="nowhere", connection_string=away)
    to_staging = PromotionRequest(target_status=ModelStatus.STAGING, reason="better")
    promote = PromotionService(registry.database, store).promote
    with pytest.raises(Unavailable):
        await promote(await registry.trained(), to_staging, caller=SCIENTIST, origin=registry.origin)
    await store.close()


async def test_rollback_walks_back_and_never_forward(registry: Registry) -> None:
    """Each call goes to the model that the present one was promoted over, until there is none."""
    first, second, third = [await registry.live() for _ in range(3)]
    assert await registry.rollback(third) == second
    assert await registry.rollback(second) == first
    with pytest.raises(Conflict, match="no model was in production before"):
        await registry.rollback(first)
    assert (await registry.models.production()).id == first


async def test_a_model_promoted_after_a_rollback_goes_back_to_where_that_led(registry: Registry) -> None:
    """The model that was rolled back does not come again."""
    first = await registry.live()
    await registry.rollback(await registry.live())
    third = await registry.live()
    assert await registry.rollback(third) == first


async def test_rollback_does_not_revive_what_was_archived_on_purpose(registry: Registry) -> None:
    """It says so, with the reason, and changes nothing."""
    first = await registry.live()
    await registry.archive(first, leave_without_production=True)
    second = await registry.live()
    with pytest.raises(Conflict, match=r"archived on purpose \(retired\)"):
        await registry.rollback(second)
    assert (await registry.models.production()).id == second
    assert [model.id for model in await registry.models.in_use()] == [second]


async def test_rollback_needs_the_production_model_and_a_loadable_predecessor(registry: Registry) -> None:
    """Otherwise it is a conflict and changes nothing."""
    first, second = await registry.live(), await registry.live()
    with pytest.raises(Conflict, match="only the model in production"):
        await registry.rollback(await registry.trained())
    await registry.blobs.delete_prefix(f"models/{first}/plan.json")
    with pytest.raises(Conflict, match=r"plan\.json is missing"):
        await registry.rollback(second)
    assert (await registry.models.production()).id == second


async def test_the_model_that_a_rollback_would_bring_is_in_use(registry: Registry) -> None:
    """Its history is kept up beside that of the model in production."""
    first, second = await registry.live(), await registry.live()
    assert {model.id for model in await registry.models.in_use()} == {first, second}


async def test_archiving_the_production_model_must_be_meant(registry: Registry) -> None:
    """Scoring would stop."""
    live = await registry.live()
    with pytest.raises(Conflict, match="would stop scoring") as refused:
        await registry.archive(live)
    assert refused.value.target == "leave_without_production"
    assert (await registry.archive(live, leave_without_production=True)).status is ModelStatus.ARCHIVED
    with pytest.raises(NotFound):
        await registry.models.production()


async def test_which_model_was_in_production_at_a_time(registry: Registry) -> None:
    """From the instant it entered until just before the instant it left; before the first and after the last, none."""
    first, second = await registry.live(), await registry.live()
    await registry.archive(second, leave_without_production=True)
    third = await registry.live()
    steps = await registry.rows(
        "SELECT promoted_at FROM model_promotions WHERE 'PRODUCTION' IN (from_status, to_status) "
        "GROUP BY promoted_at ORDER BY promoted_at"
    )
    entered, replaced, archived, again = (step["promoted_at"] for step in steps)
    instant = timedelta(microseconds=1)
    for moment, expected in (
        (entered, first),
        (replaced - instant, first),
        (replaced, second),
        (archived - instant, second),
        (again, third),
        (datetime.now(UTC), third),
    ):
        assert (await registry.models.production(moment)).id == expected
    for moment in (entered - instant, archived, again - instant):
        with pytest.raises(NotFound):
            await registry.models.production(moment)


async def test_changes_of_production_are_in_order_even_when_the_clock_was_set_back(registry: Registry) -> None:
    """Otherwise the model in production at a time, and where a rollback leads, would be wrong."""
    first = await registry.live()
    async with registry.database.connection() as conn:
        await conn.execute("UPDATE model_promotions SET promoted_at = promoted_at + interval '1 hour'")
    second = await registry.live()
    (step,) = [step for step in await registry.models.history(second) if step.to_status is ModelStatus.PRODUCTION]
    assert step.promoted_at > datetime.now(UTC) + timedelta(minutes=59)
    assert await registry.rollback(second) == first


async def test_of_simultaneous_promotions_exactly_one_wins(registry: Registry) -> None:
    """The others found another champion than the one they were judged against: they are told so and change nothing."""
    await registry.live()
    candidates = [await registry.staged() for _ in range(6)]
    async with registry.database.transaction() as conn:  # the line forms behind this
        await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('ml_models.status', 0))")
        tries = [asyncio.create_task(registry.promote(model, ModelStatus.PRODUCTION)) for model in candidates]
        waiting = "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while (await registry.rows(waiting))[0]["n"] < len(tries):
            continue
    results = await asyncio.gather(*tries, return_exceptions=True)
    (winner,) = [result for result in results if not isinstance(result, BaseException)]
    assert all(isinstance(result, Conflict) and "meanwhile" in result.message for result in results if result != winner)
    assert (await registry.models.production()).id == winner
    statuses = [(await registry.models.get(model)).status for model in candidates]
    assert statuses.count(ModelStatus.STAGING) == len(candidates) - 1


async def test_every_move_is_audited(registry: Registry) -> None:
    """Each step of the registry's history has its audit row."""
    await registry.archive(await registry.live(), leave_without_production=True)
    actions = await registry.rows("SELECT action FROM audit_logs ORDER BY created_at")
    assert [row["action"] for row in actions] == ["PROMOTE", "PROMOTE", "ARCHIVE"]


async def test_the_model_that_is_replaced_has_an_audit_row_of_its_own(registry: Registry) -> None:
    """Whoever asks what became of it finds who replaced it, with which model and why, by its own id."""
    old = await registry.live()
    new = await registry.live()
    rows = await registry.rows(
        "SELECT action, old_values, new_values, metadata FROM audit_logs "
        f"WHERE resource_id = '{old}' ORDER BY created_at DESC LIMIT 1"
    )
    assert rows == [
        {
            "action": "ARCHIVE",
            "old_values": {"status": "PRODUCTION"},
            "new_values": {"status": "ARCHIVED"},
            "metadata": rows[0]["metadata"] | {"replaced_by": str(new)},
        }
    ]
    assert rows[0]["metadata"]["reason"].endswith("better")


async def test_two_hundred_promotions_and_rollbacks_at_once(registry: Registry) -> None:
    """Over 20 models: at every moment after the first exactly one in production, each history a walk through the
    state machine, each change of production a pair, each move an audit row."""
    models = [await registry.live(), *[await registry.staged() for _ in range(19)]]
    done: list[UUID] = []
    running = True

    async def worker(number: int) -> None:
        for turn in range(10):
            try:
                if (number + turn) % 3:
                    done.append(await registry.promote(models[(number + turn) % 20], ModelStatus.PRODUCTION))
                else:
                    done.append(await registry.rollback((await registry.models.production()).id))
            except Conflict:
                continue

    async def watch() -> set[int]:
        seen = set()
        while running:
            (row,) = await registry.rows("SELECT count(*) AS live FROM ml_models WHERE status = 'PRODUCTION'")
            seen.add(row["live"])
            await asyncio.sleep(0.02)
        return seen

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(worker(number) for number in range(20)))
    running = False
    assert await watching == {1}
    assert len(done) > 5

    steps = await registry.rows("SELECT * FROM model_promotions ORDER BY promoted_at, to_status = 'PRODUCTION'")
    stands = dict.fromkeys(models, "TRAINED")
    live: UUID | None = None
    for step in steps:
        assert stands[step["model_id"]] == step["from_status"]
        stands[step["model_id"]] = step["to_status"]
        if step["from_status"] == "PRODUCTION":
            assert step["model_id"] == live
            live = None
        if step["to_status"] == "PRODUCTION":
            assert live is None
            live = step["model_id"]
    assert stands == {model["id"]: model["status"] for model in await registry.rows("SELECT id, status FROM ml_models")}
    replaced = {step["promoted_at"]: step["replaced_by"] for step in steps if step["from_status"] == "PRODUCTION"}
    entered = [step for step in steps if step["to_status"] == "PRODUCTION"]
    assert [replaced[step["promoted_at"]] for step in entered[1:]] == [step["model_id"] for step in entered[1:]]
    audited = await registry.rows("SELECT resource_id FROM audit_logs WHERE new_values ->> 'status' = 'PRODUCTION'")
    moved = [str(row["resource_id"]) for row in audited]
    assert sorted(moved) == sorted(str(model_id) for model_id in [models[0], *done])
