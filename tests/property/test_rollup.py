"""Counts that add up, whatever is counted and however it is cut."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from shared.monitoring.cells import CellLayout
from shared.monitoring.rollup import Cube, Rollup, RollupLayout, pack, sum_packed, unpack

LAYOUT = RollupLayout(("a", "b", "g", "fraud_score"), (5, 130, 4, 100), CellLayout(1, 1, 1))
INTS = arrays.arrays(np.int64, st.integers(0, 60), elements=st.integers(-(2**62), 2**62) | st.integers(0, 300))
CODES = st.integers(0, 60).flatmap(lambda n: arrays.arrays(np.uint8, (n, 4)))
TAILS = st.integers(1, 8).flatmap(
    lambda width: st.integers(1, 60).flatmap(lambda n: arrays.arrays(np.uint8, (n, width)))
)


@given(values=INTS)
def test_packing_keeps_every_integer(values: NDArray[np.int64]) -> None:
    """Negative and large ones, and none at all; the sum of packed vectors is the vectors' sum."""
    assert (unpack(pack(values)) == values).all()
    assert (sum_packed([pack(values % 1000)] * 3, len(values)) == 3 * (values % 1000)).all()


@given(codes=TAILS, weights=st.integers(-3, 3))
def test_a_cube_counts_rows_by_all_their_codes(codes: NDArray[np.uint8], weights: int) -> None:
    """As a dictionary by the row's bytes would, before and after packing; what comes to nothing is left out."""
    cube = Cube.unpack(Cube.of(codes, np.full(len(codes), weights, np.int64)).pack())
    expected: dict[bytes, int] = {}
    for row in codes:
        expected[row.tobytes()] = expected.get(row.tobytes(), 0) + weights
    found = {bytes(key): int(n) for key, n in zip(cube.codes(codes.shape[1]), cube.counts, strict=True)}
    assert found == {key: n for key, n in expected.items() if n}
    assert (np.diff(cube.keys.astype(object)) > 0).all()


@settings(max_examples=60)
@given(codes=CODES, cut=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_parts_add_up_to_the_whole(codes: NDArray[np.uint8], cut: float, seed: int) -> None:
    """Predictions counted in two parts and summed are those counted at once, scores to the last bit."""
    rng, middle = np.random.default_rng(seed), int(len(codes) * cut)
    scores, latencies = rng.random(len(codes)), rng.integers(-1, 100_000, len(codes)).astype(np.int32)
    whole = Rollup.of(LAYOUT, codes, scores, latencies)
    parts = [
        Rollup.of(LAYOUT, codes[part], scores[part], latencies[part]) for part in (slice(middle), slice(middle, None))
    ]
    summed = Rollup.sum(LAYOUT, parts)
    assert summed.rows == whole.rows == int(whole.latencies.sum()) == whole.cube.rows
    for name in ("counts", "score_sums", "latencies"):
        assert (getattr(summed, name) == getattr(whole, name)).all()
    assert (summed.cube.keys == whole.cube.keys).all()
    assert (summed.cube.counts == whole.cube.counts).all()
    assert [int(LAYOUT.column(whole.counts, n).sum()) for n in range(4)] == [len(codes)] * 4
