"""Fairness figures against Fairlearn's and plain counting."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.monitoring.fairness import compress, figures, group_counts, intersections

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fairlearn import metrics as oracle

GROUPS = (("a", "b", "c"), ("x", "y"))


@st.composite
def _decisions(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Codes of two attributes (the last code of each is no group), decisions, labels and scores of 20 to 200 rows."""
    rows = draw(st.integers(20, 200))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    codes = np.column_stack([rng.integers(0, 4, rows), rng.choice([0, 1, 255], rows)]).astype(np.uint8)
    scores = rng.random(rows).astype(np.float32)
    labels = rng.choice(draw(st.sampled_from([[0, 1], [-1, 0, 1]])), rows)
    return codes, scores >= 0.6, labels.astype(np.int8), scores


@given(_decisions())
def test_gaps_equal_fairlearns(decided: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Parity difference and ratio on all rows, equalized odds on the labelled ones, of one attribute."""
    codes, flagged, labels, scores = decided
    counts = group_counts(GROUPS, (0,), compress(codes, flagged, labels, scores))
    found = {each.metric: each.value for each in figures(counts, minimum=1)}
    known = codes[:, 0] < 3
    if len(np.unique(codes[known, 0])) < 2:
        return
    given_ = {"y_true": flagged[known], "y_pred": flagged[known], "sensitive_features": codes[known, 0]}
    assert found["demographic_parity_diff"] == pytest.approx(oracle.demographic_parity_difference(**given_), abs=1e-9)
    if flagged[known].any():
        assert found["demographic_parity_ratio"] == pytest.approx(oracle.demographic_parity_ratio(**given_), abs=1e-9)
    labelled = known & (labels >= 0)
    of_group = [labels[labelled & (codes[:, 0] == code)] for code in range(3) if (codes[known, 0] == code).any()]
    if all((of == 0).any() and (of == 1).any() for of in of_group):
        expected = oracle.equalized_odds_difference(
            labels[labelled], flagged[labelled], sensitive_features=codes[labelled, 0]
        )
        assert found["equalized_odds_diff"] == pytest.approx(expected, abs=1e-9)


@given(_decisions())
def test_counts_equal_plain_counting(decided: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Every group of both attributes and of the two together."""
    codes, flagged, labels, scores = decided
    counted = compress(codes, flagged, labels, scores)
    for columns in intersections(2):
        counts = group_counts(GROUPS, columns, counted)
        for position, name in enumerate(counts.names):
            parts = name.split(" & ")
            here = np.ones(len(codes), dtype=bool)
            for column, part in zip(columns, parts, strict=True):
                here &= codes[:, column] == GROUPS[column].index(part)
            assert counts.rows[position] == here.sum()
            assert counts.flagged[position] == (here & flagged).sum()
            assert counts.frauds[position] == (here & (labels == 1)).sum()
            assert counts.hits[position] == (here & flagged & (labels == 1)).sum()
            assert counts.alarms[position] == (here & flagged & (labels == 0)).sum()
            assert counts.expected[position] == pytest.approx(scores[here & (labels >= 0)].sum(dtype=float), abs=1e-6)
        everyone = np.all([codes[:, column] < len(GROUPS[column]) for column in columns], axis=0)
        assert counts.rows.sum() == everyone.sum()
