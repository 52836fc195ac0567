"""The shop's world: countries, merchant categories, hours of the day, and the shares and levels rows are drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from devhost.sample_data.draws import Draws, Floats, Ints


@dataclass(frozen=True)
class Category:
    """A merchant category: its share of genuine purchases, typical price, and how much fraudsters like it."""

    name: str
    share: float
    median: float
    sigma: float
    shipped: bool
    takeover: float
    new_account: float
    later_share: float
    """Share of purchases once the distribution has drifted."""


CATEGORIES = (
    Category("grocery", 0.17, 34.0, 0.55, True, 0.01, 0.01, 0.12),
    Category("fashion", 0.16, 58.0, 0.65, True, 0.12, 0.14, 0.13),
    Category("electronics", 0.10, 145.0, 0.95, True, 0.32, 0.22, 0.12),
    Category("home", 0.11, 72.0, 0.80, True, 0.05, 0.06, 0.09),
    Category("beauty", 0.08, 38.0, 0.55, True, 0.04, 0.06, 0.09),
    Category("sports", 0.07, 64.0, 0.70, True, 0.05, 0.06, 0.07),
    Category("books", 0.06, 22.0, 0.50, True, 0.01, 0.01, 0.04),
    Category("toys", 0.05, 36.0, 0.60, True, 0.02, 0.02, 0.05),
    Category("travel", 0.05, 240.0, 0.85, False, 0.11, 0.05, 0.06),
    Category("digital", 0.10, 11.0, 0.85, False, 0.08, 0.15, 0.15),
    Category("gift_cards", 0.02, 55.0, 0.55, False, 0.15, 0.20, 0.04),
    Category("charity", 0.03, 18.0, 0.80, False, 0.04, 0.02, 0.04),
)
CATEGORY = {category.name: position for position, category in enumerate(CATEGORIES)}

COUNTRIES = ("DE", "FR", "GB", "NL", "ES", "IT", "PL", "AT", "US", "RO", "BR", "TR", "SG", "CA")
HOME_SHARES = np.array([30, 16, 14, 9, 8, 8, 6, 4, 3, 2, 0, 0, 0, 0], dtype=np.float64)
"""Where customers live. BR and TR open as markets with the drift; SG and CA only send visitors and attackers."""
NEW_MARKET_SHARES = np.array([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60, 40, 0, 0], dtype=np.float64)
TRAVEL_SHARES = np.array([8, 12, 12, 8, 16, 14, 7, 8, 8, 2, 1, 3, 0.5, 0.5], dtype=np.float64)
ATTACKER_SHARES = np.array([10, 7, 9, 5, 3, 3, 5, 1, 14, 11, 8, 6, 10, 8], dtype=np.float64)
CURRENCIES = ("EUR", "EUR", "GBP", "EUR", "EUR", "EUR", "PLN", "EUR", "USD", "RON", "BRL", "TRY", "SGD", "CAD")
"""Currency of the country's cards; amounts are in euro throughout, the currency says what the card was charged in."""

EMAIL_DOMAINS = (
    "gmail.com", "outlook.com", "yahoo.com", "icloud.com", "web.de", "orange.fr", "proton.me",
    "company.example", "tempmail.example", "tenminutes.example",
)  # fmt: skip
GENUINE_EMAILS = np.array([40, 17, 9, 12, 8, 4, 2.5, 6.5, 0.6, 0.4])
THROWAWAY_EMAILS = np.array([42, 16, 8, 3, 2, 1, 8, 0, 12, 8], dtype=np.float64)

PAYMENT_METHODS = ("card", "card_3ds", "apple_pay", "google_pay")
GENUINE_PAYMENTS = np.array([36, 36, 15, 13], dtype=np.float64)
FRAUD_PAYMENTS = np.array([84, 4, 6, 6], dtype=np.float64)

GENDERS = ("female", "male", "unknown")
GENDER_SHARES = np.array([49, 47, 4], dtype=np.float64)

HOURS = np.array(
    [6, 4, 3, 2, 2, 3, 7, 14, 22, 30, 36, 40, 44, 42, 40, 40, 42, 46, 54, 62, 66, 56, 36, 16], dtype=np.float64
)
WEEKDAYS = np.array([1.00, 0.96, 0.97, 1.02, 1.10, 1.16, 1.22])
"""Relative activity by hour (UTC) and by weekday, Monday first."""

MICROSECONDS_A_DAY = 86_400_000_000
MICROSECONDS_AN_HOUR = 3_600_000_000


@dataclass(frozen=True)
class Merchants:
    """The merchants, arrays of shape (n_merchants,): category position, popularity, price level."""

    category: Ints
    popularity: Floats
    level: Floats

    def __len__(self) -> int:
        return len(self.category)

    def pick(self, draws: Draws, categories: Ints) -> Ints:
        """A merchant for each wanted category, the popular ones more often."""
        order = np.argsort(self.category, kind="stable")
        cumulative = np.cumsum(self.popularity[order])
        ends = np.searchsorted(self.category[order], np.arange(len(CATEGORIES)), side="right")
        upper = cumulative[ends - 1]
        lower = np.concatenate([[0.0], upper[:-1]])
        wanted = lower[categories] + draws.uniform(len(categories)) * (upper - lower)[categories]
        place = np.minimum(np.searchsorted(cumulative, wanted, side="right"), ends[categories] - 1)
        return np.asarray(order[place])


def make_merchants(draws: Draws, count: int) -> Merchants:
    """Merchants over all categories, at least two in each."""
    first = np.tile(np.arange(len(CATEGORIES)), 2)
    rest = draws.choice(max(count - len(first), 0), [category.share for category in CATEGORIES])
    category = np.concatenate([first, rest])
    return Merchants(category, draws.lognormal(len(category), 1.0, 1.0), draws.lognormal(len(category), 1.0, 0.35))


def moments(draws: Draws, size: int, start: int, end: int, peak_shift: int = 0) -> Ints:
    """Times between `start` and `end` (microseconds since 1970) by the shop's hours and weekdays, shape (size,).

    `peak_shift` moves the daily profile by whole hours: attackers also work while customers sleep.
    """
    hours = np.arange(start // MICROSECONDS_AN_HOUR, max(end - 1, start) // MICROSECONDS_AN_HOUR + 1)
    weekday = (hours // 24 + 3) % 7  # 1970-01-01 was a Thursday
    picked = hours[draws.choice(size, HOURS[(hours + peak_shift) % 24] * WEEKDAYS[weekday])]
    exact = picked * MICROSECONDS_AN_HOUR + (draws.uniform(size) * MICROSECONDS_AN_HOUR).astype(np.int64)
    return np.clip(exact, start, end - 1)
