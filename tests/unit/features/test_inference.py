"""Roles of columns, told from names and types."""

import pytest

from shared.datasets.model import Column, DatasetSchema
from shared.features.config import Distance, Duration, FeatureConfig, Ratio
from shared.features.inference import infer_config
from shared.platform.errors import InvalidContent

SPARKOV = {
    "trans_date_trans_time": "datetime", "cc_num": "string", "merchant": "string", "category": "string", "amt": "float",
    "first": "string", "last": "string", "gender": "string", "street": "string", "city": "string", "state": "string",
    "zip": "string", "lat": "float", "long": "float", "city_pop": "integer", "job": "string", "dob": "date",
    "trans_num": "string", "unix_time": "integer", "merch_lat": "float", "merch_long": "float", "is_fraud": "integer",
}  # fmt: skip
HANDBOOK = {
    "TRANSACTION_ID": "integer", "TX_DATETIME": "datetime", "CUSTOMER_ID": "integer", "TERMINAL_ID": "integer",
    "TX_AMOUNT": "float", "TX_TIME_SECONDS": "integer", "TX_TIME_DAYS": "integer", "TX_FRAUD": "integer",
    "TX_FRAUD_SCENARIO": "integer",
}  # fmt: skip


def _schema(types: dict[str, str]) -> DatasetSchema:
    columns = [{"name": name, "type": kind, "nullable": True} for name, kind in types.items()]
    return DatasetSchema(columns=[Column.model_validate(column) for column in columns])


def test_sparkov_roles_are_found() -> None:
    """Every role of the Sparkov columns is told without help."""
    config = infer_config(_schema(SPARKOV), FeatureConfig())
    assert config.label_column == "is_fraud"
    assert config.time_column == "trans_date_trans_time"
    assert config.id_column == "trans_num"
    assert config.amount_column == "amt"
    assert config.entity_columns == ("cc_num", "merchant")
    assert config.protected_columns == ("gender", "dob")
    assert set(config.excluded_columns or ()) == {"first", "last", "street", "unix_time"}
    assert config.distances == (
        Distance(from_latitude="lat", from_longitude="long", to_latitude="merch_lat", to_longitude="merch_long"),
    )
    assert config.ratios == (Ratio(numerator="amt", denominator="city_pop"),)


def test_handbook_scenario_is_excluded() -> None:
    """A column that explains the label is never a feature; integer keys are categories."""
    config = infer_config(_schema(HANDBOOK), FeatureConfig())
    assert config.label_column == "TX_FRAUD"
    assert config.excluded_columns == ("TX_FRAUD_SCENARIO",)
    assert config.categorical_columns == ("CUSTOMER_ID", "TERMINAL_ID")


def test_what_the_caller_says_is_kept() -> None:
    """Given roles win over inferred ones: an unprotected date of birth yields a duration."""
    config = infer_config(_schema(SPARKOV), FeatureConfig(protected_columns=("gender",), amount_column="city_pop"))
    assert config.amount_column == "city_pop"
    assert config.protected_columns == ("gender",)
    assert config.durations == (Duration(start="dob", end="trans_date_trans_time"),)


@pytest.mark.parametrize("name", ["account_age", "card_age_days", "message", "stage"])
def test_an_age_that_is_no_persons_is_not_protected(name: str) -> None:
    """Only a person's age is protected, not an account's, and no word that merely contains it."""
    config = infer_config(_schema({"is_fraud": "integer", name: "float"}), FeatureConfig())
    assert config.protected_columns == ()


@pytest.mark.parametrize("name", ["age", "customer_age", "Gender", "date_of_birth", "birthDate", "ethnicity"])
def test_protected_attributes_are_recognised(name: str) -> None:
    """The usual protected attributes are found however they are spelled."""
    config = infer_config(_schema({"is_fraud": "integer", name: "string"}), FeatureConfig())
    assert config.protected_columns == (name,)


def test_columns_that_are_not_there_are_all_named() -> None:
    """One refusal lists every wrong column with the setting that names it."""
    wrong = FeatureConfig(time_column="when", amount_column="category", entity_columns=("nobody",))
    with pytest.raises(InvalidContent) as refusal:
        infer_config(_schema(SPARKOV), wrong)
    told = {detail.field: detail.message for detail in refusal.value.details}
    assert set(told) == {"config.time_column", "config.amount_column", "config.entity_columns"}
    assert "no column 'when'" in told["config.time_column"]
    assert "is a string" in told["config.amount_column"]


def test_an_unknown_label_is_asked_for() -> None:
    """Without a name that is usual for a label, the answer says which setting is needed."""
    with pytest.raises(InvalidContent) as refusal:
        infer_config(_schema({"a": "float", "b": "integer"}), FeatureConfig())
    assert refusal.value.target == "config.label_column"


def test_inferring_twice_changes_nothing() -> None:
    """A complete configuration is a fixed point, so a stored one can be sent again."""
    once = infer_config(_schema(SPARKOV), FeatureConfig())
    assert infer_config(_schema(SPARKOV), once) == once


def test_a_label_given_as_null_means_that_nothing_is_labelled() -> None:
    """No column becomes the label, nor the one that looks like it a feature; what needs labels is refused."""
    config = infer_config(_schema(SPARKOV), FeatureConfig(label_column=None))
    assert config.label_column is None
    assert "is_fraud" in (config.excluded_columns or ())
    assert infer_config(_schema(SPARKOV), config) == config
    for needs in ({"target_columns": ("category",)}, {"label_delay_days": 7.0}):
        with pytest.raises(InvalidContent, match="needs labels"):
            infer_config(_schema(SPARKOV), FeatureConfig.model_validate({"label_column": None, **needs}))
