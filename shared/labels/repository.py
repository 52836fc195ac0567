"""Rows of ``prediction_labels`` and ``pending_labels``, and the label of ``predictions``."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.labels.ledger import Entry, Known, Ledger, Told
from shared.labels.model import RecordedLabel
from shared.platform.database import Connection, Row
from shared.platform.queries import queries

_SQL = queries("labels")

Target = str | UUID
"""What a label is about: a transaction by its id, or one prediction."""


@dataclass(frozen=True, slots=True)
class Found:
    """A prediction that a label may be about; ``transaction`` as it was scored, where it was asked for."""

    id: UUID
    created_at: datetime
    model_id: UUID
    transaction_id: str | None
    transaction: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Untold:
    """A label that history does not know of yet, and what is known of its prediction now.

    All but ``label_id`` is ``None`` where the prediction has left the database.
    """

    label_id: int
    id: UUID | None
    transaction: dict[str, Any] | None
    actual_label: bool | None
    labeled_at: datetime | None


async def find_of_transactions(
    conn: Connection, transaction_ids: Collection[str], *, limit: int, with_input: bool
) -> list[Found]:
    """The predictions of transactions, at most ``limit`` of each."""
    parameters = {"transaction_ids": list(transaction_ids), "limit": limit, "with_input": with_input}
    rows = await (await conn.execute(_SQL["find_predictions_of_transactions"], parameters)).fetchall()
    return [Found(**row) for row in rows]


async def find(conn: Connection, ids: Mapping[UUID, datetime], *, with_input: bool) -> list[Found]:
    """Predictions by id and time of creation."""
    parameters = {"ids": list(ids), "created": list(ids.values()), "with_input": with_input}
    return [Found(**row) for row in await (await conn.execute(_SQL["find_predictions"], parameters)).fetchall()]


async def ledgers(conn: Connection, predictions: Collection[Found]) -> dict[UUID, Ledger]:
    """Everything told of these predictions; those that have left the database since they were found are left out.

    A label that was set without having been recorded counts as the first.
    """
    created = {found.id: found.created_at for found in predictions}
    asked = {"ids": list(created), "created": list(created.values())}
    known = await (await conn.execute(_SQL["read_known"], asked)).fetchall()
    told: dict[UUID, list[Told]] = {row["id"]: [] for row in known}
    for row in await (await conn.execute(_SQL["read_labels"], asked)).fetchall():
        if row["prediction_id"] in told:
            told[row["prediction_id"]].append(_told(row))
    for row in known:
        if row["actual_label"] is not None and not told[row["id"]]:
            at = row["labeled_at"] or created[row["id"]]
            told[row["id"]].append(Told(row["actual_label"], at, None, at, None))
    return {prediction: Ledger(labels) for prediction, labels in told.items()}


def _by_kind(targets: Iterable[Target]) -> dict[str, list[Target]]:
    every = list(targets)
    return {
        "transaction_ids": [one for one in every if isinstance(one, str)],
        "prediction_ids": [one for one in every if isinstance(one, UUID)],
    }


def _told(row: Row) -> Told:
    return Told(row["is_fraud"], row["labeled_at"], row["source"], row["recorded_at"], row["recorded_by"])


async def record(
    conn: Connection, entries: Sequence[Entry], known: Mapping[UUID, Known], predictions: Mapping[UUID, Found]
) -> None:
    """Keep what was told, and set what is known now."""
    parameters = {
        "prediction_ids": [entry.prediction_id for entry in entries],
        "created": [predictions[entry.prediction_id].created_at for entry in entries],
        "model_ids": [predictions[entry.prediction_id].model_id for entry in entries],
        "labels": [entry.label.is_fraud for entry in entries],
        "labeled": [entry.label.labeled_at for entry in entries],
        "sources": [entry.label.source for entry in entries],
        "recorded": [entry.label.recorded_at for entry in entries],
        "recorded_by": [entry.label.recorded_by for entry in entries],
        "previous": [entry.previous for entry in entries],
        "known_ids": list(known),
        "known_created": [predictions[prediction].created_at for prediction in known],
        "known_labels": [state.is_fraud for state in known.values()],
        "known_since": [state.since for state in known.values()],
    }
    await conn.execute(_SQL["record_labels"], parameters)


async def keep_pending(conn: Connection, labels: Iterable[tuple[Target, Told]]) -> None:
    """Let labels wait; each once."""
    waiting = list(dict.fromkeys(labels))
    parameters = {
        "transaction_ids": [target if isinstance(target, str) else None for target, _ in waiting],
        "prediction_ids": [target if isinstance(target, UUID) else None for target, _ in waiting],
        "labels": [label.is_fraud for _, label in waiting],
        "labeled": [label.labeled_at for _, label in waiting],
        "sources": [label.source for _, label in waiting],
        "recorded": [label.recorded_at for _, label in waiting],
        "recorded_by": [label.recorded_by for _, label in waiting],
        "timed": [label.timed for _, label in waiting],
    }
    await conn.execute(_SQL["keep_pending"], parameters)


async def take_pending(conn: Connection, targets: Iterable[Target]) -> list[tuple[Target, Told]]:
    """Remove and return what waits for these, in the order in which it arrived."""
    parameters = _by_kind(targets)
    rows = await (await conn.execute(_SQL["take_pending"], parameters)).fetchall()
    return [(row["transaction_id"] or row["prediction_id"], _told(row)) for row in rows]


async def try_pending(conn: Connection, limit: int) -> set[Target]:
    """What labels wait for: those that were not looked at for longest."""
    rows = await (await conn.execute(_SQL["try_pending"], {"limit": limit})).fetchall()
    return {row["transaction_id"] or row["prediction_id"] for row in rows}


async def forget_pending(conn: Connection, before: datetime) -> int:
    """Remove what has waited since before a moment; returns how many labels that were."""
    return (await conn.execute(_SQL["forget_pending"], {"before": before})).rowcount


async def list_untold(conn: Connection, *, after: int, limit: int) -> list[Untold]:
    """Labels that follow a number, oldest first."""
    rows = await (await conn.execute(_SQL["list_untold"], {"after": after, "limit": limit})).fetchall()
    return [Untold(**row) for row in rows]


async def list_of_prediction(
    conn: Connection, prediction_id: UUID, created_at: datetime, *, before: int, limit: int
) -> list[RecordedLabel]:
    """What was told of one prediction, newest first."""
    parameters = {"prediction_id": prediction_id, "created_at": created_at, "before": before, "limit": limit}
    rows = await (await conn.execute(_SQL["list_labels_of_prediction"], parameters)).fetchall()
    return [RecordedLabel.model_validate(row) for row in rows]
