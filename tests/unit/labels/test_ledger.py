"""Labels folded into what is known, against a replay that keeps everything and looks again each time."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.labels.ledger import Known, Ledger, Told, settle
from shared.labels.model import LabelBatch, NewLabel, Outcome, check_times
from shared.platform.errors import InvalidContent

START = datetime(2026, 3, 1, tzinfo=UTC)


def told(is_fraud: bool, day: int, source: str | None = None, *, timed: bool = True) -> Told:
    """A label of a day of March."""
    return Told(is_fraud, START + timedelta(days=day), source, START, None, timed)


def replayed(labels: list[Told]) -> Known:
    """What is known after all of these, by the rules' own words."""
    kept: list[Told] = []
    for label in labels:
        said = [(one.is_fraud, one.labeled_at, one.source) for one in kept]
        if (label.is_fraud, label.labeled_at, label.source) not in said:
            kept.append(label)
    if not kept:
        return Known()
    in_order = [one for day in sorted({one.labeled_at for one in kept}) for one in kept if one.labeled_at == day]
    since = in_order[-1].labeled_at
    for one in in_order[::-1]:
        if one.is_fraud != in_order[-1].is_fraud:
            break
        since = one.labeled_at
    return Known(in_order[-1].is_fraud, since)


LABELS = st.lists(
    st.builds(told, st.booleans(), st.integers(0, 6), st.sampled_from([None, "bank", "analyst"])), max_size=12
)


@given(LABELS, st.integers(0, 12))
def test_a_ledger_is_a_replay_of_its_labels(labels: list[Told], kept: int) -> None:
    """However many were kept before, the rest comes to what a replay of all comes to."""
    before = Ledger()
    recorded = [label for label in labels[:kept] if before.take(label) is not Outcome.UNCHANGED]
    ledger = Ledger(recorded)
    for label in labels[kept:]:
        ledger.take(label)
    assert ledger.known == replayed(labels)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), unique_by=lambda one: one[1], max_size=5))
def test_labels_of_different_moments_may_arrive_in_any_order(labels: list[tuple[bool, int]]) -> None:
    """What is known in the end is the same."""
    ends = set()
    for order in permutations(labels):
        ledger = Ledger()
        for is_fraud, day in order:
            ledger.take(told(is_fraud, day))
        ends.add(ledger.known)
    assert len(ends) == 1


def test_outcomes_tell_what_a_label_did() -> None:
    """First, again, confirmed later, an older one to the contrary, and a correction."""
    ledger = Ledger()
    assert ledger.take(told(False, 2)) is Outcome.LABELLED
    assert ledger.take(told(False, 2)) is Outcome.UNCHANGED
    assert ledger.take(told(False, 3)) is Outcome.CONFIRMED
    assert ledger.known == Known(False, START + timedelta(days=2))
    assert ledger.take(told(True, 1)) is Outcome.SUPERSEDED
    assert ledger.take(told(True, 4)) is Outcome.CORRECTED
    assert ledger.known == Known(True, START + timedelta(days=4))


def test_of_equal_moments_the_later_arrival_counts() -> None:
    """And the first one sent again does not take its place back."""
    ledger = Ledger()
    assert ledger.take(told(True, 1)) is Outcome.LABELLED
    assert ledger.take(told(False, 1)) is Outcome.CORRECTED
    assert ledger.take(told(True, 1)) is Outcome.UNCHANGED
    assert ledger.is_fraud is False


def test_a_label_without_a_time_says_nothing_new_of_what_is_known() -> None:
    """A retry of it, hours later, is not kept."""
    ledger = Ledger([told(True, 1)])
    assert ledger.take(told(True, 5, timed=False)) is Outcome.UNCHANGED
    assert ledger.take(told(False, 5, timed=False)) is Outcome.CORRECTED


def test_settling_counts_predictions_and_reports_the_strongest_outcome() -> None:
    """One transaction, scored twice, of which one prediction was labelled before; another that nobody scored."""
    first, second = UUID(int=1), UUID(int=2)
    ledgers = {first: Ledger([told(True, 1)]), second: Ledger()}
    settled = settle(ledgers, [(told(True, 1), [first, second]), (told(True, 1), [])])
    assert settled.outcomes == [(Outcome.LABELLED, 2), None]
    assert [(entry.prediction_id, entry.previous) for entry in settled.entries] == [(second, None)]
    assert settled.changed == {second: Known(True, START + timedelta(days=1))}


@pytest.mark.parametrize(
    "item",
    [
        {"is_fraud": True},
        {"is_fraud": True, "transaction_id": "a", "prediction_id": str(UUID(int=1))},
        {"is_fraud": 1, "transaction_id": "a"},
        {"is_fraud": None, "transaction_id": "a"},
        {"is_fraud": True, "transaction_id": ""},
        {"is_fraud": True, "transaction_id": True},
        {"is_fraud": True, "transaction_id": "a", "labeled_at": "2026-03-01T00:00:00"},
        {"is_fraud": True, "transaction_id": "a", "source": ""},
        {"is_fraud": True, "transaction_id": "a", "note": "x"},
    ],
)
def test_a_label_that_is_not_clear_is_refused(item: dict[str, object]) -> None:
    """Neither or both ids, a word for true, a time without its zone, a field nobody knows."""
    with pytest.raises(ValidationError):
        NewLabel.model_validate(item)


def test_ids_that_are_numbers_are_texts() -> None:
    """As scoring keeps them."""
    assert NewLabel.model_validate({"transaction_id": 17, "is_fraud": True}).transaction_id == "17"


def test_a_batch_holds_ten_thousand_labels_and_no_more() -> None:
    """An empty one is refused as well."""
    label = {"transaction_id": "a", "is_fraud": True}
    assert len(LabelBatch.model_validate({"labels": [label] * 10_000}).labels) == 10_000
    for count in (0, 10_001):
        with pytest.raises(ValidationError):
            LabelBatch.model_validate({"labels": [label] * count})


def test_times_that_cannot_be_true_are_refused_by_field() -> None:
    """To come beyond the skew of clocks, or before any web shop; the others are not named."""
    labels = [
        NewLabel(transaction_id="a", is_fraud=True, labeled_at=at)
        for at in (
            START,
            START + timedelta(minutes=4),
            START + timedelta(minutes=6),
            datetime(1999, 12, 31, tzinfo=UTC),
        )
    ]
    with pytest.raises(InvalidContent) as refusal:
        check_times(labels, START)
    assert [detail.field for detail in refusal.value.details] == ["labels.2.labeled_at", "labels.3.labeled_at"]
