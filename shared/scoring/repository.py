"""Rows of ``predictions``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from shared.features.history.rows import EventRows
from shared.platform.database import Connection, Row
from shared.platform.queries import queries
from shared.scoring.model import Prediction
from shared.scoring.submissions import Submission

_SQL = queries("scoring")
_SEPARATOR = b"\x1e"  # JSON text has no control characters


@dataclass(frozen=True, slots=True)
class NewPrediction:
    """One row to store; ``inputs`` and ``explanation`` are JSON.

    ``cells``: what monitoring counts, see ``shared.monitoring.cells``. ``submission``: stored only if this transaction
    was not submitted before; None to store in any case.
    """

    id: UUID
    transaction_id: str | None
    inputs: bytes
    score: float
    is_fraud: bool
    confidence: float
    explanation: bytes | None
    latency_ms: int
    created_at: datetime
    cells: bytes | None = None
    submission: Submission | None = None

    def document(self) -> dict[str, Any]:
        """The row by the names of its columns, as JSON takes it, without those that are JSON themselves."""
        document: dict[str, Any] = {
            "id": self.id,
            "transaction_id": self.transaction_id,
            "fraud_score": self.score,
            "is_fraud": self.is_fraud,
            "confidence": self.confidence,
            "latency_ms": self.latency_ms,
            "created_at": self.created_at,
        }
        if self.cells is not None:
            document["cells"] = f"\\x{self.cells.hex()}"
        if self.submission is not None:
            document["scope"] = self.submission.scope
            document["payload"] = self.submission.payload
        return document


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a batch: the model in production, and the rows that are not stored because their transactions
    were submitted before. Where another model than expected is in production, none is stored.
    """

    production_id: UUID | None
    repeated: frozenset[UUID]


async def store(
    conn: Connection,
    model_id: UUID,
    rows: Sequence[NewPrediction],
    expected_production_id: UUID | None,
    events: EventRows | None = None,
    *,
    window_begin: datetime | None = None,
) -> Stored:
    """Store ``rows`` in one statement.

    Numbers travel as one JSON text, for a parameter a column would cost the driver more than everything else a request
    does; what is JSON itself travels beside it, cut apart by the server, which then reads it once and not twice.

    :param expected_production_id: store only while this model is in production; None stores in any case.
    :param events: what the transactions add to history, one position in ``rows`` each; stored with their rows.
    :param window_begin: submissions until then are forgotten.
    :raises psycopg.errors.CheckViolation: there is no partition for a row's month.
    """
    parameters: dict[str, Any] = {
        "model_id": model_id,
        "expected_production_id": expected_production_id,
        "window_begin": window_begin,
        "rows": orjson.dumps([row.document() for row in rows]).decode(),
        "inputs": _SEPARATOR.join([row.inputs for row in rows]).decode(),
        "explanations": _SEPARATOR.join([row.explanation or b"" for row in rows]).decode(),
    }
    statement = "store_predictions"
    if events is not None and events.keys:
        statement = "store_predictions_and_events"
        documents = [
            {"prediction_id": rows[position].id, **document}
            for position, document in zip(events.positions, events.documents(), strict=True)
        ]
        parameters |= {"layout": events.layout, "events": orjson.dumps(documents).decode()}
    found = await (await conn.execute(_SQL[statement], parameters)).fetchone()
    assert found is not None
    return Stored(found["production_id"], frozenset(found["repeated"] or ()))


async def first_submissions(
    conn: Connection, rows: Sequence[tuple[str | None, Submission]]
) -> dict[tuple[str | None, str], tuple[str, UUID]]:
    """By transaction id and scope: the payload that was submitted first, and the prediction that answered it."""
    parameters = {"transactions": [row[0] for row in rows], "scopes": [row[1].scope for row in rows]}
    found = await (await conn.execute(_SQL["list_submissions"], parameters)).fetchall()
    return {(row["transaction_id"], row["scope"].hex): (row["payload"].hex, row["prediction_id"]) for row in found}


async def forget_submissions(conn: Connection, window_begin: datetime) -> int:
    """Delete the submissions that are as old as that; returns how many."""
    return (await conn.execute(_SQL["delete_old_submissions"], {"window_begin": window_begin})).rowcount


@dataclass(frozen=True, slots=True)
class Scored:
    """A transaction as it was scored."""

    id: UUID
    created_at: datetime
    transaction: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Labelled:
    """What has become known of a prediction, and when."""

    id: UUID
    actual_label: bool
    known_at: datetime


async def list_of_others(conn: Connection, model_id: UUID, *, after: tuple[datetime, UUID], limit: int) -> list[Scored]:
    """What other models than ``model_id`` have scored, oldest first, from behind the position ``after`` on."""
    parameters = {"model_id": model_id, "after": after[0], "after_id": after[1], "limit": limit}
    rows = await (await conn.execute(_SQL["list_predictions_of_others"], parameters)).fetchall()
    return [Scored(**row) for row in rows]


async def list_known(conn: Connection, scored: Sequence[Scored]) -> list[Labelled]:
    """Those of which it is known by now whether they are fraud."""
    parameters = {"ids": [row.id for row in scored], "created": [row.created_at for row in scored]}
    rows = await (await conn.execute(_SQL["list_known_labels"], parameters)).fetchall()
    return [Labelled(**row) for row in rows]


async def ensure_partitions(conn: Connection, first_month: datetime, months: int) -> None:
    """Make the partitions of ``months`` months from that of ``first_month`` on, where they are missing."""
    await conn.execute(_SQL["ensure_partitions"], {"first_month": first_month, "months": months})


async def get(conn: Connection, prediction_id: UUID, created_at: datetime) -> Prediction | None:
    """One prediction."""
    parameters = {"prediction_id": prediction_id, "created_at": created_at}
    row = await (await conn.execute(_SQL["get_prediction"], parameters)).fetchone()
    return None if row is None else Prediction.model_validate(row)


async def list_of_transaction(
    conn: Connection, transaction_id: str, *, before: tuple[datetime, UUID], limit: int
) -> list[Prediction]:
    """Predictions of one transaction, newest first, from the position ``before`` on."""
    parameters = {"transaction_id": transaction_id, "before": before[0], "before_id": before[1], "limit": limit}
    return await _list(conn, "list_predictions_of_transaction", parameters)


async def list_of_model(
    conn: Connection, model_id: UUID, *, is_fraud: bool | None, before: tuple[datetime, UUID], limit: int
) -> list[Prediction]:
    """Predictions of one model, newest first, from the position ``before`` on."""
    parameters = {
        "model_id": model_id,
        "is_fraud": is_fraud,
        "before": before[0],
        "before_id": before[1],
        "limit": limit,
    }
    return await _list(conn, "list_predictions_of_model", parameters)


async def _list(conn: Connection, statement: str, parameters: dict[str, Any]) -> list[Prediction]:
    rows: list[Row] = await (await conn.execute(_SQL[statement], parameters)).fetchall()
    return [Prediction.model_validate(row) for row in rows]


async def add_outcomes(conn: Connection, counts: Mapping[datetime, Sequence[int]]) -> None:
    """Add requests and failed ones to the counts of their hours."""
    parameters = {
        "hours": list(counts),
        "requests": [requests for requests, _ in counts.values()],
        "failed": [failed for _, failed in counts.values()],
    }
    await conn.execute(_SQL["add_outcomes"], parameters)
