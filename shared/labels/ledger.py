"""All labels of a prediction folded into what is known of it; pure."""

from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from shared.labels.model import Outcome


@dataclass(frozen=True, slots=True)
class Told:
    """One label of one prediction.

    :ivar timed: the source said when it became known; otherwise ``labeled_at`` is when it arrived.
    :ivar recorded_at: when it arrived.
    """

    is_fraud: bool
    labeled_at: datetime
    source: str | None
    recorded_at: datetime
    recorded_by: UUID | None
    timed: bool = True


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a prediction, and since when; ``None`` before its first label."""

    is_fraud: bool | None = None
    since: datetime | None = None


class Ledger:
    """All labels of one prediction, by event time; of equal times, in the order in which they arrived.

    The last one is what is known, since the first of the labels before it that say the same without a break: telling
    it again does not make it known later than it was. The result depends on the set of labels and, among equal times
    only, on their order.
    """

    __slots__ = ("_said", "_told")

    def __init__(self, told: Iterable[Told] = ()) -> None:
        self._told = sorted(told, key=_event_time)
        self._said = {_saying(label) for label in self._told}

    @property
    def is_fraud(self) -> bool | None:
        """What these labels say together; ``None`` before the first."""
        return self._told[-1].is_fraud if self._told else None

    @property
    def known(self) -> Known:
        """What these labels say together, and since when."""
        if not self._told:
            return Known()
        last = first = self._told[-1]
        for label in reversed(self._told):
            if label.is_fraud is not last.is_fraud:
                break
            first = label
        return Known(last.is_fraud, first.labeled_at)

    def take(self, label: Told) -> Outcome:
        """Add a label; one that says nothing new is UNCHANGED and not added.

        Nothing new is what the same source has said of the same moment, and what is known already when no moment is
        given: sending a batch again changes nothing.
        """
        before = self.is_fraud
        if _saying(label) in self._said or (not label.timed and before is label.is_fraud):
            return Outcome.UNCHANGED
        insort(self._told, label, key=_event_time)
        self._said.add(_saying(label))
        if before is None:
            return Outcome.LABELLED
        if self.is_fraud is not before:
            return Outcome.CORRECTED
        return Outcome.CONFIRMED if label.is_fraud is before else Outcome.SUPERSEDED


def _saying(label: Told) -> tuple[bool, datetime, str | None]:
    return label.is_fraud, label.labeled_at, label.source


def _event_time(label: Told) -> datetime:
    return label.labeled_at


@dataclass(frozen=True, slots=True)
class Entry:
    """A label to be recorded; ``previous`` is what was known before it."""

    prediction_id: UUID
    label: Told
    previous: bool | None


@dataclass(frozen=True, slots=True)
class Settled:
    """What labels have come to.

    :ivar outcomes: one a label: the outcome, and of how many predictions; none of no prediction is ``None``.
    :ivar entries: what is to be recorded, in order.
    :ivar changed: what is known now of each prediction of which that, or since when, has changed.
    """

    outcomes: list[tuple[Outcome, int] | None] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    changed: dict[UUID, Known] = field(default_factory=dict)


_FIRST = {outcome: place for place, outcome in enumerate(Outcome)}


def settle(ledgers: Mapping[UUID, Ledger], labels: Sequence[tuple[Told, Sequence[UUID]]]) -> Settled:
    """Take labels, each for some predictions, one after the other into the ledgers.

    Predictions that have no ledger are passed over.
    """
    settled = Settled()
    before = {prediction: ledger.known for prediction, ledger in ledgers.items()}
    for label, predictions in labels:
        outcomes = []
        for prediction in predictions:
            if (ledger := ledgers.get(prediction)) is None:
                continue
            previous = ledger.is_fraud
            outcome = ledger.take(label)
            outcomes.append(outcome)
            if outcome is not Outcome.UNCHANGED:
                settled.entries.append(Entry(prediction, label, previous))
        settled.outcomes.append((min(outcomes, key=_FIRST.__getitem__), len(outcomes)) if outcomes else None)
    for prediction, ledger in ledgers.items():
        if (known := ledger.known) != before[prediction]:
            settled.changed[prediction] = known
    return settled
