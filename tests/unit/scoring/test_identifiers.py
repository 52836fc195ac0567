"""Prediction ids carry their time."""

from datetime import UTC, datetime, timedelta
from uuid import RFC_4122, UUID, uuid4

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shared.scoring.identifiers import created_at, derived_ids, milliseconds_of, prediction_id, to_milliseconds

TIMES = st.datetimes(  # Hypothesis wants naive bounds and adds the zone itself
    datetime(2000, 1, 1),  # noqa: DTZ001
    datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)


@given(TIMES)
def test_an_id_tells_its_millisecond(at: datetime) -> None:
    """What a look-up by id computes is exactly the stored created_at."""
    assert created_at(prediction_id(at)) == to_milliseconds(at)


@given(TIMES)
def test_ids_are_version_7(at: datetime) -> None:
    """The id is a standard UUID of version 7, RFC variant."""
    identifier = prediction_id(at)
    assert identifier.version == 7
    assert identifier.variant == "specified in RFC 4122"


def test_ids_sort_by_time() -> None:
    """Later predictions have greater ids."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    identifiers = [prediction_id(start + timedelta(milliseconds=step)) for step in range(100)]
    assert identifiers == sorted(identifiers)


def test_ids_of_one_millisecond_differ() -> None:
    """74 random bits tell ids of the same moment apart."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert len({prediction_id(at) for _ in range(10_000)}) == 10_000


def test_an_id_of_another_kind_has_no_time() -> None:
    """A random UUID names no partition."""
    assert created_at(uuid4()) is None


def test_an_id_beyond_the_calendar_has_no_time() -> None:
    """48 bits of milliseconds reach further than datetimes do; such an id was never given out."""
    assert created_at(UUID("ffffffff-ffff-7fff-bfff-ffffffffffff")) is None


def test_derived_ids_are_the_same_each_time_and_carry_their_time() -> None:
    """The same job, moment and row give the same id, any other another; each is a UUID of version 7."""
    at = datetime(2026, 5, 1, 12, 0, 0, 123_000, tzinfo=UTC)
    moments = milliseconds_of(at) + np.array([0, 0, 1, 5])
    numbers = np.array([0, 1, 2, 10**9])
    found = derived_ids(moments, b"job", numbers)
    assert np.array_equal(found, derived_ids(moments, b"job", numbers))
    ids = [UUID(bytes=row.tobytes()) for row in found]
    assert [created_at(each) for each in ids] == [at + timedelta(milliseconds=n) for n in (0, 0, 1, 5)]
    assert {each.variant for each in ids} == {RFC_4122}
    others = [
        UUID(bytes=derived_ids(when, source, numbers[:1])[0].tobytes())
        for when, source in ((moments[:1], b"other"), (moments[:1] + 1, b"job"))
    ]
    assert len({*ids, *others}) == 6
