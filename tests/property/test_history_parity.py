"""Three ways to compute history features, compared on random pasts: batch, online, and loops over exact numbers."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.features.batch import encode_events, transform
from shared.features.config import FeatureConfig
from shared.features.history.batch_history import BATCH
from shared.features.history.events import MISSING, Entity, Event, EventLayout
from shared.features.history.reference import Reference
from shared.features.history.specs import FUNCTIONS, OF_CODE, OF_NUMBER
from shared.features.history.window import ONLINE, EntityHistory
from shared.features.kinds.behavioural import Behavioural
from shared.features.online import OnlinePlan, compile_plan
from shared.features.plan import FeaturePlan, Fit, InputColumn

SCHEMA: dict[str, Any] = {
    "id": pl.String,
    "time": pl.Datetime("us", "UTC"),
    "card": pl.String,
    "shop": pl.Int64,
    "amount": pl.Float64,
    "items": pl.Int64,
    "country": pl.String,
    "is_fraud": pl.Int8,
    "known": pl.Datetime("us", "UTC"),
}
_TYPES = {"time": "datetime", "card": "string", "shop": "integer", "amount": "float", "items": "integer",
          "country": "string"}  # fmt: skip
_ENTITIES: tuple[Entity, ...] = (("card",), ("shop",), ("card", "shop"))
_WINDOWS = ("1m", "1h", "3d")
_START = datetime(2026, 3, 1, tzinfo=UTC)


def _features(decimals: int) -> tuple[Behavioural, ...]:
    """Every function of every entity over every window, of every column it may have."""
    features: list[Behavioural] = []
    for entity in _ENTITIES:
        for function in FUNCTIONS:
            columns: Iterable[str | None] = (
                ("amount", "items")
                if function in OF_NUMBER
                else ("country", "shop")
                if function in OF_CODE
                else (None,)
            )
            for window in _WINDOWS:
                for column in columns:
                    features.append(
                        Behavioural(
                            name=f"f{len(features)}",
                            entity=entity,
                            function=function,
                            window=window,
                            time_column="time",
                            column=column,
                            decimals=decimals if column == "amount" else 0,
                            baseline="4d" if function == "acceleration" else None,
                        )
                    )
    return tuple(features)


@lru_cache
def _plan(decimals: int, limit: int, delay_days: float | None) -> FeaturePlan:
    return FeaturePlan(
        config=FeatureConfig(
            label_column="is_fraud",
            time_column="time",
            id_column="id",
            groups=("behavioural",),
            history_limit=limit,
            label_delay_days=delay_days,
            label_time_column="known" if delay_days is None else None,
        ),
        fit=Fit(rows=1),
        inputs=tuple(InputColumn.model_validate({"name": n, "type": t}) for n, t in _TYPES.items()),
        features=_features(decimals),
    )


# Seconds on a coarse grid, so that ties, window edges and equal ids at equal times are common.
_SECONDS = st.sampled_from([0, 1, 30, 59, 60, 61, 3599, 3600, 3601, 86_400, 259_200]) | st.integers(0, 400_000)
_MOMENTS = _SECONDS.map(lambda seconds: _START + timedelta(seconds=seconds))
_MONEY = st.integers(-(10**7), 10**7).map(lambda cents: cents / 100)
_NUMBERS = (
    _MONEY | st.floats() | st.sampled_from([0.0, 0.125, 2.0**53, -(2.0**53), 2.0**52 + 1, 1e15, 9.5, float("nan")])
)
ROWS = st.fixed_dictionaries(
    {
        "id": st.none() | st.sampled_from(["a", "b", "c", "é"]) | st.uuids().map(str),
        "time": st.none() | _MOMENTS | _MOMENTS | _MOMENTS,
        "card": st.sampled_from(["k1", "k1", "k2", None]),
        "shop": st.sampled_from([1, 1, -2, None]),
        "amount": st.none() | _NUMBERS,
        "items": st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(0, 4),
        "country": st.sampled_from(["GB", "US", "", None]),
        "is_fraud": st.sampled_from([0, 1, None]),
        "known": st.none() | _MOMENTS,
    }
)


def _transaction(row: dict[str, Any]) -> dict[str, Any]:
    """The row as a client would send it; what a file reads as missing is refused online, so it is left out."""
    sent = {key: value for key, value in row.items() if value is not None and value == value}
    if abs(sent.get("amount", 0.0)) == float("inf"):
        del sent["amount"]
    return sent | ({"time": row["time"].isoformat()} if row["time"] else {})


class Store:
    """The history store as its definition reads: everything in a list, searched from end to end."""

    def __init__(self, plan: FeaturePlan, online: OnlinePlan, rows: list[dict[str, Any]]) -> None:
        assert plan.layout is not None
        self._layout: EventLayout = plan.layout
        self._delay = plan.config.label_delay_days
        self._rows = rows
        self._events = [online.event(_transaction(row)) for row in rows]

    def read(self, event: Event) -> dict[Entity, EntityHistory]:
        """The newest events of each of the event's keys before it."""
        return {
            entity: self._of_key(position, key, event.time_us)
            for position, entity in enumerate(self._layout.entities)
            if (key := event.keys[position]) is not None and event.time_us is not None
        }

    def _of_key(self, entity: int, key: int, before: int) -> EntityHistory:
        found: dict[Any, int] = {}
        for place, event in enumerate(self._events):
            if event.keys[entity] == key and event.time_us is not None and event.time_us < before:
                identity = place if event.id_hash is None else (event.time_us, event.id_hash)
                found.setdefault(identity, place)
        newest = sorted(found.values(), key=self._rank, reverse=True)[: self._layout.history_limit]
        places = [p for p in reversed(newest) if (self._events[p].time_us or 0) >= before - self._layout.span_us]
        events = [self._events[place] for place in places]
        return EntityHistory(
            time_us=np.array([event.time_us for event in events], np.int64),
            numbers=_matrix([event.numbers for event in events], len(self._layout.numbers)),
            codes=_matrix([event.codes for event in events], len(self._layout.codes)),
            label=np.array([_or(self._rows[place]["is_fraud"], -1) for place in places], np.int8),
            known_at_us=np.array([self._known_at(place) for place in places], np.int64),
        )

    def _rank(self, place: int) -> tuple[int, int, int]:
        event = self._events[place]
        return event.time_us or 0, _or(event.id_hash, MISSING), place

    def _known_at(self, place: int) -> int:
        if self._delay is not None:
            return (self._events[place].time_us or 0) + round(self._delay * 86_400_000_000)
        known: datetime | None = self._rows[place]["known"]
        return MISSING if known is None else (known - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _or(value: int | None, other: int) -> int:
    return other if value is None else value


def _matrix(rows: list[tuple[int | None, ...]], width: int) -> NDArray[np.int64]:
    """Shape (width, n): one row a column."""
    return np.array([[_or(value, MISSING) for value in row] for row in rows], np.int64).reshape(len(rows), width).T


@lru_cache
def _compiled(document: bytes) -> OnlinePlan:
    return compile_plan(FeaturePlan.from_json(document))


def _compare(plan: FeaturePlan, rows: list[dict[str, Any]]) -> None:
    frame = pl.DataFrame(rows, schema=SCHEMA).lazy()
    batch = transform(plan, frame).collect().to_numpy()
    online = _compiled(plan.to_json())
    store = Store(plan, online, rows)
    sent = [_transaction(row) for row in rows]
    one_by_one = np.stack([online.vector(transaction, store.read(online.event(transaction))) for transaction in sent])
    np.testing.assert_array_equal(batch, one_by_one)

    assert plan.layout is not None
    events = encode_events(plan, plan.layout, frame)
    specs = [feature.spec(plan.layout) for feature in plan.history_features]
    reference = Reference(plan.layout, events)
    some = range(0, len(rows), 1 + len(rows) // 30)
    loops = [[reference.feature(spec, row) for spec in specs] for row in some]
    np.testing.assert_allclose(batch[some], np.array(loops, np.float64).astype(np.float32), rtol=1e-6, atol=1e-9)


_PAYMENT = {"id": None, "time": _START, "card": "k1", "shop": 1, "amount": 9.5, "items": 1, "country": "GB",
            "is_fraud": 1, "known": _START}  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(ROWS, min_size=1, max_size=25),
    decimals=st.sampled_from([0, 2, 6]),
    limit=st.sampled_from([1, 2, 3, 1000]),
    delay_days=st.sampled_from([None, 0.0, 0.01, 1.0]),
)
@example(rows=[_PAYMENT | {"time": _START + timedelta(seconds=60 * i)} for i in range(5)], decimals=2, limit=1000,
         delay_days=0.0)  # fmt: skip
def test_batch_online_and_loops_agree_on_every_feature_of_every_row(
    rows: list[dict[str, Any]], decimals: int, limit: int, delay_days: float | None
) -> None:
    """Ties, rows out of order, duplicates, missing keys and numbers, window edges, small limits: all three agree.

    Both executors to the last bit, and with exact arithmetic to float32 precision.
    """
    _compare(_plan(decimals, limit, delay_days), rows)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), limit=st.sampled_from([7, 40, 1000]))
def test_long_pasts_agree(seed: int, limit: int) -> None:
    """The same over pasts of a hundred events a key, where limits cut and extremes need several doublings."""
    random = np.random.default_rng(seed)
    rows = [
        _PAYMENT
        | {
            "id": f"t{index % 180}",
            "time": _START + timedelta(seconds=int(random.integers(0, 6000)) * 60),
            "card": ("k1", "k2")[int(random.integers(0, 8) == 0)],
            "amount": float(np.round(random.lognormal(3, 2), 2)),
            "items": int(random.integers(0, 9)),
            "country": f"c{random.integers(0, 6)}",
            "is_fraud": int(random.integers(0, 5) == 0),
            "known": _START + timedelta(minutes=int(random.integers(0, 6000))),
        }
        for index in range(220)
    ]
    _compare(_plan(2, limit, None), rows)


def test_every_function_exists_in_both_executors() -> None:
    """No function of history can be asked for that one executor lacks, and the comparison has them all."""
    assert set(ONLINE) == set(BATCH) == set(FUNCTIONS) == {feature.function for feature in _features(2)}
