"""Public holidays: which day in which country, and where there is no answer."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from shared.datasets.model import Column, DatasetSchema
from shared.features.batch import fit_plan, transform
from shared.features.calendars import is_country, public_holidays
from shared.features.config import FeatureConfig
from shared.features.fitting import column_type
from shared.features.inference import infer_config
from shared.features.kinds.holiday import Holiday
from shared.features.online import compile_plan
from shared.features.plan import FeaturePlan
from shared.platform.errors import InvalidContent

_EPOCH = date(1970, 1, 1)
_TIMES = [datetime(2025, 7, 4, 12, tzinfo=UTC) + timedelta(days=n // 4) for n in range(12)]
_COUNTRIES = ["US", "GB", "XX", None] * 3


def _frame() -> pl.DataFrame:
    """Three days from the fourth of July on, each in two countries, in one that does not exist and in none."""
    return pl.DataFrame(
        {
            "transaction_time": _TIMES,
            "amount": [float(n) for n in range(12)],
            "country": _COUNTRIES,
            "is_fraud": [0, 1] * 6,
        },
        schema_overrides={"country": pl.String},
    )


def _config(frame: pl.DataFrame, **changes: Any) -> FeatureConfig:
    columns = [Column(name=n, type=column_type(t) or "string", nullable=True) for n, t in frame.schema.items()]
    given = FeatureConfig.model_validate({"groups": ["temporal"]} | changes)
    return infer_config(DatasetSchema(columns=columns), given)


def _plan(frame: pl.DataFrame | None = None, **changes: Any) -> FeaturePlan:
    frame = _frame() if frame is None else frame
    return fit_plan(frame.lazy(), _config(frame, **changes))


def _holidays(plan: FeaturePlan) -> list[Holiday]:
    return [feature for feature in plan.features if isinstance(feature, Holiday)]


def _online(plan: FeaturePlan, when: str, country: str | None, name: str = "country_is_holiday") -> float:
    return float(compile_plan(plan.select([name])).vector({"transaction_time": when, "country": country})[0])


def test_the_fourth_of_july_is_a_holiday_in_one_country() -> None:
    """In a file: 1 and 0 where there is a calendar, missing for a country that has none and for no country."""
    found = transform(_plan().select(["country_is_holiday"]), _frame().lazy()).collect().to_series().to_numpy()
    np.testing.assert_array_equal(found, np.array([1, 0, np.nan, np.nan] + [0, 0, np.nan, np.nan] * 2, np.float32))


@pytest.mark.parametrize(
    ("when", "country", "expected"),
    [
        ("2025-07-04T00:00:00Z", "US", 1.0),
        ("2025-07-04T23:59:59.999999Z", "US", 1.0),
        ("2025-07-04T23:30:00-05:00", "US", 0.0),
        ("2025-07-05T01:00:00+02:00", "US", 1.0),
        ("2025-07-04T12:00:00Z", "GB", 0.0),
        ("2030-12-25T12:00:00", "GB", 1.0),
        ("2031-12-25T12:00:00", "GB", np.nan),
        ("2024-12-25T12:00:00", "GB", np.nan),
        ("2025-07-04T12:00:00Z", "XX", np.nan),
        ("2025-07-14T12:00:00Z", "FR", np.nan),
        ("2025-07-04T12:00:00Z", None, np.nan),
    ],
)
def test_the_day_is_that_of_utc_within_the_fitted_years(when: str, country: str | None, expected: float) -> None:
    """Online: an offset counts, and beyond five years after training or for an unseen country nothing is claimed."""
    np.testing.assert_equal(_online(_plan(), when, country), expected)


def test_a_fixed_country_needs_no_column() -> None:
    """A shop of one country has the feature for every transaction."""
    frame = _frame().drop("country")
    plan = _plan(frame, holiday_country="FR")
    assert _online(plan, "2025-07-14T12:00:00Z", None, "is_holiday") == 1.0
    assert _online(plan, "2025-07-15T12:00:00Z", None, "is_holiday") == 0.0
    assert transform(plan.select(["is_holiday"]), frame.lazy()).collect().to_series().to_list() == [0.0] * 12


def test_several_columns_have_a_feature_each() -> None:
    """Where the buyer is and where the card is from may both be asked for, and a fixed country beside them."""
    frame = _frame().with_columns(card_country=pl.col("country").reverse())
    plan = _plan(frame, holiday_columns=["country", "card_country"], holiday_country="FR")
    assert {f.name for f in _holidays(plan)} == {"is_holiday", "country_is_holiday", "card_country_is_holiday"}


def test_the_country_column_is_found_by_its_name() -> None:
    """One column is inferred; an empty list, or a fixed country, means none."""
    frame = _frame().with_columns(card_country=pl.lit("GB"))
    assert _config(frame).holiday_columns == ("country",)
    assert _config(frame, holiday_columns=[]).holiday_columns == ()
    assert _config(frame, holiday_country="GB").holiday_columns == ()
    assert _config(frame.rename({"country": "billingCountry"})).holiday_columns == ("billingCountry",)
    assert _config(frame, excluded_columns=["country"]).holiday_columns == ("card_country",)


def test_names_of_countries_are_no_codes() -> None:
    """A column of other texts has no calendars, and the plan no such feature."""
    frame = _frame().with_columns(country=pl.Series(["Germany", "us", "FRA"] * 4))
    assert _holidays(_plan(frame)) == []


def test_a_single_country_is_enough() -> None:
    """A column that never varies says nothing by itself, but its holidays do vary."""
    assert _holidays(_plan(_frame().with_columns(country=pl.lit("US"))))[0].calendars.keys() == {"US"}


def test_calendars_are_those_of_the_training_part_and_few() -> None:
    """Twenty years back and five on, of the fifty most frequent countries."""
    codes = [first + second for first in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" for second in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    countries = [code for code in codes if is_country(code)][:60]
    frame = pl.DataFrame(
        {
            "transaction_time": [datetime(1990, 1, 1, tzinfo=UTC), *[datetime(2025, 3, 1, tzinfo=UTC)] * 119],
            "country": countries * 2,
            "is_fraud": [0, 1] * 60,
        }
    )
    (holiday,) = _holidays(_plan(frame))
    assert list(holiday.calendars) == countries[:50]
    assert holiday.first_day == (date(2005, 1, 1) - _EPOCH).days
    assert holiday.last_day == (date(2030, 12, 31) - _EPOCH).days
    days = [day for calendar in holiday.calendars.values() for day in calendar]
    assert holiday.first_day <= min(days) <= max(days) <= holiday.last_day
    assert FeaturePlan.from_json(_plan(frame).to_json()) == _plan(frame)


def test_a_calendar_is_whole_days_in_order() -> None:
    """Christmas moves to Monday and Tuesday as the law has it; a calendar that is not announced yet is an estimate."""
    days = [_EPOCH + timedelta(days=day) for day in public_holidays("GB", 2027, 2027)]
    assert days == sorted(set(days))
    assert {date(2027, 12, 25), date(2027, 12, 27), date(2027, 12, 28)} <= set(days)
    assert public_holidays("IN", 2090, 2091)


@pytest.mark.parametrize(
    ("changes", "setting", "reason"),
    [
        ({"holiday_columns": ["nowhere"]}, "config.holiday_columns", "no column 'nowhere'"),
        ({"holiday_columns": ["amount"]}, "config.holiday_columns", "is a float"),
        ({"holiday_columns": ["gender"]}, "config.holiday_columns", "protected"),
        ({"holiday_country": "QQ"}, "config.holiday_country", "no calendar of 'QQ'"),
    ],
)
def test_what_has_no_holidays_is_refused_by_name(changes: dict[str, Any], setting: str, reason: str) -> None:
    """The answer names the setting and the reason."""
    with pytest.raises(InvalidContent) as refusal:
        _config(_frame().with_columns(gender=pl.lit("f")), **changes)
    (detail,) = refusal.value.details
    assert detail.field == setting
    assert reason in detail.message


@pytest.mark.parametrize("changes", [{"holiday_columns": ["country"]}, {"holiday_country": "GB"}])
def test_without_a_time_there_are_no_holidays(changes: dict[str, Any]) -> None:
    """Nothing tells the day: refused when asked for, left out when not."""
    frame = _frame().drop("transaction_time")
    with pytest.raises(InvalidContent) as refusal:
        _config(frame, groups=None, **changes)
    assert refusal.value.target == f"config.{next(iter(changes))}"
    assert _config(frame, groups=None).holiday_columns == ()


@pytest.mark.parametrize("country", ["gb", "GBR", "", "G1"])
def test_a_country_is_an_iso_code(country: str) -> None:
    """Two capital letters, ISO 3166-1 alpha-2."""
    with pytest.raises(ValidationError):
        FeatureConfig(holiday_country=country)


def test_a_plan_without_a_calendar_is_refused() -> None:
    """Without a column there is exactly one country."""
    (holiday,) = _holidays(_plan())
    for change in ({"calendars": {}}, {"country_column": None}):
        with pytest.raises(ValidationError):
            Holiday.model_validate(holiday.model_dump() | change)


def test_a_value_is_told_in_words() -> None:
    """A reason of a decision names the country's column, or the country."""
    (holiday,) = _holidays(_plan())
    assert holiday.tell(1.0) == "the day is a public holiday in the country"
    assert holiday.tell(0.0) == "the day is no public holiday in the country"
    assert "country" in holiday.tell(None)
