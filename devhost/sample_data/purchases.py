"""What all rows have in common, and the genuine purchases among them."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from devhost.sample_data import market
from devhost.sample_data.customers import Customers, addresses, carrier_addresses, hosting_addresses
from devhost.sample_data.draws import Draws, Floats, Ints
from devhost.sample_data.market import CATEGORIES, Merchants

GENUINE = 0
"""Pattern number of a genuine purchase."""
MATURITY_DAYS = 45
"""A purchase nobody disputed for so long counts as genuine."""


@dataclass(frozen=True)
class Period:
    """The time the rows span, and from when on the distribution has drifted (microseconds since 1970)."""

    start: int
    end: int
    drift: int | None = None

    def drifted(self, time: Ints) -> NDArray[np.bool_]:
        """Which times lie after the drift."""
        return np.zeros(len(time), dtype=np.bool_) if self.drift is None else time >= self.drift


@dataclass(frozen=True)
class Purchases:
    """Rows as arrays of shape (n,): positions into the tables of customers, merchants and names."""

    time: Ints
    customer: Ints
    card: NDArray[np.uint64]
    card_country: Ints
    device: NDArray[np.uint64]
    address: Ints
    country: Ints
    merchant: Ints
    amount: Floats
    items: Ints
    payment: Ints
    distance: Floats
    pattern: Ints
    known_at: Ints

    def __len__(self) -> int:
        return len(self.time)


def concatenate(parts: list[Purchases]) -> Purchases:
    """All rows, in order of time."""
    whole = {field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Purchases)}
    order = np.argsort(whole["time"], kind="stable")
    return Purchases(**{name: values[order] for name, values in whole.items()})


def prices(draws: Draws, merchants: Merchants, merchant: Ints, factor: Floats) -> Floats:
    """Amounts in euro by category, merchant and a factor, shape (n,)."""
    category = merchants.category[merchant]
    medians = np.array([kind.median for kind in CATEGORIES])[category]
    sigmas = np.array([kind.sigma for kind in CATEGORIES])[category]
    amount = draws.lognormal(len(merchant), medians * merchants.level[merchant] * factor, sigmas)
    tidy = np.where(draws.chance(len(merchant), 0.45), np.ceil(amount) - 0.01, amount)
    return np.maximum(np.round(tidy, 2), 0.49)


def shipping(draws: Draws, merchants: Merchants, merchant: Ints, far: NDArray[np.bool_]) -> Floats:
    """Kilometres between billing and shipping address: none for what is not shipped, long ones where `far`."""
    shipped = np.array([kind.shipped for kind in CATEGORIES])[merchants.category[merchant]]
    near = draws.exponential(len(merchant), 4.0) * draws.chance(len(merchant), 0.3)
    return np.asarray(
        np.where(shipped, np.round(np.where(far, draws.lognormal(len(merchant), 260.0, 1.0), near), 1), 0.0)
    )


def basket(draws: Draws, size: int, mean: float) -> Ints:
    """Items in the basket: one and a geometric number more, shape (size,)."""
    return 1 + np.minimum(draws.exponential(size, mean).astype(np.int64), 20)


def _after_joining(draws: Draws, time: Ints, created_at: Ints, end: int) -> Ints:
    """Move purchases from before the account existed behind its creation, soon after more often, hour of day kept."""
    day = market.MICROSECONDS_A_DAY
    later = created_at + (draws.uniform(len(time)) ** 2 * (end - created_at)).astype(np.int64)
    moved = later // day * day + time % day
    fitting = (moved > created_at) & (moved < end)
    soon = created_at + 1 + (draws.uniform(len(time)) * np.minimum(end - created_at - 2, day // 8)).astype(np.int64)
    return np.where(time > created_at, time, np.where(fitting, moved, soon))


def genuine(draws: Draws, size: int, customers: Customers, merchants: Merchants, period: Period) -> Purchases:
    """Honest purchases, with the look-alikes that keep a model honest: travel, new phones, gifts, sessions, proxies."""
    sessions = int(size * 0.14)  # further purchases within the hour
    base = size - sessions
    time = market.moments(draws, base, period.start, period.end)
    old_shares = customers.activity * ~customers.new_market
    new_shares = customers.activity * np.where(customers.new_market, 2.5, 1.0)
    customer = draws.choice(base, old_shares)
    customer = np.where(period.drifted(time), draws.choice(base, new_shares), customer)
    time = _after_joining(draws, time, customers.created_at[customer], period.end)

    travelling = draws.chance(base, 0.025)
    country = np.where(travelling, draws.choice(base, market.TRAVEL_SHARES), customers.country[customer])
    device = np.where(draws.chance(base, 0.78), customers.device[customer], customers.other_device[customer])
    device = np.where(draws.chance(base, 0.03), draws.words(base), device)  # a new phone, a friend's computer
    address = np.where(travelling, addresses(draws, country), customers.address[customer])
    address = np.where(draws.chance(base, 0.22), carrier_addresses(draws, country), address)
    address = np.where(draws.chance(base, 0.02), hosting_addresses(draws, base), address)
    card = np.where(draws.chance(base, 0.85), customers.card[customer], customers.other_card[customer])
    card = np.where(draws.chance(base, 0.01), draws.words(base), card)  # a new card

    first = draws.below(sessions, base)
    source = np.concatenate([np.arange(base), first])
    pause = (draws.exponential(sessions, 14.0) * 60e6).astype(np.int64) + 20_000_000
    when = np.concatenate([time, np.minimum(time[first] + pause, period.end - 1)])
    drifted = period.drifted(when)
    shares = [kind.share for kind in CATEGORIES], [kind.later_share for kind in CATEGORIES]
    category = np.where(drifted, draws.choice(size, shares[1]), draws.choice(size, shares[0]))
    merchant = merchants.pick(draws, category)
    who = customer[source]
    return Purchases(
        time=when,
        customer=who,
        card=card[source],
        card_country=customers.country[who],
        device=device[source],
        address=address[source],
        country=country[source],
        merchant=merchant,
        amount=prices(draws, merchants, merchant, customers.spend[who] * np.where(drifted, 1.35, 1.0)),
        items=basket(draws, size, 1.3),
        payment=draws.choice(size, market.GENUINE_PAYMENTS),
        distance=shipping(draws, merchants, merchant, draws.chance(size, 0.05)),
        pattern=np.full(size, GENUINE),
        known_at=when + MATURITY_DAYS * market.MICROSECONDS_A_DAY,
    )
