"""Categories: one-hot where there are few values, frequency where there are many; missing indicators."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field

from shared.features.inputs import Form, Read
from shared.features.kinds.base import MAX_NAME, NAN, FeatureKind, OnlineFunction, Slots, Values, feature_name
from shared.features.statistics import ColumnStatistics, FitContext

if TYPE_CHECKING:
    import polars as pl

Share = Annotated[float, Field(ge=0, le=1)]

# A category seen more rarely than this says nothing that holds outside the training part.
_MIN_ROWS_PER_CATEGORY = 20


def _is_low_cardinality(column: ColumnStatistics, limit: int) -> bool:
    return column.distinct <= limit


class OneHot(FeatureKind):
    """1 where the column holds this category, 0 for any other, known or not."""

    kind: Literal["one_hot"] = "one_hot"
    group = "transaction"
    column: str
    category: str

    @classmethod
    def propose(cls, fit: FitContext) -> Iterator[Self]:
        for column in fit.categorical():
            if not _is_low_cardinality(column, fit.config.one_hot_limit):
                continue
            categories = [value for value, _ in column.categories]
            if len(categories) == 2 and not column.missing:
                categories = categories[:1]  # the other one is its complement
            for name, category in zip(_category_names(column.name, categories), categories, strict=True):
                yield cls(name=name, column=column.name, category=category)

    def reads(self) -> tuple[Read, ...]:
        return (Read(self.column, "category"),)

    def batch(self, inputs: "Mapping[Read, pl.Expr]") -> "pl.Expr":
        return inputs[Read(self.column, "category")] == self.category

    def online(self, slots: Slots) -> OnlineFunction:
        slot, category = slots[Read(self.column, "category")], self.category

        def one_hot(values: Values) -> float:
            value = values[slot]
            return NAN if value is None else float(value == category)

        return one_hot

    def describe(self) -> str:
        return f"1 where {self.column} is {self.category!r}"

    def say(self, value: float) -> str:
        """Is, or is not, this category."""
        return f"{self.column} is {'' if value else 'not '}{self.category!r}"


def _category_names(column: str, categories: list[str]) -> list[str]:
    """One name a category; those that would read the same get their position."""
    names = [feature_name(column, "is", category) for category in categories]
    seen = Counter(names)
    return [
        name if seen[name] == 1 and name != feature_name(column, "is") else f"{name[: MAX_NAME - 6]}_{position}"
        for position, name in enumerate(names)
    ]


class Frequency(FeatureKind):
    """How common the category is in the training part: its share of the rows, to the nearest power of two.

    0 for a category that is not listed. Exact shares are nearly unique and so would serve a model as the category's
    identity, which is what high-cardinality columns must not teach it.
    """

    kind: Literal["frequency"] = "frequency"
    group = "transaction"
    column: str
    shares: dict[str, Share]

    @classmethod
    def propose(cls, fit: FitContext) -> Iterator[Self]:
        rows = fit.statistics.rows
        for column in fit.categorical():
            if _is_low_cardinality(column, fit.config.one_hot_limit):
                continue
            if column.name not in (fit.config.frequency_columns or ()):
                continue
            if column.distinct * _MIN_ROWS_PER_CATEGORY > rows or not fit.config.frequency_limit:
                continue
            shares = {
                value: _nearest_power_of_two(count / rows)
                for value, count in column.categories[: fit.config.frequency_limit]
            }
            yield cls(name=feature_name(column.name, "frequency"), column=column.name, shares=shares)

    def reads(self) -> tuple[Read, ...]:
        return (Read(self.column, "category"),)

    def batch(self, inputs: "Mapping[Read, pl.Expr]") -> "pl.Expr":
        import polars as pl

        category = inputs[Read(self.column, "category")]
        share = category.replace_strict(self.shares, default=0.0, return_dtype=pl.Float64)
        return pl.when(category.is_not_null()).then(share)

    def online(self, slots: Slots) -> OnlineFunction:
        slot, share = slots[Read(self.column, "category")], self.shares.get

        def frequency(values: Values) -> float:
            value = values[slot]
            return NAN if value is None else share(value, 0.0)

        return frequency

    def describe(self) -> str:
        return f"Share of training transactions with the same {self.column}, to a power of two; 0 when not seen there"

    def say(self, value: float) -> str:
        """Never seen, or how common."""
        if not value:
            return f"{self.column} was not seen in training"
        return f"{self.column} made about one in {round(1 / value):,} training transactions"


def _nearest_power_of_two(share: float) -> float:
    return float(2.0 ** round(math.log2(share)))


class Missing(FeatureKind):
    """1 where a column that has gaps in the training part holds nothing."""

    kind: Literal["missing"] = "missing"
    group = "transaction"
    column: str

    @classmethod
    def propose(cls, fit: FitContext) -> Iterator[Self]:
        for column in fit.statistics.columns.values():
            if 0 < column.missing < fit.statistics.rows:
                yield cls(name=feature_name(column.name, "missing"), column=column.name)

    def reads(self) -> tuple[Read, ...]:
        return (Read(self.column, _PRESENCE),)

    def batch(self, inputs: "Mapping[Read, pl.Expr]") -> "pl.Expr":
        return ~inputs[Read(self.column, _PRESENCE)]

    def online(self, slots: Slots) -> OnlineFunction:
        slot = slots[Read(self.column, _PRESENCE)]
        return lambda values: 1.0 if values[slot] is None else 0.0

    def describe(self) -> str:
        return f"1 where {self.column} is missing"

    def say(self, value: float) -> str:
        """Missing, or given."""
        return f"{self.column} is {'missing' if value else 'given'}"


_PRESENCE: Form = "presence"
