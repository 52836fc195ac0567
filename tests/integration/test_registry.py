"""Rules, comparison and lineage on a real database."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.types.json import Jsonb

from shared.platform.errors import InvalidContent, NotFound
from shared.registry.lifecycle import ModelStatus
from shared.registry.rules import Bound, NewBaseline, NewChampionRule, Operator
from tests.fixtures.registry import SCIENTIST, Registry

INTERVAL = {"recall": 0.8, "intervals": {"recall": {"low": 0.7, "high": 0.9}}}


async def _baseline(registry: Registry, model_id: UUID, threshold: float, **changes: Any) -> None:
    baseline = NewBaseline(metric="recall", operator=Operator.GTE, threshold=threshold, **changes)
    await registry.models.set_baselines(model_id, [baseline], caller=SCIENTIST, origin=registry.origin)


async def test_a_baseline_needs_a_recorded_metric(registry: Registry) -> None:
    """A misspelt metric is refused with those that exist, and none of the request is kept."""
    model_id = await registry.trained()
    wanted = [NewBaseline(metric=name, operator=Operator.GTE, threshold=0.5) for name in ("recall", "recal")]
    with pytest.raises(InvalidContent) as refused:
        await registry.models.set_baselines(model_id, wanted, caller=SCIENTIST, origin=registry.origin)
    assert refused.value.details[0].field == "baselines.1.metric"
    assert await registry.models.baselines(model_id) == []


async def test_setting_a_baseline_again_replaces_it_and_an_inactive_one_is_listed(registry: Registry) -> None:
    """One baseline a metric, and the audit log has what was there before."""
    model_id = await registry.trained(INTERVAL)
    await _baseline(registry, model_id, 0.5)
    await _baseline(registry, model_id, 0.7, bound=Bound.LOWER, is_active=False)
    (found,) = await registry.models.baselines(model_id)
    assert (found.threshold, found.bound, found.is_active) == (0.7, Bound.LOWER, False)
    changes = await registry.rows("SELECT old_values, new_values FROM audit_logs ORDER BY created_at")
    thresholds = [[[rule["threshold"] for rule in row[side]["rules"]] for side in row] for row in changes]
    assert thresholds == [[[], [0.5]], [[0.5], [0.7]]]


async def test_setting_a_champion_rule_again_replaces_it(registry: Registry) -> None:
    """One rule a metric; a metric that only describes is refused."""
    model_id = await registry.trained({"recall": 0.8, "flag_rate": 0.01})
    for tolerance in (0.1, 0.02):
        rule = NewChampionRule(metric="recall", tolerance=tolerance)
        await registry.models.set_champion_rules(model_id, [rule], caller=SCIENTIST, origin=registry.origin)
    assert [rule.tolerance for rule in await registry.models.champion_rules(model_id)] == [0.02]
    describing = NewChampionRule(metric="flag_rate", tolerance=0)
    with pytest.raises(InvalidContent):
        await registry.models.set_champion_rules(model_id, [describing], caller=SCIENTIST, origin=registry.origin)


class Made:
    """A dataset with its feature set and training job, as the other domains leave them."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.dataset, self.feature_set, self.job = uuid4(), uuid4(), uuid4()

    async def stored(self, test_from: datetime, parent: UUID | None = None) -> "Made":
        """Write the rows."""
        insert = self.registry.insert
        await insert(
            "datasets",
            {"id": self.dataset, "name": "payments", "storage_path": "x", "row_count": 1000, "parent_id": parent},
        )
        await insert(
            "feature_sets",
            {
                "id": self.feature_set,
                "dataset_id": self.dataset,
                "name": "all",
                "config": Jsonb({}),
                "status": "COMPLETED",
            },
        )
        split = {"rows": 1000, "ordered_by": "time", "test_from": int(test_from.timestamp() * 1_000_000)}
        job = {
            "id": self.job,
            "name": "fraud",
            "feature_set_id": self.feature_set,
            "algorithm": "xgboost",
            "hyperparameters": Jsonb({}),
            "status": "COMPLETED",
            "metrics": Jsonb({"split": split}),
        }
        await insert("training_jobs", job)
        return self

    async def model(self, metrics: dict[str, Any], **columns: Any) -> UUID:
        """A model that the job has made."""
        made = {"feature_set_id": self.feature_set, "training_job_id": self.job}
        model_id = await self.registry.trained(metrics, **made, **columns)
        async with self.registry.database.connection() as conn:
            await conn.execute("UPDATE training_jobs SET model_id = %s WHERE id = %s", (model_id, self.job))
        return model_id


MARCH, APRIL = datetime(2025, 3, 1, tzinfo=UTC), datetime(2025, 4, 1, tzinfo=UTC)


async def test_figures_of_other_data_are_compared_with_a_warning(registry: Registry) -> None:
    """The verdict of a champion rule says which datasets, times and counts differ."""
    old, new = await Made(registry).stored(MARCH), await Made(registry).stored(APRIL)
    champion = await old.model({"recall": 0.8, "rows": 200, "frauds": 9})
    await registry.promote(champion, ModelStatus.STAGING, ModelStatus.PRODUCTION)
    model_id = await new.model({"recall": 0.79, "rows": 200, "frauds": 8})
    rule = NewChampionRule(metric="recall", tolerance=0.02)
    await registry.models.set_champion_rules(model_id, [rule], caller=SCIENTIST, origin=registry.origin)
    await registry.promote(model_id, ModelStatus.STAGING, ModelStatus.PRODUCTION)
    verdict = (await registry.models.history(model_id))[0].verdict
    assert verdict is not None
    assert verdict["champion"] == str(champion)
    assert [check["worse_by"] for check in verdict["champion_checks"]] == [pytest.approx(0.01)]
    datasets, times, frauds = verdict["warnings"]
    assert str(old.dataset) in datasets
    assert "2025-04-01" in times
    assert "frauds: 8 and 9" in frauds


async def test_models_side_by_side(registry: Registry) -> None:
    """In the order asked for; what is equal once, what differs by model, None where a model has nothing."""
    first, second = await Made(registry).stored(MARCH), await Made(registry).stored(MARCH)
    month = {"rows": 100, "recall": 0.7}
    a = await first.model(
        {**INTERVAL, "fpr": 0.04, "rows": 200, "by_month": [{"month": "2025-03", **month}]},
        hyperparameters=Jsonb({"max_depth": 4, "eta": 0.1}),
        feature_names=Jsonb(["amount", "hour"]),
        feature_importance=Jsonb({"amount": 3.0, "hour": 1.0}),
    )
    b = await second.model(
        {"recall": 0.9, "fpr": 0.05, "rows": 200, "by_month": [{"month": "2025-04", **month}]},
        hyperparameters=Jsonb({"max_depth": 6, "eta": 0.1, "gamma": 1}),
        feature_names=Jsonb(["amount", "shop"]),
        feature_importance=Jsonb({"amount": 0.5}),
    )
    found = await registry.models.compare([b, a])
    assert [model["id"] for model in found["models"]] == [b, a]
    assert [model["dataset"]["id"] for model in found["models"]] == [second.dataset, first.dataset]
    assert found["models"][1]["test"] == {"from": MARCH, "months": ["2025-03", "2025-03"], "rows": 200, "frauds": None}
    rows = {row["metric"]: row for row in found["metrics"]}
    assert list(rows) == ["recall", "fpr", "rows"]
    assert (rows["recall"]["values"], rows["recall"]["low"], rows["recall"]["best"]) == ([0.9, 0.8], [None, 0.7], [0])
    assert (rows["fpr"]["better"], rows["fpr"]["best"]) == ("lower", [1])
    assert (rows["rows"]["better"], rows["rows"]["best"]) == (None, [])
    assert found["hyperparameters"] == {
        "same": {"eta": 0.1},
        "different": [{"name": "gamma", "values": [1, None]}, {"name": "max_depth", "values": [6, 4]}],
    }
    assert found["features"] == {
        "shared": 1,
        "different": [{"feature": "hour", "present": [False, True]}, {"feature": "shop", "present": [True, False]}],
    }
    assert found["importance"][0] == {"feature": "amount", "values": [0.5, 3.0]}
    assert found["by_month"] == {
        "months": ["2025-03", "2025-04"],
        "series": [
            {"metric": "recall", "values": [[None, 0.7], [0.7, None]]},
            {"metric": "rows", "values": [[None, 100], [100, None]]},
        ],
    }
    assert [warning["model_id"] for warning in found["warnings"]] == [a]


async def test_where_a_model_comes_from_and_what_was_made(registry: Registry) -> None:
    """Model, job, feature set, dataset and its earlier versions; and the same way back, in pages."""
    parent = await Made(registry).stored(MARCH)
    made = await Made(registry).stored(APRIL, parent.dataset)
    model_id = await made.model({"recall": 0.8})
    source, ancestors = await registry.models.lineage(model_id)
    assert source.training_job is not None
    assert source.feature_set is not None
    assert source.dataset is not None
    assert (source.training_job.id, source.feature_set.id, source.dataset.id) == (
        made.job,
        made.feature_set,
        made.dataset,
    )
    assert source.tested_from == APRIL
    assert [dataset.id for dataset in ancestors] == [parent.dataset]

    line, rows, total = await registry.models.descendants(made.dataset, limit=10, offset=0)
    assert ([dataset.id for dataset in line.ancestors], line.children) == ([parent.dataset], [])
    assert total == 1
    assert rows[0].model is not None
    assert (rows[0].feature_set.id, rows[0].model.id) == (made.feature_set, model_id)
    line, _, _ = await registry.models.descendants(parent.dataset, limit=10, offset=0)
    assert [dataset.id for dataset in line.children] == [made.dataset]
    _, rows, total = await registry.models.descendants(made.dataset, made.feature_set, limit=10, offset=1)
    assert (rows, total) == ([], 1)
    assert await registry.models.dataset_of(made.feature_set) == made.dataset


async def test_a_model_of_unknown_descent_has_no_lineage(registry: Registry) -> None:
    """It is shown alone."""
    source, ancestors = await registry.models.lineage(await registry.trained())
    assert (source.training_job, source.feature_set, source.dataset, ancestors) == (None, None, None, [])


async def test_what_does_not_exist_is_not_found(registry: Registry) -> None:
    """For every use case that names something."""
    nobody, known = uuid4(), await registry.trained()
    uses = [
        registry.models.get(nobody),
        registry.models.history(nobody),
        registry.models.baselines(nobody),
        registry.models.champion_rules(nobody),
        registry.models.compare([known, nobody]),
        registry.models.lineage(nobody),
        registry.models.descendants(nobody, limit=1, offset=0),
        registry.models.dataset_of(nobody),
        registry.archive(nobody),
        registry.rollback(nobody),
        registry.promote(nobody, ModelStatus.STAGING),
    ]
    for result in await asyncio.gather(*uses, return_exceptions=True):
        assert isinstance(result, NotFound)
