"""From a few numbers to a table of transactions: the same numbers give the same table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from devhost.sample_data import fraud, market
from devhost.sample_data.customers import Customers, make_customers
from devhost.sample_data.draws import Draws
from devhost.sample_data.market import CATEGORIES, Merchants, make_merchants
from devhost.sample_data.purchases import Period, Purchases, concatenate, genuine

_HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
_NAMESPACE = {"transaction": 1, "customer": 2, "merchant": 3}


@dataclass(frozen=True)
class SampleConfig:
    """What to generate.

    rows: number of transactions, spread over `days` from `start`. fraud_rate: their fraudulent part without drift.
    drift_from: the day (UTC) from which prices rise, categories shift, two countries open and `merchant_collusion`
    appears; None for a stable world. with_pattern: add the column `pattern`, which explains the label and is for
    evaluation only.
    """

    rows: int = 60_000
    seed: int = 7
    start: date = date(2025, 1, 1)
    days: int = 180
    fraud_rate: float = 0.012
    drift_from: date | None = None
    with_pattern: bool = False

    def __post_init__(self) -> None:
        if self.rows < 1 or self.days < 1 or not 0.0 < self.fraud_rate < 0.5:
            raise ValueError("rows and days must be positive, fraud_rate between 0 and 0.5")
        if self.drift_from is not None and not self.start <= self.drift_from < self.start + timedelta(days=self.days):
            raise ValueError(f"drift_from must lie within the {self.days} days from {self.start}")


def _microseconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000


def generate(config: SampleConfig) -> pl.DataFrame:
    """Transactions in order of time, `config.rows` rows.

    Times are Datetime("us", "UTC"), birth_date is Date, amount is in euro, is_fraud is 0 or 1. `label_known_at` is when
    the label became known: the chargeback for fraud, 45 days without one for the rest; it may lie after the last
    transaction.
    """
    begin = _microseconds(config.start)
    end = begin + config.days * market.MICROSECONDS_A_DAY
    period = Period(begin, end, None if config.drift_from is None else _microseconds(config.drift_from))
    merchants = make_merchants(Draws(config.seed, 1), max(config.rows // 120, 120))
    customers = make_customers(Draws(config.seed, 2), max(config.rows // 25, 200), begin, end)

    parts, table = _fraudulent(config, customers, merchants, period)
    honest = config.rows - sum(len(part) for part in parts)
    parts.append(genuine(Draws(config.seed, 3), honest, customers, merchants, period))
    return _frame(config, concatenate(parts), table, merchants)


def _fraudulent(
    config: SampleConfig, customers: Customers, merchants: Merchants, period: Period
) -> tuple[list[Purchases], Customers]:
    """The rows of all patterns, and the customers with the accounts that fraudsters opened."""
    wanted = [(pattern, round(config.rows * config.fraud_rate * share)) for pattern, share in fraud.MIX]
    if period.drift is not None:
        later = (period.end - period.drift) / (period.end - period.start)
        wanted.append((fraud.merchant_collusion, round(config.rows * config.fraud_rate * 0.8 * later)))
    parts: list[Purchases] = []
    table = customers
    for number, (pattern, rows) in enumerate(wanted):
        if rows == 0:
            continue
        scene = fraud.Scene(Draws(config.seed, 10 + number), customers, merchants, period)
        bought, accounts = pattern(scene, rows)
        if accounts is not None:
            # The pattern numbers its accounts from the end of the genuine customers; here others may have come before.
            bought = _renumbered(bought, len(table) - len(customers))
            table = table.joined(accounts)
        parts.append(bought)
    return parts, table


def _renumbered(bought: Purchases, offset: int) -> Purchases:
    return replace(bought, customer=bought.customer + offset)


def _hexadecimal(prefix: str, values: NDArray[np.uint64], digits: int = 13) -> pl.Series:
    """Identifiers such as `card_0f3a…`: a prefix and `digits` hexadecimal digits, shape (n,)."""
    letters = np.empty((len(values), len(prefix) + digits), dtype=np.uint8)
    letters[:, : len(prefix)] = np.frombuffer(prefix.encode(), dtype=np.uint8)
    for position in range(digits):
        shift = np.uint64(4 * (digits - 1 - position))
        letters[:, len(prefix) + position] = _HEX[((values >> shift) & np.uint64(15)).astype(np.int64)]
    return pl.Series(letters.view(f"S{letters.shape[1]}").ravel()).cast(pl.String)


def _scrambled(seed: int, namespace: str, size: int) -> NDArray[np.uint64]:
    """Distinct-looking 52-bit numbers for 0 … size - 1: the output function of SplitMix64."""
    mixed = np.arange(size, dtype=np.uint64) + np.uint64(((seed % 2**31) << 32) + (_NAMESPACE[namespace] << 60) % 2**64)
    with np.errstate(over="ignore"):
        mixed *= np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)), dtype=np.uint64)


def _frame(config: SampleConfig, rows: Purchases, customers: Customers, merchants: Merchants) -> pl.DataFrame:
    who = rows.customer
    names: dict[str, Any] = {
        "transaction_id": _hexadecimal("txn_", _scrambled(config.seed, "transaction", len(rows)), 16),
        "transaction_time": _times(rows.time // 1000 * 1000),
        "customer_id": _hexadecimal("cus_", _scrambled(config.seed, "customer", len(customers))).gather(who),
        "account_created_at": _times(customers.created_at // 1_000_000 * 1_000_000).gather(who),
        "card_id": _hexadecimal("card_", rows.card),
        "device_id": _hexadecimal("dev_", rows.device),
        "ip_address": _dotted(rows.address),
        "merchant_id": _hexadecimal("mer_", _scrambled(config.seed, "merchant", len(merchants))).gather(rows.merchant),
        "merchant_category": _named([kind.name for kind in CATEGORIES], merchants.category[rows.merchant]),
        "country": _named(market.COUNTRIES, rows.country),
        "card_country": _named(market.COUNTRIES, rows.card_country),
        "currency": _named(market.CURRENCIES, rows.card_country),
        "amount": rows.amount,
        "items": rows.items.astype(np.int32),
        "payment_method": _named(market.PAYMENT_METHODS, rows.payment),
        "shipping_distance_km": rows.distance,
        "email_domain": _named(market.EMAIL_DOMAINS, customers.email[who]),
        "gender": _named(market.GENDERS, customers.gender[who]),
        "birth_date": pl.Series(customers.birth_day.astype(np.int32)).cast(pl.Date).gather(who),
        "is_fraud": (rows.pattern > 0).astype(np.int8),
        "label_known_at": _times(rows.known_at // 1_000_000 * 1_000_000),
    }
    if config.with_pattern:
        names["pattern"] = _named(fraud.PATTERNS, rows.pattern)
    return pl.DataFrame(names)


def _times(microseconds: NDArray[np.int64]) -> pl.Series:
    return pl.Series(microseconds).cast(pl.Datetime("us", "UTC"))


def _named(names: list[str] | tuple[str, ...], positions: NDArray[np.int64]) -> pl.Series:
    return pl.Series(list(names)).gather(positions)


def _dotted(addresses: NDArray[np.int64]) -> pl.Series:
    parts = pl.DataFrame({str(shift): (addresses >> shift) & 255 for shift in (24, 16, 8, 0)})
    return parts.select(pl.concat_str(pl.all(), separator=".")).to_series()
