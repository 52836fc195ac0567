"""The published schemas: valid, described, and of one mind with the validation."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from shared.datasets.model import Column, DatasetSchema
from shared.features.config import FeatureConfig
from shared.features.inference import infer_config
from shared.features.plan import plan_from_statistics
from shared.features.schemas import document_schemas
from shared.features.statistics import ColumnStatistics, NumericStatistics, TrainingStatistics


def _config() -> FeatureConfig:
    columns = [("amount", "float"), ("time", "datetime"), ("card_id", "string"), ("is_fraud", "integer")]
    schema = DatasetSchema.model_validate(
        {"columns": [Column(name=name, type=kind, nullable=False) for name, kind in columns]}  # type: ignore[arg-type]
    )
    return infer_config(schema, FeatureConfig(label_delay_days=7))


@pytest.mark.parametrize("document", ["config", "plan"])
def test_each_schema_is_one_by_the_metaschema(document: str) -> None:
    """Of the dialect that it names."""
    schema = document_schemas()[document]
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(schema)


def test_every_setting_is_described() -> None:
    """A form drawn from the schema can say of each field what it is for."""
    schema = document_schemas()["config"]
    for name, part in [("config", schema), *schema["$defs"].items()]:
        silent = [field for field, about in part.get("properties", {}).items() if not about.get("description")]
        assert not silent, f"{name}: {silent}"
        assert part["description"]


def test_what_the_app_writes_fits_the_schemas() -> None:
    """A complete configuration, and a plan fitted by it."""
    config = _config()
    Draft202012Validator(document_schemas()["config"]).validate(config.model_dump(mode="json"))
    numeric = NumericStatistics(
        mean=1.0, std=1.0, minimum=0.0, maximum=9.0, quantile_01=0.0, median=1.0, quantile_99=8.0, high_value=5.0
    )
    columns = {
        "amount": ColumnStatistics(name="amount", type="float", missing=0, distinct=90, numeric=numeric, decimals=2),
        "time": ColumnStatistics(name="time", type="datetime", missing=0, distinct=100),
        "card_id": ColumnStatistics(name="card_id", type="string", missing=0, distinct=20),
    }
    plan = plan_from_statistics(TrainingStatistics(rows=100, columns=columns, until=None), config)
    assert {feature.kind for feature in plan.features} >= {"raw", "date_part", "behavioural"}
    Draft202012Validator(document_schemas()["plan"]).validate(plan.model_dump(mode="json"))


@pytest.mark.parametrize(
    "document",
    [
        {"windows": ["0h"]},
        {"windows": ["-1h"]},
        {"windows": ["10000d"]},
        {"train_fraction": 1},
        {"groups": ["magic"]},
        {"selection": {"recursive_elimination": {"step": 0}}},
        {"colour": "red"},
    ],
)
def test_the_schema_refuses_what_the_app_refuses(document: dict[str, Any]) -> None:
    """So a form need not ask the app to find the mistake."""
    with pytest.raises(ValidationError):
        Draft202012Validator(document_schemas()["config"]).validate(document)
    with pytest.raises(ValueError, match="validation error"):
        FeatureConfig.model_validate(document)
