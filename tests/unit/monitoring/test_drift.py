"""What counts as drift, and what must not: among it every trap that a rival library was seen to fall into."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.monitoring.drift import (
    ColumnDrift,
    DriftPolicy,
    Kind,
    category_drift,
    number_drift,
    quantile_groups,
    window_drift,
)
from shared.monitoring.level import Level
from shared.monitoring.profile import ReferenceProfile, build_profile, profile_feature, profile_scores
from shared.monitoring.rollup import RollupLayout

POLICY = DriftPolicy()
Numbers = NDArray[np.float32]
Counts = NDArray[np.int64]


def _numbers(reference: Numbers, current: Numbers) -> ColumnDrift:
    """One column of numbers on its own; it drifts when its test holds and a figure passes its floor."""
    feature = profile_feature("x", reference)
    counts, missing = feature.count(feature.encode(current))
    r = np.array([*feature.counts, 0, feature.missing])
    return number_drift(feature, Kind.FEATURE, r, np.array([*counts, 0, missing]), POLICY)


def _categories(reference: Counts, current: Counts, unseen: int = 0, missing: int = 0) -> ColumnDrift:
    return category_drift(
        "x", Kind.CATEGORY, np.array([*reference, 0, 0]), np.array([*current, unseen, missing]), POLICY
    )


def _level(column: ColumnDrift) -> Level:
    if column.p >= POLICY.false_discovery_rate:
        return Level.OK
    return max((figure.level for figure in column.figures), key=lambda level: level.rank)


def _value(column: ColumnDrift, metric: str) -> float:
    found = column.value(metric)
    assert found is not None
    return found


@pytest.mark.parametrize("rows", [2_000, 20_000])
def test_trap_1_two_samples_of_one_distribution_are_two_samples(rows: int) -> None:
    """Against a reference as small as the window, the chi-square test holds its 5 %."""
    rng = np.random.default_rng(rows)
    shares = rng.dirichlet(np.full(20, 5.0))
    p = [_categories(rng.multinomial(rows, shares), rng.multinomial(rows, shares)).p for _ in range(600)]
    assert np.mean(np.array(p) / 2 < 0.05) < 0.08  # p is of two tests, doubled


def test_trap_2_one_row_of_an_unseen_category_is_no_drift() -> None:
    """One row in 100,000 that the reference does not know: no evidence, no effect."""
    rng = np.random.default_rng(0)
    shares = np.full(20, 0.05)
    column = _categories(rng.multinomial(100_000, shares), rng.multinomial(100_000, shares), unseen=1)
    assert column.p > 0.001
    assert _value(column, "unseen_rate") == pytest.approx(1e-5, rel=1e-4)
    assert _level(column) is Level.OK


def test_trap_3_a_new_category_is_judged_alike_at_any_size() -> None:
    """One percent of a new category: its rate does not depend on the number of rows, nor does the verdict."""
    rng = np.random.default_rng(1)
    found = {}
    for rows in (1_000, 10_000, 100_000):
        reference = rng.multinomial(100_000, np.full(20, 0.05))
        current = rng.multinomial(rows - rows // 100, np.full(20, 0.05))
        found[rows] = _categories(reference, current, unseen=rows // 100)
    assert {_value(column, "unseen_rate") for column in found.values()} == {0.01}
    assert {_level(column) for column in found.values()} == {Level.WARNING}
    index = [_value(column, "psi") for column in found.values()]
    assert max(index) / min(index) < 1.5


def test_trap_4_larger_amounts_are_seen_with_and_without_an_outlier() -> None:
    """Amounts raised by 65 %: PSI on quantiles sees it, and one value of ten million changes no figure."""
    rng = np.random.default_rng(2)
    reference, current = (rng.lognormal(3, 1, 50_000).astype(np.float32) for _ in range(2))
    raised = current * np.float32(1.65)
    plain, outlier = _numbers(reference, raised), _numbers(reference, np.append(raised, np.float32(1e7)))
    assert _value(plain, "psi") > 0.15
    assert _level(plain) is not Level.OK
    for metric in ("psi", "ks_statistic", "jensen_shannon", "wasserstein"):
        assert _value(outlier, metric) == pytest.approx(_value(plain, metric), rel=0.02)
    assert _level(_numbers(np.append(reference, np.float32(1e7)), raised)) is _level(plain)


def test_trap_5_missing_values_are_drift() -> None:
    """60 % of the values turning NULL is critical, in numbers and in categories."""
    rng = np.random.default_rng(3)
    reference, current = rng.normal(size=20_000).astype(np.float32), rng.normal(size=5_000).astype(np.float32)
    current[:3_000] = np.nan
    numbers = _numbers(reference, current)
    assert _value(numbers, "missing_rate") == 0.6
    assert _level(numbers) is Level.CRITICAL
    counts = rng.multinomial(5_000, np.full(4, 0.25))
    assert _level(_categories(counts, (counts * 0.4).astype(int), missing=3_000)) is Level.CRITICAL


def test_trap_6_an_outlier_in_the_reference_hides_nothing_and_all_missing_is_defined() -> None:
    """KS with one outlier in the reference is the KS without; a window of nothing is told by its missing rate."""
    rng = np.random.default_rng(4)
    reference, current = rng.normal(size=20_000).astype(np.float32), rng.normal(0.4, 1, 5_000).astype(np.float32)
    clean = _numbers(reference, current)
    assert _value(clean, "ks_statistic") == pytest.approx(0.158, abs=0.02)
    tainted = _numbers(np.append(reference, np.float32(1e9)), current)
    assert _value(tainted, "ks_statistic") == pytest.approx(_value(clean, "ks_statistic"), abs=0.002)
    gone = _numbers(reference, np.full(500, np.nan, np.float32))
    assert _level(gone) is Level.CRITICAL
    assert gone.value("ks_statistic") is None
    assert all(np.isfinite(figure.value) for figure in gone.figures)


def test_trap_7_one_nan_hides_no_drift() -> None:
    """A shifted feature with a NaN among its values is as drifted as without."""
    rng = np.random.default_rng(5)
    reference, current = rng.normal(size=20_000).astype(np.float32), rng.normal(1, 1, 5_000).astype(np.float32)
    plain = _numbers(reference, current)
    holed = _numbers(reference, np.append(current, np.float32(np.nan)))
    assert _level(holed) is _level(plain) is Level.CRITICAL
    assert holed.p == pytest.approx(plain.p, abs=1e-9)


def test_trap_8_a_tail_explosion_and_a_vanishing_class_are_seen() -> None:
    """3 % of the values beyond everything known; a category of 0.9 % falling to 0.1 %."""
    rng = np.random.default_rng(6)
    reference, current = (rng.lognormal(3, 1, size).astype(np.float32) for size in (50_000, 10_000))
    current[:300] = 1e7
    assert _level(_numbers(reference, current)) is not Level.OK
    before = rng.multinomial(100_000, [0.009, 0.5, 0.491])
    after = rng.multinomial(10_000, [0.001, 0.504, 0.495])
    column = _categories(before, after)
    assert _value(column, "psi") < 0.1
    assert _level(column) is Level.WARNING


def test_trap_9_empty_columns_and_nan_have_figures_or_none() -> None:
    """A category that both lack, one that vanished, one that is new: never NaN, never an exception."""
    column = _categories(np.array([500, 0, 500]), np.array([400, 0, 0]), unseen=100)
    assert all(np.isfinite(figure.value) for figure in column.figures)
    assert _level(column) is Level.CRITICAL


@pytest.mark.parametrize(
    ("current", "level"),
    [
        (lambda n: np.full(n, 5.0), Level.OK),
        (lambda n: np.full(n, 6.0), Level.CRITICAL),
        (lambda n: np.where(np.arange(n) % 2, 5.0, -np.inf), Level.CRITICAL),
        (lambda n: np.where(np.arange(n) == 0, np.inf, 5.0), Level.OK),
        (lambda n: np.where(np.arange(n) % 100 == 0, np.nan, 5.0), Level.OK),
    ],
)
def test_a_constant_feature_has_figures(current: Callable[[int], Any], level: Level) -> None:
    """Constant stays constant, changes to another value, to infinities, or loses one value in a hundred."""
    column = _numbers(np.full(10_000, 5.0, np.float32), current(1_000).astype(np.float32))
    assert all(np.isfinite(figure.value) for figure in column.figures)
    assert _level(column) is level


def test_psi_bins_are_the_references_quantiles_with_the_outside_apart() -> None:
    """Ten groups of about a tenth each; below the minimum and above the maximum lie groups of their own."""
    values = np.random.default_rng(0).lognormal(0, 2, 100_000).astype(np.float32)
    counts = np.array(profile_feature("x", values).counts)
    groups = quantile_groups(counts, 10)
    sums = np.bincount(groups, counts)
    assert sums[0] == sums[-1] == 0
    assert sums[1:-1] / 100_000 == pytest.approx(np.full(10, 0.1), abs=0.01)


def _profile(rng: np.random.Generator, rows: int = 20_000) -> tuple[ReferenceProfile, Counts]:
    matrix = rng.normal(size=(rows, 4)).astype(np.float32)
    profile = build_profile(dict(zip("abcd", matrix.T, strict=True))).model_copy(
        update={"scores": profile_scores(rng.beta(1, 20, rows).astype(np.float32), 0.2)}
    )
    return profile, _counts(profile, rng, rows)


def _counts(profile: ReferenceProfile, rng: np.random.Generator, rows: int, **shifts: float) -> Counts:
    matrix = rng.normal(size=(rows, 4)).astype(np.float32)
    for name, shift in shifts.items():
        matrix[:, "abcd".index(name)] += shift
    assert profile.scores is not None
    scores = profile.scores.encode(rng.beta(1, 20, rows).astype(np.float32))
    return RollupLayout.of(profile).count(np.hstack([profile.encode(matrix), scores[:, None]]))


def test_critical_is_said_when_it_was_seen_often_enough() -> None:
    """The first window of a large shift is a warning; the second of three is critical."""
    rng = np.random.default_rng(8)
    profile, reference = _profile(rng)
    layout, current = RollupLayout.of(profile), _counts(profile, rng, 5_000, a=2.0)
    first = window_drift(profile, layout, reference, current)
    again = window_drift(profile, layout, reference, current, critical_before={"a": 1})
    levels = [{column.name: (column.level, column.seen) for column in each.columns}["a"] for each in (first, again)]
    assert levels == [(Level.WARNING, Level.CRITICAL), (Level.CRITICAL, Level.CRITICAL)]


def test_the_whole_is_weighed_by_importance() -> None:
    """A feature that the model does not look at makes no drift of the data; one that it lives on does."""
    rng = np.random.default_rng(9)
    profile, reference = _profile(rng)
    layout, current = RollupLayout.of(profile), _counts(profile, rng, 5_000, a=2.0)
    for importance, level in (({"a": 0.01, "b": 1.0}, Level.OK), ({"a": 1.0, "b": 1.0}, Level.WARNING)):
        found = window_drift(profile, layout, reference, current, importance=importance)
        assert found.level is level
        assert found.drifted_share.value == pytest.approx(importance["a"] / sum(importance.values()))
    lasting = window_drift(
        profile, layout, reference, current, importance={"a": 1.0, "b": 1.0}, critical_before={"a": 1}
    )
    assert lasting.level is Level.CRITICAL


@pytest.mark.parametrize("rows", [0, 1, 199])
def test_too_few_rows_say_nothing(rows: int) -> None:
    """However far away they are."""
    rng = np.random.default_rng(10)
    profile, reference = _profile(rng)
    found = window_drift(profile, RollupLayout.of(profile), reference, _counts(profile, rng, rows, a=50.0))
    assert (found.enough, found.level, found.columns, found.rows) == (False, Level.OK, (), rows)


def test_scores_and_decisions_drift_like_inputs() -> None:
    """Three times as many flagged transactions are a drift of the whole, whatever the features do."""
    rng = np.random.default_rng(11)
    profile, reference = _profile(rng)
    assert profile.scores is not None
    cells = np.hstack(
        [
            profile.encode(rng.normal(size=(10_000, 4)).astype(np.float32)),
            profile.scores.encode(rng.beta(1, 9, 10_000).astype(np.float32))[:, None],
        ]
    )
    layout = RollupLayout.of(profile)
    found = window_drift(profile, layout, reference, layout.count(cells))
    levels = {column.kind: column.level for column in found.columns}
    assert levels[Kind.SCORE] is not Level.OK
    assert levels[Kind.DECISION] is not Level.OK
    assert levels[Kind.FEATURE] is Level.OK
    assert found.level is not Level.OK
