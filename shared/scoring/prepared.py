"""Transactions on their way through a batch: as they wait, as rows ready to score, as answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from shared.features.history.events import Entity, Event, hash_text
from shared.features.history.window import EntityHistory
from shared.platform.errors import FieldError, InvalidContent
from shared.scoring.batching import Pending
from shared.scoring.model import Explanation, Reason, transaction_id
from shared.scoring.repository import NewPrediction
from shared.scoring.served import ServedModel
from shared.scoring.submissions import Repeated, Submission, payload


@dataclass(frozen=True, slots=True)
class Request:
    """A transaction that waits. ``model`` None means the one in production.

    ``scope``: within which a transaction that is sent again is not scored again; None to score it in any case.
    """

    transaction: dict[str, Any]
    model: ServedModel | None
    explain: bool
    arrived: float
    scope: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A stored prediction and what explains it; ``found`` is None for what was neither flagged nor asked about."""

    prediction: NewPrediction
    model: ServedModel
    found: Explanation | None
    reasons: list[Reason]


Waiting: TypeAlias = Pending[Request, Answer | Repeated]


@dataclass(frozen=True, slots=True)
class Row:
    """A transaction that fits the model. ``event`` is None where the model does not look at the past."""

    pending: Waiting
    transaction_id: str | None
    vector: NDArray[np.float32]
    event: Event | None
    submission: Submission | None


def prepare(
    pending: Waiting,
    model: ServedModel,
    event: Event | None = None,
    past: Mapping[Entity, EntityHistory] | None = None,
) -> Row | InvalidContent:
    """The row's id and vector, or why this transaction does not fit; its neighbours go on."""
    transaction, scope = pending.item.transaction, pending.item.scope
    try:
        vector = model.online.vector(transaction, past)
        identifier = transaction_id(transaction, model.id_column)
    except InvalidContent as error:
        return _refusal(error)
    submission = None if scope is None or identifier is None else Submission(scope, payload(transaction))
    return Row(pending, identifier, vector, event, submission)


def event_of(pending: Waiting, model: ServedModel) -> Event | InvalidContent:
    """What history keeps of the transaction, or why it does not fit."""
    try:
        return model.online.event(pending.item.transaction)
    except InvalidContent as error:
        return _refusal(error)


def identified(event: Event, prediction: UUID) -> Event:
    """An event without an id is known by its prediction's."""
    return event if event.id_hash is not None else event._replace(id_hash=hash_text(str(prediction)))


def _refusal(error: InvalidContent) -> InvalidContent:
    details = [FieldError(f"transaction.{detail.field}", detail.message) for detail in error.details]
    target = details[0].field if details else "transaction"
    return InvalidContent(error.message, target=target, details=details)
