"""Every statistic against scipy on the same data, or within the bound that it states."""

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency, false_discovery_control, ks_2samp, wasserstein_distance

from shared.monitoring import statistics
from shared.monitoring.profile import profile_feature

COUNTS = st.integers(1, 40).flatmap(
    lambda cells: st.tuples(*[arrays.arrays(np.int64, cells, elements=st.integers(0, 5000))] * 2)
)
VALUES = st.integers(0, 2**32 - 1).flatmap(
    lambda seed: st.sampled_from(["normal", "lognormal", "integers", "spike"]).map(lambda kind: _sample(kind, seed))
)
Pair = tuple[NDArray[np.int64], NDArray[np.int64]]


def _sample(kind: str, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    n, m, shift = int(rng.integers(2, 3000)), int(rng.integers(2, 3000)), float(rng.normal(0, 0.5))
    made: dict[str, Any] = {
        "normal": lambda size, by: rng.normal(by, 1, size),
        "lognormal": lambda size, by: rng.lognormal(3 + by, 1, size),
        "integers": lambda size, by: rng.integers(0, 30 + int(10 * abs(by)), size),
        "spike": lambda size, by: np.where(rng.random(size) < 0.6, 7.0, rng.normal(by, 3, size)),
    }
    return made[kind](n, 0).astype(np.float32), made[kind](m, shift).astype(np.float32)


@given(pair=COUNTS)
def test_jensen_shannon_is_scipys_to_base_two(pair: Pair) -> None:
    """The distance of the same counts, to 1e-9; None where a sample is empty."""
    found = statistics.jensen_shannon(*pair)
    if not pair[0].sum() or not pair[1].sum():
        assert found is None
    else:
        assert found == pytest.approx(float(jensenshannon(pair[0], pair[1], base=2)), abs=2e-8)
        # squared, because the root of a rounding error near zero is larger than the error
        assert found is not None
        assert found**2 == pytest.approx(float(jensenshannon(pair[0], pair[1], base=2)) ** 2, abs=1e-9)


@given(pair=COUNTS)
def test_chi_square_is_scipys_on_the_merged_table(pair: Pair) -> None:
    """Both samples as rows, without correction; after merging every cell expects five rows."""
    found = statistics.chi_square(*pair)
    table = statistics.merge_rare(np.array(pair, dtype=np.float64))
    assert table.sum() == sum(each.sum() for each in pair)
    if found.df < 1:
        assert found.p == 1.0
        return
    expected = chi2_contingency(table, correction=False)
    assert found.statistic == pytest.approx(float(expected.statistic), rel=1e-9, abs=1e-9)
    assert found.p == pytest.approx(float(expected.pvalue), rel=1e-9, abs=1e-12)
    assert expected.expected_freq.min() >= statistics.MIN_EXPECTED - 1e-9


@given(pair=COUNTS)
def test_psi_is_its_formula_on_smoothed_shares(pair: Pair) -> None:
    """Σ (c − r) ln(c / r), cell by cell in plain Python; never negative, and symmetric."""
    reference, current = pair
    found = statistics.psi(reference, current)
    if not reference.sum() or not current.sum():
        assert found is None
        return
    held = [(int(r), int(c)) for r, c in zip(reference, current, strict=True) if r + c]
    n, m = sum(r for r, _ in held), sum(c for _, c in held)
    shares = [((r + 0.5) / (n + 0.5 * len(held)), (c + 0.5) / (m + 0.5 * len(held))) for r, c in held]
    assert found is not None
    assert found == pytest.approx(sum((c - r) * np.log(c / r) for r, c in shares), abs=1e-9)
    assert found == pytest.approx(statistics.psi(current, reference), abs=1e-9)
    assert found >= 0


@given(sample=VALUES)
def test_exact_distances_are_scipys(sample: tuple[NDArray[np.float32], NDArray[np.float32]]) -> None:
    """KS and Wasserstein of values, with NaN among them, equal scipy's without NaN."""
    r, c = sample
    holes = np.full(3, np.nan, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of p-values, which are not compared
        expected = ks_2samp(r, c, method="asymp").statistic
    assert statistics.exact_ks(np.concatenate([r, holes]), np.concatenate([holes, c])) == pytest.approx(
        float(expected), abs=1e-9
    )
    distance = wasserstein_distance(r.astype(np.float64), c.astype(np.float64))
    assert statistics.exact_wasserstein(np.concatenate([r, holes]), c) == pytest.approx(distance, rel=1e-9, abs=1e-9)


@given(sample=VALUES)
def test_binned_distances_hold_their_bounds(sample: tuple[NDArray[np.float32], NDArray[np.float32]]) -> None:
    """From 128 cells, KS and Wasserstein are at most their bound away from the exact ones (Wasserstein within the
    reference's range)."""
    r, c = sample
    feature = profile_feature("x", r)
    edges = np.array(feature.edges)
    current = np.clip(c, feature.minimum, feature.maximum).astype(np.float32)
    for values in (c, current):
        counts, _ = feature.count(feature.encode(values))
        found = statistics.ks(np.array(feature.counts), counts)
        exact = statistics.exact_ks(r, values)
        assert found is not None
        assert exact is not None
        assert found.value - 1e-9 <= exact <= found.value + found.bound + 1e-9
    counts, _ = feature.count(feature.encode(current))
    area = statistics.wasserstein(edges, np.array(feature.counts), counts, feature.std or 0.0)
    exact = statistics.exact_wasserstein(r, current, feature.std or 0.0)
    assume(area is not None)
    assert area is not None
    assert exact is not None
    assert abs(area.value - exact) <= area.bound + 1e-5


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_false_discovery_rates_are_scipys(p: list[float]) -> None:
    """Adjusted p-values equal scipy's."""
    expected = false_discovery_control(p, method="bh")
    assert statistics.benjamini_hochberg(np.array(p)) == pytest.approx(expected, abs=1e-12)


def test_psi_without_drift_is_what_is_expected() -> None:
    """Over many samples of one distribution PSI averages (B − 1)(1/n + 1/m)."""
    rng = np.random.default_rng(0)
    shares = np.full(10, 0.1)
    found, expected = [], 0.0
    for _ in range(400):
        r, c = rng.multinomial(20_000, shares), rng.multinomial(2_000, shares)
        value = statistics.psi(r, c)
        assert value is not None
        found.append(value)
        expected = statistics.expected_psi(r, c)
    assert np.mean(found) == pytest.approx(expected, rel=0.06)


def test_nothing_to_compare_is_none() -> None:
    """Empty samples and samples of NaN alone have no distance."""
    empty, some = np.zeros(4, np.int64), np.array([1, 2, 3, 4])
    edges = np.array([1.0, 2.0, 3.0])
    assert statistics.psi(some, empty) is None
    assert statistics.ks(empty, some) is None
    assert statistics.wasserstein(edges, some, empty, 1.0) is None
    assert statistics.chi_square(some, empty) == (0.0, 0, 1.0)
    assert statistics.exact_ks(np.array([np.nan]), np.array([1.0])) is None
    assert statistics.exact_wasserstein(np.array([np.inf]), np.array([1.0])) is None
