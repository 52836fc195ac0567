"""What a column's statistics tell about its use as the label."""

from typing import Any

import pytest

from shared.datasets.model import ColumnType
from shared.features.labels import why_no_labels


@pytest.mark.parametrize(
    ("kind", "figures", "told"),
    [
        ("integer", {"null_count": 0, "min": 0, "max": 4}, "values such as 4 are neither 0"),
        ("integer", {"null_count": 0, "min": -1, "max": 1}, "values such as -1 are"),
        ("float", {"null_count": 0, "min": 0.25, "max": 7.5}, "values such as 0.25 and 7.5 are"),
        ("integer", {"null_count": 0, "min": 0, "max": 0}, "every label is genuine"),
        ("float", {"null_count": 3, "min": 1.0, "max": 1.0}, "every label is fraud"),
        ("integer", {"null_count": 10, "min": None, "max": None}, "no row has a label"),
        ("float", {"null_count": 0, "not_finite_count": 10, "min": None, "max": None}, "no row has a label"),
        ("boolean", {"null_count": 0, "true_count": 0}, "every label is genuine"),
        ("boolean", {"null_count": 2, "true_count": 8}, "every label is fraud"),
        ("string", {"null_count": 0, "distinct_count": 2, "values": {"yes": 4, "maybe": 6}}, "texts such as 'maybe'"),
        ("string", {"null_count": 0, "distinct_count": 1, "values": {"legit": 10}}, "every label is genuine"),
        ("string", {"null_count": 0, "distinct_count": 1_200}, "about 1,200 different texts are neither"),
    ],
)
def test_what_cannot_be_the_label_is_told_why(kind: ColumnType, figures: dict[str, Any], told: str) -> None:
    """Values that mean nothing, one class only, or nothing at all."""
    assert told in (why_no_labels(kind, figures, 10) or "")


@pytest.mark.parametrize(
    ("kind", "figures"),
    [
        ("integer", {"null_count": 3, "min": 0, "max": 1}),
        ("float", {"null_count": 0, "not_finite_count": 2, "min": 0.0, "max": 1.0}),
        ("boolean", {"null_count": 2, "true_count": 3}),
        ("string", {"null_count": 0, "distinct_count": 3, "values": {" Fraud": 1, "no": 4, "N": 5}}),
        ("integer", {}),
        ("boolean", {}),
        ("string", {}),
    ],
)
def test_what_may_be_the_label_passes(kind: ColumnType, figures: dict[str, Any]) -> None:
    """Both classes are there, or the statistics do not say."""
    assert why_no_labels(kind, figures, 10) is None
