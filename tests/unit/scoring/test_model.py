"""Transactions that can be scored, confidence, and reasons in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.features.kinds.numeric import Raw
from shared.platform.errors import InvalidContent
from shared.scoring.model import ScoreRequest, confidence, transaction_id
from shared.scoring.reasons import Meanings, explanation, reasons
from shared.training.algorithms.base import ExplanationKind


@pytest.mark.parametrize(
    "transaction",
    [
        {},
        {"amount": float("nan")},
        {"amount": float("inf")},
        {"amount": [1]},
        {"amount": {"value": 1}},
        {"note": "x" * 10_001},
        {"x" * 201: 1},
    ],
    ids=["empty", "nan", "infinity", "list", "object", "long text", "long name"],
)
def test_a_transaction_is_flat_and_finite(transaction: dict[str, object]) -> None:
    """What could not be stored or scored faithfully is refused."""
    with pytest.raises(ValidationError):
        ScoreRequest.model_validate({"transaction": transaction})


def test_unknown_fields_of_the_request_are_refused() -> None:
    """A misspelt model_id must not silently mean the production model."""
    with pytest.raises(ValidationError):
        ScoreRequest.model_validate({"transaction": {"amount": 1}, "modelid": "x"})


def test_the_transaction_id_is_found_under_either_name() -> None:
    """Its own name first, then the id column of the plan; numbers become text."""
    assert transaction_id({"transaction_id": "a", "trans_num": "b"}, "trans_num") == "a"
    assert transaction_id({"trans_num": 7}, "trans_num") == "7"
    assert transaction_id({"amount": 1}, "trans_num") is None
    assert transaction_id({"amount": 1}, None) is None


@pytest.mark.parametrize("value", [True, 1.5, "", "x" * 256])
def test_a_bad_transaction_id_is_named(value: object) -> None:
    """The refusal names the field."""
    with pytest.raises(InvalidContent) as refused:
        transaction_id({"transaction_id": value}, None)
    assert refused.value.details[0].field == "transaction_id"


@given(st.floats(0, 1), st.floats(0.001, 0.999))
def test_confidence_lies_between_0_and_1(score: float, threshold: float) -> None:
    """Whatever the score and the threshold."""
    assert 0 <= confidence(score, threshold) <= 1


def test_confidence_is_0_at_the_threshold_and_1_at_the_ends() -> None:
    """It says how clear-cut the decision is."""
    assert confidence(0.3, 0.3) == 0
    assert confidence(1.0, 0.3) == 1
    assert confidence(0.0, 0.3) == 1


def test_reasons_are_ranked_by_what_they_contribute() -> None:
    """Large effects first, in either direction; features without effect are no reasons."""
    found = explanation(("a", "b", "c"), [0.1, -0.7, 0.0, -2.0], ExplanationKind())
    ranked = reasons(
        found, {"a": 1.0, "b": None, "c": 3.0}, Meanings((Raw(name=name, column=name) for name in "abc"), None)
    )
    assert [reason.feature for reason in ranked] == ["b", "a"]
    assert ranked[0].text == "b is missing; this lowers the risk"
    assert ranked[1].text == "a is 1; this raises the risk"
    assert [(reason.code, reason.direction) for reason in ranked] == [
        ("value_missing", "lowers"),
        ("number_value", "raises"),
    ]
    assert found.base_value == -2.0
