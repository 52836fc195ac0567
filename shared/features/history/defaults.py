"""The history features that a dataset gets when nobody says which: told from the names of its entity columns."""

import math
import re
from collections.abc import Iterator
from itertools import islice

from shared.features.config import HistoryFeature
from shared.features.history.specs import HistoryFunction, window_us

DEFAULT_WINDOWS = ("1h", "24h", "7d", "30d")
# How long labels are looked back upon after they became known, in days; and when their delay is not a constant.
_LABEL_DAYS = (1, 7, 30)
_OPEN_LABEL_WINDOWS = ("30d", "90d")

# Who pays, with what, from where, to whom; best first.
_ROLES = {
    "payer": ("customer", "user", "account", "client", "email"),
    "card": ("card", "cc"),
    "device": ("device",),
    "address": ("ip",),
    "payee": ("merchant", "terminal", "shop", "seller", "payee"),
}

_Key = tuple[str, ...]


class HistoryDefaults:
    """Proposes features, the most telling first.

    :param entities: columns that are entity keys.
    :param keys: keys to use instead of those guessed, or ``None``.
    :param values: numeric columns to add up; the first is the amount.
    :param categories: other categorical columns, for entropy.
    :param label_delay_days: days until a label is known; ``None`` with ``labels`` when it varies.
    """

    def __init__(
        self,
        *,
        entities: tuple[str, ...],
        keys: tuple[_Key, ...] | None,
        values: tuple[str, ...],
        categories: tuple[str, ...],
        windows: tuple[str, ...],
        horizon: str,
        labels: bool,
        label_delay_days: float | None,
    ) -> None:
        self._values = values
        self._categories = tuple(name for name in categories if name not in entities)
        self._windows = tuple(sorted(windows or DEFAULT_WINDOWS, key=window_us))
        self._horizon = horizon
        self._label_windows = _label_windows(label_delay_days) if labels else ()
        self._roles = _roles(entities)
        self._keys = keys

    def propose(self, limit: int) -> tuple[HistoryFeature, ...]:
        """At most ``limit`` features, each once, in turns over the keys so that none is left out."""
        queues = [self._of_key(key) for key in self.keys()]
        found: dict[HistoryFeature, None] = {}
        while queues and len(found) < limit:
            for queue in list(queues):
                # The first key gets two features for one of each other's: it is the one who pays.
                taken = list(islice(queue, 2 if queue is queues[0] else 1))
                if not taken:
                    queues.remove(queue)
                found.update(dict.fromkeys(taken))
        return tuple(found)[:limit]

    def keys(self) -> tuple[_Key, ...]:
        """The entity keys: single columns, payer first, and the pair of payer and payee."""
        if self._keys is not None:
            return self._keys
        singles = tuple((column,) for column in self._roles.values())
        payer, payee = self._payer(), self._roles.get("payee")
        return (*singles, (payer, payee)) if payer and payee else singles

    def _payer(self) -> str | None:
        return self._roles.get("payer") or self._roles.get("card")

    def _of_key(self, key: _Key) -> Iterator[HistoryFeature]:
        if len(key) == 2:
            return self._of_pair(key)
        if key[0] == self._roles.get("payee"):
            return self._of_payee(key)
        return self._of_payer(key) if key == self.keys()[0] else self._of_means(key)

    def _of_payer(self, key: _Key) -> Iterator[HistoryFeature]:
        short, day, week, long = self._four()
        for window in (day, short, week, long):
            yield _feature(key, "count", window)
            yield from self._numbers(key, "sum", window)
        yield from self._numbers(key, "ratio_to_mean", long)
        yield from self._numbers(key, "deviation", long)
        yield _feature(key, "time_since_last", self._horizon)
        for column in self._others(key):
            yield _feature(key, "distinct", day, column)
        for window in (week, long):
            yield from self._numbers(key, "mean", window)
        yield from self._numbers(key, "max", long)
        yield from self._numbers(key, "std", long)
        if window_us(day) < window_us(long):
            yield _feature(key, "acceleration", day, baseline=long)
        for column in self._categories[:1]:
            yield _feature(key, "entropy", long, column)
        yield from self._labels(key)
        yield from self._numbers(key, "min", long)

    def _of_payee(self, key: _Key) -> Iterator[HistoryFeature]:
        short, day, week, long = self._four()
        yield from self._labels(key)
        yield _feature(key, "count", day)
        yield from self._numbers(key, "deviation", long)
        if payer := self._payer():
            yield _feature(key, "distinct", day, payer)
        yield from self._numbers(key, "ratio_to_mean", week)
        for window in (week, short, long):
            yield _feature(key, "count", window)
        yield from self._numbers(key, "mean", long)
        if window_us(day) < window_us(long):
            yield _feature(key, "acceleration", day, baseline=long)

    def _of_means(self, key: _Key) -> Iterator[HistoryFeature]:
        short, day, week, long = self._four()
        yield _feature(key, "count", day)
        if (payer := self._payer()) and (payer,) != key:
            yield _feature(key, "distinct", week, payer)
        yield _feature(key, "first_time", self._horizon)
        yield from self._numbers(key, "sum", day)
        yield _feature(key, "count", short)
        yield _feature(key, "time_since_last", self._horizon)
        yield from list(self._labels(key))[-1:]
        yield from self._numbers(key, "ratio_to_mean", long)
        yield _feature(key, "count", week)

    def _of_pair(self, key: _Key) -> Iterator[HistoryFeature]:
        long = self._windows[-1]
        yield _feature(key, "first_time", self._horizon)
        yield _feature(key, "count", long)
        yield from self._numbers(key, "ratio_to_mean", long)
        yield _feature(key, "time_since_last", self._horizon)

    def _numbers(self, key: _Key, function: HistoryFunction, window: str) -> Iterator[HistoryFeature]:
        for value in self._values:
            yield _feature(key, function, window, value)

    def _labels(self, key: _Key) -> Iterator[HistoryFeature]:
        for window in self._label_windows:
            yield _feature(key, "fraud_rate", window)
        if self._label_windows:
            yield _feature(key, "known_count", self._label_windows[-1])

    def _others(self, key: _Key) -> list[str]:
        """Columns whose variety says something of ``key``: whom it pays, and from where."""
        found = [self._roles.get(role) for role in ("payee", "device", "address")]
        return [column for column in found if column and column not in key]

    def _four(self) -> tuple[str, str, str, str]:
        w, last = self._windows, len(self._windows) - 1
        return w[0], w[min(1, last)], w[min(2, last)], w[last]


def _feature(
    key: _Key, function: HistoryFunction, window: str, column: str | None = None, baseline: str | None = None
) -> HistoryFeature:
    return HistoryFeature(entity=key, function=function, window=window, column=column, baseline=baseline)


def _roles(entities: tuple[str, ...]) -> dict[str, str]:
    """The first column of each role; columns of no role are a role of their own."""
    roles: dict[str, str] = {}
    for role, words in _ROLES.items():
        for word in words:
            column = next((name for name in entities if word in re.findall(r"[a-z]+", name.lower())), None)
            if column is not None and column not in roles.values():
                roles.setdefault(role, column)
    unknown = [name for name in entities if not any(w in re.findall(r"[a-z]+", name.lower()) for r in _ROLES.values()
                                                    for w in r)]  # fmt: skip
    return roles | {name: name for name in unknown}


def _label_windows(delay_days: float | None) -> tuple[str, ...]:
    if delay_days is None:
        return _OPEN_LABEL_WINDOWS
    return tuple(f"{math.ceil(delay_days) + days}d" for days in _LABEL_DAYS)
