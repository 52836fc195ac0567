"""The reference profile, on whatever float32 can hold."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from shared.monitoring.profile import MAX_CELLS, MISSING_CODE, ReferenceProfile, build_profile, profile_feature

_VALUES = st.floats(width=32, allow_infinity=False) | st.sampled_from([0.0, -0.0, 1.0, float("nan")])
COLUMN = arrays.arrays(np.float32, st.integers(0, 400), elements=_VALUES) | arrays.arrays(
    np.float32, st.integers(300, 600), elements=st.integers(0, 500).map(float), fill=st.just(7.0)
)


@settings(max_examples=150, deadline=None)
@given(values=COLUMN)
def test_encoding_the_reference_gives_its_own_counts(values: NDArray[np.float32]) -> None:
    """Every row falls into one cell; codes counted again are the profile's counts, before and after JSON."""
    profile = build_profile({"x": values})
    again = ReferenceProfile.from_json(profile.to_json())
    assert again == profile
    feature = again.features[0]
    counts, missing = feature.count(feature.encode(values))
    assert counts.tolist() == list(feature.counts)
    assert missing == feature.missing == int(np.isnan(values).sum())
    assert feature.total == len(values) == again.rows
    assert len(feature.counts) <= MAX_CELLS


@settings(max_examples=150, deadline=None)
@given(values=COLUMN, probe=st.floats(width=32, allow_infinity=False, allow_nan=False))
def test_what_lies_outside_the_reference_is_seen(values: NDArray[np.float32], probe: float) -> None:
    """Values below the minimum and above the maximum fall into cells that are empty in the reference."""
    feature = profile_feature("x", values)
    if feature.minimum is None or feature.maximum is None:
        return
    code = int(feature.encode(np.array([probe], dtype=np.float32))[0])
    if probe < feature.minimum:
        assert code == 0
        assert feature.counts[0] == 0
    elif probe > feature.maximum:
        assert code == len(feature.edges)
        assert feature.counts[-1] == 0
    else:
        assert 0 < code <= len(feature.edges)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), heavy=st.floats(-5, 5, width=32), share=st.floats(0.05, 0.9))
def test_a_heavy_value_has_a_cell_of_its_own(seed: int, heavy: float, share: float) -> None:
    """A spike in a continuous feature is isolated, and the other cells hold about equally many rows."""
    random = np.random.default_rng(seed)
    values = random.normal(size=20_000).astype(np.float32)
    spike = random.random(20_000) < share
    values[spike] = heavy
    feature = profile_feature("x", values)
    code = int(feature.encode(np.array([heavy], dtype=np.float32))[0])
    assert feature.counts[code] == int((values == np.float32(heavy)).sum())
    others = np.delete(np.array(feature.counts), code)
    assert others.max() <= 3 * (~spike).sum() / MAX_CELLS + 1


def test_missing_has_its_own_code() -> None:
    """NaN is code 255, which no cell can have."""
    feature = profile_feature("x", np.array([1, np.nan, 2], dtype=np.float32))
    assert feature.encode(np.array([np.nan], dtype=np.float32)).tolist() == [MISSING_CODE]
    assert len(feature.counts) < MISSING_CODE


@settings(max_examples=60, deadline=None)
@given(reference=COLUMN, seed=st.integers(0, 2**32 - 1))
def test_many_values_are_encoded_as_few_are(reference: NDArray[np.float32], seed: int) -> None:
    """A large column goes by the bits of its floats: the same cells, infinities, NaN and values at edges included."""
    feature = profile_feature("x", reference)
    rng = np.random.default_rng(seed)
    edges = np.array(feature.edges, np.float32)
    with np.errstate(over="ignore"):
        near = [np.nextafter(edges, np.float32(side)) for side in (-np.inf, np.inf)]
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1e-45, -1e-45], np.float32)
    bits = rng.integers(0, 2**32, 60_000, dtype=np.uint32).view(np.float32)
    many = np.concatenate([bits, edges, *near, special, reference])
    few = np.concatenate([feature.encode(part) for part in np.array_split(many, 4)])
    assert (feature.encode(many) == few).all()
