"""Rows of a slice: vectors, scores, and what of them is stored and told."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import numpy as np
import orjson
from numpy.typing import NDArray

from shared.features.batch import transform
from shared.features.history.window import EntityHistory
from shared.platform.errors import FieldError, InvalidContent
from shared.scoring.identifiers import derived_id
from shared.scoring.jobs.copy_rows import copy_records
from shared.scoring.jobs.reading import ROW, FileRows
from shared.scoring.model import refusal, transaction_id
from shared.scoring.served import ServedModel

if TYPE_CHECKING:
    import polars as pl

    from shared.features.history.events import Event

_DIGITS: Final = 6  # of confidence, as for single transactions
_MAX_ERROR: Final = 1_000


@dataclass(frozen=True, slots=True)
class Row:
    """A transaction of the file that fits the model; ``position`` is its place in the slice."""

    position: int
    id: UUID
    transaction_id: str | None
    transaction: dict[str, Any]


@dataclass(slots=True)
class SliceRows:
    """A slice made ready: rows that fit, and for the others why not, by position."""

    numbers: list[int]
    rows: list[Row] = field(default_factory=list)
    refusals: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScoredSlice:
    """What a slice leaves: ``records`` for COPY, ``part`` of the result, and counts."""

    records: bytes
    part: "pl.DataFrame"
    scored: int
    flagged: int
    refused: int


class SliceScorer:
    """Scores one slice with one model; CPU work only, to be called in a thread.

    :param made_at: when the slice's predictions are made; cut to milliseconds, which their ids carry.
    """

    def __init__(self, model: ServedModel, job_id: UUID, made_at: datetime) -> None:
        self._model = model
        self._job = job_id.bytes
        self._made_at = made_at

    def read(self, frame: "pl.DataFrame") -> tuple[SliceRows, NDArray[np.float32] | None]:
        """Rows that fit, and their vectors, shape ``(rows, features)``; no vectors where the model needs their past."""
        read = FileRows(self._model.plan, frame)
        found = SliceRows(frame[ROW].to_list())
        transactions = read.transactions()
        looks_back = self._model.online.layout is not None
        matrix = None if looks_back else transform(self._model.plan, read.typed.lazy()).collect().to_numpy().copy()
        doubtful = set(read.doubtful.arg_true())
        for position, transaction in enumerate(transactions):
            try:
                if position in doubtful:
                    vector = self._vector(transaction)
                    if matrix is not None:
                        matrix[position] = vector
                identifier = transaction_id(transaction, self._model.id_column)
            except InvalidContent as error:
                found.refusals[position] = _told(error)
                continue
            source = self._job + found.numbers[position].to_bytes(8, "big")
            found.rows.append(Row(position, derived_id(self._made_at, source), identifier, transaction))
        return found, None if matrix is None else matrix[[row.position for row in found.rows]]

    def events(self, rows: Sequence[Row]) -> "list[Event]":
        """What history keeps of each row; the model must look at the past."""
        return [self._model.online.event(row.transaction, str(row.id)) for row in rows]

    def vectors(self, rows: Sequence[Row], pasts: Sequence[Any]) -> NDArray[np.float32]:
        """Vectors of rows whose past has been read, shape ``(rows, features)``."""
        found = np.empty((len(rows), len(self._model.online.feature_names)), np.float32)
        for position, (row, past) in enumerate(zip(rows, pasts, strict=True)):
            found[position] = self._model.online.vector(row.transaction, past)
        return found

    def score(self, found: SliceRows, matrix: NDArray[np.float32]) -> ScoredSlice:
        """Score the rows that fit; reasons are left to be computed when somebody reads them."""
        model, rows = self._model, found.rows
        scores = model.fitted.predict(matrix).astype(np.float64) if rows else np.empty(0)
        flagged = scores >= model.threshold
        confidences = confidences_of(scores, model.threshold)
        names = model.online.feature_names
        inputs = [  # NaN becomes null
            orjson.dumps({"transaction": row.transaction, "features": dict(zip(names, values, strict=True))})
            for row, values in zip(rows, matrix.tolist(), strict=True)
        ]
        records = copy_records(
            model_id=model.id,
            ids=[row.id for row in rows],
            transaction_ids=[row.transaction_id for row in rows],
            inputs=inputs,
            scores=scores.tolist(),
            flagged=flagged.tolist(),
            confidences=confidences.tolist(),
            cells=self._cells(rows, matrix, scores),
            made_at=self._made_at,
        )
        part = _part(found, scores, flagged, confidences)
        return ScoredSlice(records, part, len(rows), int(flagged.sum()), len(found.refusals))

    def _cells(
        self, rows: Sequence[Row], matrix: NDArray[np.float32], scores: NDArray[np.float64]
    ) -> Sequence[bytes | None]:
        encoder = self._model.cells
        if encoder is None or not rows:
            return [None] * len(rows)
        found: list[bytes] = encoder.encode([row.transaction for row in rows], matrix, scores)
        return found

    def _vector(self, transaction: dict[str, Any]) -> NDArray[np.float32]:
        """As for a single transaction; before there is a past, to learn whether it fits."""
        _require_sendable(transaction)
        online = self._model.online
        if online.layout is None:
            return online.vector(transaction)
        online.event(transaction)
        nothing = EntityHistory.empty(len(online.layout.numbers), len(online.layout.codes))
        return online.vector(transaction, dict.fromkeys(online.layout.entities, nothing))


def confidences_of(scores: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    """``scoring.model.confidence`` of many scores, rounded as it is stored."""
    above = np.ones_like(scores) if threshold >= 1 else (scores - threshold) / (1 - threshold)
    below = (threshold - scores) / threshold if threshold else np.zeros_like(scores)
    return np.where(scores >= threshold, above, below).astype(np.float64).round(_DIGITS)


def _require_sendable(transaction: dict[str, Any]) -> None:
    """What a transaction may not hold at all.

    :raises InvalidContent: a text that is too long, or has NUL in it.
    """
    errors = [FieldError(name, reason) for name, value in transaction.items() if (reason := _unsendable(value))]
    if errors:
        raise InvalidContent("the transaction cannot be read", details=errors)


def _unsendable(value: object) -> str | None:
    if isinstance(value, str) and "\x00" in value:
        return "contains the character NUL, which cannot be stored"
    return refusal(value)


def _told(error: InvalidContent) -> str:
    details = "; ".join(f"{detail.field}: {detail.message}" for detail in error.details)
    return (details or error.message)[:_MAX_ERROR]


def _part(
    found: SliceRows, scores: NDArray[np.float64], flagged: NDArray[np.bool_], confidences: NDArray[np.float64]
) -> "pl.DataFrame":
    import polars as pl

    places = np.array([row.position for row in found.rows], dtype=np.int64)
    count = len(found.numbers)
    identifiers: list[str | None] = [None] * count
    predictions: list[str | None] = [None] * count
    for row in found.rows:
        identifiers[row.position] = row.transaction_id
        predictions[row.position] = str(row.id)
    score, confidence = np.full(count, np.nan), np.full(count, np.nan)
    score[places], confidence[places] = scores, confidences
    decision = np.zeros(count, bool)
    decision[places] = flagged
    errors = pl.Series("error", [found.refusals.get(position) for position in range(count)], dtype=pl.String)
    return pl.DataFrame(
        {
            "row": pl.Series(found.numbers, dtype=pl.Int64),
            "transaction_id": pl.Series(identifiers, dtype=pl.String),
            "prediction_id": pl.Series(predictions, dtype=pl.String),
            "fraud_score": pl.Series(score).fill_nan(None),
            "is_fraud": pl.Series(decision),
            "confidence": pl.Series(confidence).fill_nan(None),
            "error": errors,
        }
    ).with_columns(pl.when(pl.col("error").is_null()).then(pl.col("is_fraud")).alias("is_fraud"))
