"""Intervals, tests and verdicts on gaps between groups; each trap of other tools that ours does not fall into."""

import numpy as np
import pytest
from scipy import stats

from shared.monitoring.fairness import (
    DEFAULT_LIMITS,
    Figure,
    GroupCounts,
    Limit,
    compress,
    figures,
    group_counts,
    holm,
    rates,
    status,
)
from shared.monitoring.level import Level


def counts(rows: list[int], flagged: list[int], frauds: list[int], hits: list[int]) -> GroupCounts:
    """Groups whose rows are all labelled; the scores say what the labels do."""
    n, k, f, tp = (np.array(each) for each in (rows, flagged, frauds, hits))
    names = tuple("abcdefgh"[: len(rows)])
    return GroupCounts(names, n, k, f, n - f, tp, k - tp, f.astype(np.float64))


def figure(found: list[Figure], metric: str) -> Figure:
    return next(each for each in found if each.metric == metric)


def verdicts(found: list[Figure]) -> set[Level]:
    corrected = holm([each.p for each in found])
    return {
        status(each, DEFAULT_LIMITS[each.metric], p)
        for each, p in zip(found, corrected, strict=True)
        if each.metric in DEFAULT_LIMITS
    }


def test_the_interval_of_two_groups_is_newcombes() -> None:
    """His example (Newcombe 1998, table II): 56 of 70 against 48 of 80 is 0.2, from 0.0524 to 0.3339."""
    gap = figure(figures(counts([70, 80], [56, 48], [1, 1], [1, 1])), "demographic_parity_diff")
    assert (gap.value, gap.low, gap.high) == (
        pytest.approx(0.2),
        pytest.approx(0.0524, abs=1e-4),
        pytest.approx(0.3339, abs=1e-4),
    )


def test_the_test_of_equal_shares_is_chi_square() -> None:
    """scipy's on the contingency table, without continuity correction."""
    gap = figure(figures(counts([400, 300, 500], [30, 35, 30], [10] * 3, [5] * 3)), "demographic_parity_diff")
    table = [[30, 35, 30], [370, 265, 470]]
    assert gap.p == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue, abs=1e-12)


def test_intervals_hold_the_truth_for_all_pairs_at_once() -> None:
    """Eight alike groups of 500 show a gap, and in at least 95 % of worlds its interval reaches down to nothing."""
    rng = np.random.default_rng(3)
    held = shown = 0
    for _ in range(300):
        flagged = rng.binomial(500, 0.05, 8)
        gap = figure(figures(counts([500] * 8, flagged.tolist(), [1] * 8, [0] * 8)), "demographic_parity_diff")
        held += gap.low == 0
        shown += gap.value > 0.02
    assert held / 300 >= 0.95
    assert shown / 300 > 0.7


def test_alike_groups_are_not_called_biased() -> None:
    """The four-fifths rule on flag rates would call them so in almost every window."""
    rng = np.random.default_rng(4)
    raised = 0
    for _ in range(200):
        frauds = rng.binomial(500, 0.05, 8)
        hits = rng.binomial(frauds, 0.7)
        flagged = hits + rng.binomial(500 - frauds, 0.01)
        raised += verdicts(figures(counts([500] * 8, flagged.tolist(), frauds.tolist(), hits.tolist()))) != {Level.OK}
    assert raised / 200 <= 0.05


def test_a_real_gap_is_critical() -> None:
    """One group is flagged three times as often, among thousands of rows."""
    found = figures(counts([5000, 5000], [250, 1500], [100, 100], [80, 80]))
    gap = figure(found, "demographic_parity_diff")
    assert status(gap, DEFAULT_LIMITS[gap.metric], gap.p) is Level.CRITICAL


def test_a_group_without_positives_is_left_out() -> None:
    """It has no true-positive rate, rather than one of 0."""
    found = figures(counts([1000, 1000, 1000], [50, 50, 20], [40, 40, 0], [36, 36, 0]))
    odds = figure(found, "equalized_odds_diff")
    assert odds.value < 0.05
    assert "tpr c" not in odds.groups
    assert rates(counts([1000], [20], [0], [0]))[0]["tpr"] is None


def test_a_ratio_where_one_group_of_nobody_is_flagged_is_not_an_alarm() -> None:
    """The ratio of flag rates is 0 there; disparate impact looks at who is not flagged, and is near 1."""
    found = figures(counts([200, 200], [0, 2], [2, 2], [0, 2]))
    assert figure(found, "demographic_parity_ratio").value == 0
    assert figure(found, "disparate_impact").value == pytest.approx(0.99)
    assert verdicts(found) == {Level.OK}


def test_opposite_gaps_do_not_cancel() -> None:
    """One group's lower hit rate is not made good by its higher rate of false alarms."""
    found = figures(counts([2000, 2000], [280, 240], [200, 200], [100, 160]))
    assert figure(found, "equalized_odds_diff").value == pytest.approx(0.3)


def test_missing_groups_and_unknown_labels_are_nobody() -> None:
    """None in a group column, a group that the model does not know, a label that has not come."""
    codes = np.array([[0], [1], [255], [254], [0]], dtype=np.uint8)
    labels = np.array([1, 0, 1, 1, -1], dtype=np.int8)
    found = group_counts([("a", "b")], (0,), compress(codes, labels == 1, labels, np.full(5, 0.5)))
    assert (found.names, found.rows.tolist(), found.frauds.tolist()) == (("a", "b"), [2, 1], [1, 0])


def test_tiny_groups_say_nothing() -> None:
    """Fewer than thirty rows behind a rate make no figure."""
    assert figures(counts([29, 5000], [29, 10], [5, 5], [5, 5])) == []


def test_holms_correction_is_that_of_the_textbook() -> None:
    """Sorted p-values times what is left, never falling."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


@pytest.mark.parametrize(
    ("value", "low", "high", "p", "limit", "expected"),
    [
        (0.2, 0.15, 0.3, 0.001, Limit(at_most=0.1), Level.CRITICAL),
        (0.2, 0.05, 0.3, 0.001, Limit(at_most=0.1), Level.WARNING),
        (0.2, 0.05, 0.3, 0.2, Limit(at_most=0.1), Level.OK),
        (0.05, 0.0, 0.3, 0.001, Limit(at_most=0.1), Level.OK),
        (0.5, 0.4, 0.7, 0.001, Limit(at_least=0.8), Level.CRITICAL),
        (0.7, 0.5, 0.9, 0.001, Limit(at_least=0.8), Level.WARNING),
        (0.9, 0.5, 1.0, 0.001, Limit(at_least=0.8), Level.OK),
    ],
)
def test_the_verdict_looks_at_value_interval_and_test(
    value: float, low: float, high: float, p: float, limit: Limit, expected: Level
) -> None:
    """Beyond the limit and more than chance warns; the whole interval beyond it is critical."""
    assert status(Figure("m", value, low, high, p, {}, {}), limit, p) is expected
