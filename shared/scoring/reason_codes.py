"""The reason-code catalogue: stable names for why a feature moved a score, with wording for analysts and for customers.

A code says what kind of evidence a feature is; the feature and its text say which, and the direction which way it moved
the score. The catalogue only grows: a code never changes what it means and is never used for anything else. A code that
is new, or a wording that is mended, makes a new version; tests keep a snapshot of each.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from shared.features.kinds import FeatureKind
from shared.features.kinds.behavioural import Behavioural
from shared.features.kinds.temporal import DatePart

CATALOGUE_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class ReasonCode:
    """One kind of evidence.

    ``description`` is for analysts. ``customer_text`` names the factor to the person concerned, as the principal reason
    of an adverse decision is named: without figures, column names or how to get around it.
    """

    code: str
    description: str
    customer_text: str


_CODES: Final = (
    ReasonCode("amount_value", "The amount itself, or its logarithm.", "Amount of the purchase"),
    ReasonCode(
        "amount_unusual",
        "The amount against the mean of the training data, in standard deviations.",
        "Amount of the purchase compared with usual amounts",
    ),
    ReasonCode(
        "amount_high",
        "Whether the amount is above a high quantile of the training data.",
        "High amount of the purchase",
    ),
    ReasonCode("amount_round", "Whether the amount is a round number.", "Amount of the purchase"),
    ReasonCode("number_value", "A number or a yes/no of the transaction.", "Details of the purchase"),
    ReasonCode(
        "number_unusual",
        "A number of the transaction against its mean in the training data, in standard deviations.",
        "Details of the purchase compared with usual purchases",
    ),
    ReasonCode(
        "number_high",
        "Whether a number of the transaction is above a high quantile of the training data.",
        "Details of the purchase compared with usual purchases",
    ),
    ReasonCode("number_round", "Whether a number of the transaction is round.", "Details of the purchase"),
    ReasonCode("number_ratio", "One number of the transaction divided by another.", "Proportions within the purchase"),
    ReasonCode(
        "distance", "The distance between two places of the transaction.", "Distance between the places involved"
    ),
    ReasonCode("time_of_day", "The hour, in UTC.", "Time of day of the purchase"),
    ReasonCode("day_of_week", "The day of the week, in UTC.", "Day of the week of the purchase"),
    ReasonCode("day_of_month", "The day of the month, in UTC.", "Date of the purchase"),
    ReasonCode("time_of_year", "The month, in UTC.", "Date of the purchase"),
    ReasonCode("public_holiday", "Whether the day is a public holiday in the country.", "Date of the purchase"),
    ReasonCode(
        "time_elapsed",
        "The days between two dates, such as the opening of the account and the transaction.",
        "Time between the dates involved, such as the age of the account",
    ),
    ReasonCode("category_value", "Whether a field has one particular value.", "Details of the purchase"),
    ReasonCode(
        "category_rarity", "How frequent the value of a field was in training.", "Uncommon details of the purchase"
    ),
    ReasonCode(
        "category_fraud_rate",
        "How much fraud there was among the training transactions with the same value of a field.",
        "Earlier fraud in comparable purchases",
    ),
    ReasonCode("value_missing", "Whether a field is missing; or a feature without value.", "Incomplete information"),
    ReasonCode(
        "history_count",
        "How many transactions the same customer, card, device, address or merchant made in a time before.",
        "Number of recent purchases",
    ),
    ReasonCode("history_sum", "The sum over the transactions before.", "Total of recent purchases"),
    ReasonCode("history_mean", "The mean over the transactions before.", "Usual amount of recent purchases"),
    ReasonCode("history_std", "How much the transactions before differ.", "Variation of recent purchases"),
    ReasonCode("history_min", "The least of the transactions before.", "Smallest of recent purchases"),
    ReasonCode("history_max", "The greatest of the transactions before.", "Largest of recent purchases"),
    ReasonCode(
        "history_ratio_to_mean",
        "The transaction relative to the mean of those before.",
        "Purchase compared with earlier purchases",
    ),
    ReasonCode(
        "history_deviation",
        "The transaction against the mean of those before, in standard deviations.",
        "Purchase compared with earlier purchases",
    ),
    ReasonCode(
        "history_distinct",
        "How many different values of a field there are among the transactions before.",
        "Number of different details used in recent purchases",
    ),
    ReasonCode(
        "history_entropy",
        "How evenly the values of a field are spread over the transactions before.",
        "Variety of details used in recent purchases",
    ),
    ReasonCode("history_time_since_last", "The time since the transaction before.", "Time since the previous purchase"),
    ReasonCode("history_first_time", "Whether there is no transaction before.", "No or few earlier purchases"),
    ReasonCode(
        "history_acceleration",
        "How busy the last time was, relative to a longer time before.",
        "Sudden change in the number of purchases",
    ),
    ReasonCode(
        "history_known_count",
        "How many transactions before have a label that is known by now.",
        "Length of the known purchase history",
    ),
    ReasonCode(
        "history_fraud_rate",
        "The share of fraud among the transactions before whose label is known by now.",
        "Earlier fraud in connected purchases",
    ),
    ReasonCode(
        "history_none",
        "A feature of history without value: there is nothing to look back on, or the transaction does not say whose.",
        "No or few earlier purchases",
    ),
)

CATALOGUE: Final[Mapping[str, ReasonCode]] = MappingProxyType({entry.code: entry for entry in _CODES})
"""Every code of this version, in the order of the documentation."""

CODE_OF_KIND: Final[Mapping[str, str]] = MappingProxyType(
    {
        "raw": "number_value",
        "log": "number_value",
        "clipped": "number_value",
        "zscore": "number_unusual",
        "high_value": "number_high",
        "rounded": "number_round",
        "raw of the amount": "amount_value",
        "log of the amount": "amount_value",
        "clipped of the amount": "amount_value",
        "zscore of the amount": "amount_unusual",
        "high_value of the amount": "amount_high",
        "rounded of the amount": "amount_round",
        "ratio": "number_ratio",
        "distance": "distance",
        "date_part hour": "time_of_day",
        "date_part hour_sin": "time_of_day",
        "date_part hour_cos": "time_of_day",
        "date_part is_night": "time_of_day",
        "date_part day_of_week": "day_of_week",
        "date_part day_of_week_sin": "day_of_week",
        "date_part day_of_week_cos": "day_of_week",
        "date_part is_weekend": "day_of_week",
        "date_part day_of_month": "day_of_month",
        "date_part month": "time_of_year",
        "date_part month_sin": "time_of_year",
        "date_part month_cos": "time_of_year",
        "duration": "time_elapsed",
        "holiday": "public_holiday",
        "one_hot": "category_value",
        "frequency": "category_rarity",
        "target": "category_fraud_rate",
        "missing": "value_missing",
        "behavioural count": "history_count",
        "behavioural sum": "history_sum",
        "behavioural mean": "history_mean",
        "behavioural std": "history_std",
        "behavioural min": "history_min",
        "behavioural max": "history_max",
        "behavioural ratio_to_mean": "history_ratio_to_mean",
        "behavioural deviation": "history_deviation",
        "behavioural distinct": "history_distinct",
        "behavioural entropy": "history_entropy",
        "behavioural time_since_last": "history_time_since_last",
        "behavioural first_time": "history_first_time",
        "behavioural acceleration": "history_acceleration",
        "behavioural known_count": "history_known_count",
        "behavioural fraud_rate": "history_fraud_rate",
    }
)
"""The code of a feature that has a value, by what :func:`kind_of` says of it."""


def kind_of(feature: FeatureKind, amount_column: str | None) -> str:
    """What kind of evidence a feature is: its kind, with the function or the part of the date where there are many, and
    whether it is about the amount.
    """
    kind = str(feature.kind)  # type: ignore[attr-defined]  # the discriminator, which each kind declares for itself
    if isinstance(feature, Behavioural):
        return f"{kind} {feature.function}"
    if isinstance(feature, DatePart):
        return f"{kind} {feature.part}"
    of_amount = f"{kind} of the amount"
    is_amount = amount_column is not None and getattr(feature, "column", None) == amount_column
    return of_amount if is_amount and of_amount in CODE_OF_KIND else kind


def code_of(feature: FeatureKind, amount_column: str | None, *, present: bool) -> str:
    """The code of a feature that has a value, or that has none."""
    if present:
        return CODE_OF_KIND[kind_of(feature, amount_column)]
    return "history_none" if isinstance(feature, Behavioural) else "value_missing"
