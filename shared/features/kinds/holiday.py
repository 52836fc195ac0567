"""Public holidays in the country of a transaction."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from shared.features.calendars import is_country, public_holidays
from shared.features.config import ColumnName
from shared.features.inputs import MICROSECONDS_PER_DAY, Read
from shared.features.kinds.base import NAN, FeatureKind, OnlineFunction, Slots, Values, feature_name
from shared.features.statistics import FitContext

if TYPE_CHECKING:
    import polars as pl

_EPOCH: Final = date(1970, 1, 1).toordinal()
# Days since 1970 of the years 1 to 9999.
Day = Annotated[int, Field(ge=date.min.toordinal() - _EPOCH, le=date.max.toordinal() - _EPOCH)]
# Of the training part at most so many years, the last ones, and as many countries, the most frequent.
_YEARS_BACK, _COUNTRIES = 20, 50
# A model serves later than it was trained.
_YEARS_BEYOND = 5


class Holiday(FeatureKind):
    """1 where the transaction's day, in UTC, is a public holiday in its country.

    ``calendars`` hold the holidays of the days from ``first_day`` to ``last_day``, both included and all counted from
    1970-01-01, by the text of the column ``country_column``; without one there is a single country. Other days and
    other countries have no value.
    """

    kind: Literal["holiday"] = "holiday"
    group = "temporal"
    time_column: ColumnName
    country_column: ColumnName | None = None
    first_day: Day
    last_day: Day
    calendars: dict[str, tuple[Day, ...]]

    @model_validator(mode="after")
    def _has_a_country(self) -> Self:
        if not self.calendars or (self.country_column is None and len(self.calendars) != 1):
            raise ValueError("without a country column there is one calendar")
        return self

    @classmethod
    def propose(cls, fit: FitContext) -> Iterator[Self]:
        time, since, until = fit.config.time_column, fit.statistics.since, fit.statistics.until
        if time is None or since is None or until is None or not fit.column(time):
            return
        countries: dict[str | None, list[str]] = {}
        if fit.config.holiday_country is not None:
            countries[None] = [fit.config.holiday_country]
        for name in fit.config.holiday_columns or ():
            if column := fit.column(name):
                countries[name] = [value for value, _ in column.categories if is_country(value)][:_COUNTRIES]
        first, last = max(since.year, until.year - _YEARS_BACK), min(until.year + _YEARS_BEYOND, date.max.year)
        for country_column, codes in countries.items():
            if codes:
                yield cls(
                    name=feature_name(country_column or "", "is_holiday"),
                    time_column=time,
                    country_column=country_column,
                    first_day=date(first, 1, 1).toordinal() - _EPOCH,
                    last_day=date(last, 12, 31).toordinal() - _EPOCH,
                    calendars={code: public_holidays(code, first, last) for code in codes},
                )

    def reads(self) -> tuple[Read, ...]:
        time = Read(self.time_column, "instant")
        return (time,) if self.country_column is None else (time, Read(self.country_column, "category"))

    def batch(self, inputs: "Mapping[Read, pl.Expr]") -> "pl.Expr":
        import polars as pl

        time, *country = (inputs[read] for read in self.reads())
        day = time // MICROSECONDS_PER_DAY
        # A day and a country in one number, so that one look finds both.
        size = len(self.calendars)
        codes = (
            country[0].replace_strict(list(self.calendars), range(size), default=None, return_dtype=pl.Int64)
            if country
            else pl.lit(0, pl.Int64)
        )
        holidays = [day * size + code for code, days in enumerate(self.calendars.values()) for day in days]
        fitted = day.is_between(self.first_day, self.last_day) & codes.is_not_null()
        return pl.when(fitted).then((day * size + codes).is_in(holidays))

    def online(self, slots: Slots) -> OnlineFunction:
        time_slot, *country_slot = (slots[read] for read in self.reads())
        calendars = {country: frozenset(days) for country, days in self.calendars.items()}
        first, last = self.first_day, self.last_day
        only = next(iter(calendars.values()))

        def holiday(values: Values) -> float:
            instant = values[time_slot]
            days = calendars.get(values[country_slot[0]]) if country_slot else only
            if instant is None or days is None:
                return NAN
            day = instant // MICROSECONDS_PER_DAY
            return float(day in days) if first <= day <= last else NAN

        return holiday

    def describe(self) -> str:
        return f"1 on a public holiday in {self._where()} ({self.time_column}, UTC)"

    def say(self, value: float) -> str:
        """Is, or is not, a holiday."""
        return f"the day is {'a' if value else 'no'} public holiday in {self._where()}"

    def say_missing(self) -> str:
        """No country, no time, or beyond the calendars."""
        read = " or ".join(column for column, _ in self.reads())
        return f"{read} is missing, or the plan has no calendar of that country and year"

    def _where(self) -> str:
        return f"the {self.country_column}" if self.country_column else next(iter(self.calendars))
