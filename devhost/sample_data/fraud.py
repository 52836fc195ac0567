"""Fraud patterns: each makes episodes of related purchases, most visible in what cards and devices did before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from devhost.sample_data import market
from devhost.sample_data.customers import (
    Customers,
    addresses,
    carrier_addresses,
    hosting_addresses,
    make_accounts,
)
from devhost.sample_data.draws import Draws, Floats, Ints
from devhost.sample_data.market import CATEGORIES, CATEGORY, Merchants
from devhost.sample_data.purchases import Period, Purchases, basket, genuine, prices, shipping

PATTERNS = (
    "genuine",
    "account_takeover",
    "card_testing",
    "new_account_abuse",
    "friendly_fraud",
    "merchant_collusion",
)
"""Names by pattern number; the last one appears only after a drift."""


@dataclass(frozen=True)
class Scene:
    """What a pattern works on: its random numbers and the world around it."""

    draws: Draws
    customers: Customers
    merchants: Merchants
    period: Period


@dataclass(frozen=True)
class Episodes:
    """Rows grouped into episodes: the episode of each row and the row's rank in it, shape (n_rows,)."""

    number: Ints
    rank: Ints
    count: int


def _episodes(draws: Draws, rows: int, shortest: int, longest: int) -> Episodes:
    sizes = shortest + draws.below(rows, longest - shortest + 1)
    number = np.repeat(np.arange(rows), sizes)[:rows]
    first = np.searchsorted(number, number)
    return Episodes(number, np.arange(rows) - first, int(number[-1]) + 1 if rows else 0)


def _starts(scene: Scene, count: int, peak_shift: int = 0) -> Ints:
    """Episode starts by the shop's hours, spread evenly so that a small sample has every pattern in every month."""
    dense = market.moments(scene.draws, count * 8, scene.period.start, scene.period.end, peak_shift)
    return np.sort(dense)[4::8]


def _known_at(draws: Draws, time: Ints, median_days: float) -> Ints:
    """When the chargeback arrives: log-normal delay, a day at least and ninety at most."""
    days = np.clip(draws.lognormal(len(time), median_days, 0.6), 1.0, 90.0)
    return time + (days * market.MICROSECONDS_A_DAY).astype(np.int64)


def _merchants_by(scene: Scene, weights: list[float], size: int) -> Ints:
    return scene.merchants.pick(scene.draws, scene.draws.choice(size, weights))


def account_takeover(scene: Scene, rows: int) -> tuple[Purchases, Customers | None]:
    """Someone signs in with a customer's password and buys what sells again, from a device new to the account."""
    draws, customers = scene.draws, scene.customers
    episodes = _episodes(draws, rows, 1, 6)
    start = _starts(scene, episodes.count, peak_shift=9)
    settled = (customers.created_at < scene.period.start) & ~customers.new_market
    victim = draws.choice(episodes.count, customers.activity * settled)
    origin = draws.choice(episodes.count, market.ATTACKER_SHARES)
    nearby, hosted = draws.chance(episodes.count, 0.32), draws.chance(episodes.count, 0.30)
    origin = np.where(nearby, customers.country[victim], origin)
    address = np.where(hosted, hosting_addresses(draws, episodes.count), addresses(draws, origin))
    tools = draws.words(max(episodes.count // 3, 1))
    device = tools[draws.below(episodes.count, len(tools))]
    device = np.where(
        draws.chance(episodes.count, 0.18), customers.device[victim], device
    )  # malware on the victim's own

    at = episodes.number
    pause = draws.exponential(rows, 22 * 60e6).astype(np.int64)
    time = np.minimum(start[at] + episodes.rank * 150_000_000 + pause, scene.period.end - 1)
    who = victim[at]
    merchant = _merchants_by(scene, [kind.takeover for kind in CATEGORIES], rows)
    greed = customers.spend[who] * draws.lognormal(rows, 2.1, 0.45)
    bought = Purchases(
        time=time,
        customer=who,
        card=np.where(draws.chance(rows, 0.8), customers.card[who], customers.other_card[who]),
        card_country=customers.country[who],
        device=device[at],
        address=address[at],
        country=origin[at],
        merchant=merchant,
        amount=prices(draws, scene.merchants, merchant, greed),
        items=basket(draws, rows, 1.0),
        payment=draws.choice(rows, market.FRAUD_PAYMENTS),
        distance=shipping(draws, scene.merchants, merchant, draws.chance(rows, 0.6)),
        pattern=np.full(rows, 1),
        known_at=_known_at(draws, time, 16.0),
    )
    return bought, None


def card_testing(scene: Scene, rows: int) -> tuple[Purchases, Customers | None]:
    """A script tries stolen card numbers with small purchases, minute after minute, and now and then cashes in."""
    draws = scene.draws
    episodes = _episodes(draws, rows, 4, 18)
    start = _starts(scene, episodes.count, peak_shift=5)
    origin = draws.choice(episodes.count, market.ATTACKER_SHARES)
    opened = (
        start - (draws.exponential(episodes.count, 12.0) * market.MICROSECONDS_A_DAY).astype(np.int64) - 600_000_000
    )
    accounts = make_accounts(draws, opened, origin, draws.words(episodes.count))
    address = np.where(draws.chance(episodes.count, 0.5), hosting_addresses(draws, episodes.count), accounts.address)
    shop = _merchants_by(scene, _only(digital=5, charity=4, books=1), episodes.count)

    at = episodes.number
    pace = 15e6 + 90e6 * draws.uniform(episodes.count)
    time = start[at] + (episodes.rank * pace[at] + draws.uniform(rows) * 10e6).astype(np.int64)
    time = np.minimum(time, scene.period.end - 1)
    fresh = draws.chance(rows, 0.8)
    cashing = draws.chance(rows, 0.1) & (episodes.rank > 3)
    dear = _merchants_by(scene, [kind.takeover for kind in CATEGORIES], rows)
    merchant = np.where(cashing, dear, shop[at])
    small = np.round(0.5 + draws.exponential(rows, 2.5), 2)
    bought = Purchases(
        time=time,
        customer=len(scene.customers) + at,
        card=np.where(fresh, draws.words(rows), accounts.card[at]),
        card_country=draws.choice(rows, market.HOME_SHARES),
        device=accounts.device[at],
        address=address[at],
        country=np.where(draws.chance(episodes.count, 0.5), draws.choice(episodes.count, market.HOME_SHARES), origin)[
            at
        ],
        merchant=merchant,
        amount=np.where(cashing, prices(draws, scene.merchants, merchant, np.full(rows, 1.3)), small),
        items=basket(draws, rows, 0.4),
        payment=draws.choice(rows, market.FRAUD_PAYMENTS),
        distance=shipping(draws, scene.merchants, merchant, draws.chance(rows, 0.3)),
        pattern=np.full(rows, 2),
        known_at=_known_at(draws, time, 6.0),
    )
    return bought, accounts


def new_account_abuse(scene: Scene, rows: int) -> tuple[Purchases, Customers | None]:
    """Accounts opened in series on a few computers, each used within days with a stolen card and left behind."""
    draws = scene.draws
    episodes = _episodes(draws, rows, 1, 4)
    farm = draws.below(episodes.count, max(episodes.count // 3, 1))
    computers = draws.words(max(episodes.count // 3, 1))
    begun = _starts(scene, len(computers), peak_shift=3)
    start = begun[farm] + draws.exponential(episodes.count, 1.2e11).astype(np.int64)
    opened = start - draws.exponential(episodes.count, 9 * 3.6e9).astype(np.int64) - 120_000_000
    home = draws.choice(episodes.count, market.HOME_SHARES)
    abroad = draws.choice(episodes.count, market.ATTACKER_SHARES)
    country = np.where(draws.chance(episodes.count, 0.65), home, abroad)
    accounts = make_accounts(draws, opened, country, computers[farm])

    at = episodes.number
    pause = draws.exponential(rows, 40 * 60e6).astype(np.int64)
    time = np.minimum(start[at] + pause + episodes.rank * 240_000_000, scene.period.end - 1)
    merchant = _merchants_by(scene, [kind.new_account for kind in CATEGORIES], rows)
    bought = Purchases(
        time=time,
        customer=len(scene.customers) + at,
        card=accounts.card[at],
        card_country=np.where(draws.chance(rows, 0.75), country[at], draws.choice(rows, market.HOME_SHARES)),
        device=accounts.device[at],
        address=np.where(draws.chance(rows, 0.3), carrier_addresses(draws, country[at]), accounts.address[at]),
        country=country[at],
        merchant=merchant,
        amount=prices(draws, scene.merchants, merchant, draws.lognormal(rows, 1.35, 0.35)),
        items=basket(draws, rows, 1.2),
        payment=draws.choice(rows, market.FRAUD_PAYMENTS),
        distance=shipping(draws, scene.merchants, merchant, draws.chance(rows, 0.4)),
        pattern=np.full(rows, 3),
        known_at=_known_at(draws, time, 20.0),
    )
    return bought, accounts


def friendly_fraud(scene: Scene, rows: int) -> tuple[Purchases, Customers | None]:
    """Customers who dispute what they bought themselves: hardly different from an honest purchase when it is made."""
    inclined = scene.draws.chance(len(scene.customers), 0.04)
    few = replace(scene.customers, activity=scene.customers.activity * np.where(inclined, 1.0, 1e-9))
    bought = genuine(scene.draws, rows, few, scene.merchants, scene.period)
    return (
        replace(
            bought,
            amount=np.round(bought.amount * 1.7, 2),
            pattern=np.full(rows, 4),
            known_at=_known_at(scene.draws, bought.time, 28.0),
        ),
        None,
    )


def merchant_collusion(scene: Scene, rows: int) -> tuple[Purchases, Customers | None]:
    """Sham merchants charge stolen cards through old, quiet accounts: the attack that a drift brings in."""
    draws, customers = scene.draws, scene.customers
    episodes = _episodes(draws, rows, 8, 30)
    begin = scene.period.start if scene.period.drift is None else scene.period.drift
    start = market.moments(draws, episodes.count, begin, scene.period.end)
    sham = _merchants_by(scene, _only(home=3, sports=2, toys=2, digital=2), max(episodes.count // 4, 1))
    quiet = (customers.created_at < scene.period.start) & ~customers.new_market

    at = episodes.number
    time = start[at] + (episodes.rank * (200e6 + 500e6 * draws.uniform(episodes.count))[at]).astype(np.int64)
    time = np.minimum(time, scene.period.end - 1)
    who = draws.choice(rows, quiet / (0.05 + customers.activity))
    phones = draws.words(episodes.count * 4)
    round_sums: Floats = np.array([49.0, 99.0, 149.0, 199.0, 249.0])
    bought = Purchases(
        time=time,
        customer=who,
        card=draws.words(rows),
        card_country=customers.country[who],
        device=phones[at * 4 + episodes.rank % 4],
        address=carrier_addresses(draws, customers.country[who]),
        country=customers.country[who],
        merchant=sham[at % len(sham)],
        amount=round_sums[draws.below(rows, len(round_sums))],
        items=np.ones(rows, dtype=np.int64),
        payment=draws.choice(rows, market.GENUINE_PAYMENTS),
        distance=np.zeros(rows),
        pattern=np.full(rows, 5),
        known_at=_known_at(draws, time, 22.0),
    )
    return bought, None


def _only(**weights: float) -> list[float]:
    chosen: NDArray[np.float64] = np.zeros(len(CATEGORIES))
    for name, weight in weights.items():
        chosen[CATEGORY[name]] = weight
    return [float(weight) for weight in chosen]


MIX: tuple[tuple[Callable[[Scene, int], tuple[Purchases, Customers | None]], float], ...] = (
    (account_takeover, 0.36),
    (card_testing, 0.28),
    (new_account_abuse, 0.28),
    (friendly_fraud, 0.08),
)
"""The patterns before any drift with their share of the fraudulent rows."""
