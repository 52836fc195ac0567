"""Customers with their accounts, cards, devices and addresses; fraudsters' accounts are rows of the same table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from devhost.sample_data import market
from devhost.sample_data.draws import Draws, Floats, Ints

_EPOCH_OF_BIRTHS = -25_567  # 1900-01-01 in days since 1970


@dataclass(frozen=True)
class Customers:
    """Accounts, arrays of shape (n_accounts,). Times are microseconds since 1970, births days since 1970."""

    created_at: Ints
    country: Ints
    gender: Ints
    birth_day: Ints
    email: Ints
    activity: Floats
    """Relative number of purchases."""
    spend: Floats
    """Factor on the usual price."""
    new_market: NDArray[np.bool_]
    card: NDArray[np.uint64]
    """First card; `other_card` the second one of those who have two."""
    other_card: NDArray[np.uint64]
    device: NDArray[np.uint64]
    other_device: NDArray[np.uint64]
    address: Ints
    """IPv4 address at home as a number."""

    def __len__(self) -> int:
        return len(self.country)

    def joined(self, other: Customers) -> Customers:
        """Both tables, the other one's rows last."""
        parts = {name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in self.__annotations__}
        return Customers(**parts)


def addresses(draws: Draws, country: Ints) -> Ints:
    """Home addresses: of the private 10.0.0.0/8, sixteen /16 blocks a country, so that they are nobody's."""
    block = country * 16 + draws.below(len(country), 16)
    return (10 << 24) | (block << 16) | draws.below(len(country), 65_536)


def carrier_addresses(draws: Draws, country: Ints) -> Ints:
    """Addresses of mobile carriers (100.64.0.0/10), 64 a country, each shared by many customers."""
    return (100 << 24) | (64 << 16) | (country << 8) | draws.below(len(country), 64)


def hosting_addresses(draws: Draws, size: int) -> Ints:
    """Addresses of proxies and rented servers (198.18.0.0/15), where some genuine customers come from too."""
    return (198 << 24) | (18 << 16) | draws.below(size, 3_000)


def make_customers(draws: Draws, count: int, start: int, end: int) -> Customers:
    """Genuine customers: most with an account from before `start`, the others joining along the way."""
    day = market.MICROSECONDS_A_DAY
    before = start - (draws.exponential(count, 500.0) * day).astype(np.int64) - day
    during = market.moments(draws, count, start, end)
    new_market = draws.chance(count, 0.12)
    country = np.where(
        new_market, draws.choice(count, market.NEW_MARKET_SHARES), draws.choice(count, market.HOME_SHARES)
    )
    age_days = (18 + 62 * draws.uniform(count) ** 1.6) * 365.25
    devices, cards = draws.words(count), draws.words(count)
    household = draws.chance(count, 0.06)  # shares the neighbour's computer
    devices = np.where(household, np.roll(devices, 1), devices)
    return Customers(
        created_at=np.where(draws.chance(count, 0.14), during, before),
        country=country,
        gender=draws.choice(count, market.GENDER_SHARES),
        birth_day=np.maximum((start // day - age_days).astype(np.int64), _EPOCH_OF_BIRTHS),
        email=draws.choice(count, market.GENUINE_EMAILS),
        activity=draws.lognormal(count, 1.0, 0.8),
        spend=draws.lognormal(count, 1.0, 0.4),
        new_market=new_market,
        card=cards,
        other_card=np.where(draws.chance(count, 0.35), draws.words(count), cards),
        device=devices,
        other_device=np.where(draws.chance(count, 0.55), draws.words(count), devices),
        address=addresses(draws, country),
    )


def make_accounts(draws: Draws, created_at: Ints, country: Ints, devices: NDArray[np.uint64]) -> Customers:
    """Accounts that fraudsters open: plausible people with stolen cards; devices are given, shape (n,)."""
    count = len(created_at)
    cards = draws.words(count)
    age_days = (20 + 45 * draws.uniform(count)) * 365.25
    return Customers(
        created_at=created_at,
        country=country,
        gender=draws.choice(count, market.GENDER_SHARES),
        birth_day=(created_at // market.MICROSECONDS_A_DAY - age_days).astype(np.int64),
        email=draws.choice(count, market.THROWAWAY_EMAILS),
        activity=np.zeros(count),
        spend=np.ones(count),
        new_market=np.zeros(count, dtype=np.bool_),
        card=cards,
        other_card=cards,
        device=devices,
        other_device=devices,
        address=addresses(draws, country),
    )
