"""Rows of a slice: vectors, scores, and what of them is stored and told."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import numpy as np
import orjson
from numpy.typing import NDArray

from shared.features.batch import transform
from shared.features.history.window import EntityHistory
from shared.platform.errors import FieldError, InvalidContent
from shared.scoring.identifiers import derived_ids, milliseconds_of
from shared.scoring.jobs.copy_rows import copy_records
from shared.scoring.jobs.reading import ROW, FileRows
from shared.scoring.model import refusal, transaction_id
from shared.scoring.served import ServedModel

if TYPE_CHECKING:
    import polars as pl

    from shared.features.history.events import Event

_PER_MILLISECOND: Final = 100
_DIGITS: Final = 6  # of confidence, as for single transactions
_MAX_ERROR: Final = 1_000


@dataclass(slots=True)
class SliceRows:
    """A slice made ready: rows that fit, and for the others why not, by position.

    ``numbers`` are all rows' numbers in the file, int64 ``(n,)``; ``fitting`` the positions of the ``m`` rows that fit.
    Theirs are ``transactions``, ``identifiers``, ``made`` (when, in milliseconds since 1970, int64 ``(m,)``), ``ids``
    (uint8, ``(m, 16)``) and ``sent``, transactions as a table;
    those that the table does not hold as they are, by place, are ``exceptions``.
    """

    numbers: NDArray[np.int64]
    fitting: NDArray[np.int64]
    transactions: list[dict[str, Any]]
    identifiers: list[str | None]
    made: NDArray[np.int64]
    ids: NDArray[np.uint8]
    sent: "pl.DataFrame"
    exceptions: dict[int, dict[str, Any]]
    refusals: dict[int, str]

    def id_texts(self) -> list[str]:
        """The ids as they are written."""
        digits = self.ids.tobytes().hex()
        each = (digits[first : first + 32] for first in range(0, len(digits), 32))
        return ["-".join((one[:8], one[8:12], one[12:16], one[16:20], one[20:])) for one in each]


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

    :param made_at: when the last of the slice's predictions is made. The others are a little earlier: whoever follows
        predictions by their time would read all of one moment again and again.
    """

    def __init__(self, model: ServedModel, job_id: UUID, made_at: datetime) -> None:
        self._model = model
        self._job = job_id.bytes
        self._made_ms = milliseconds_of(made_at)

    def read(self, frame: "pl.DataFrame") -> tuple[SliceRows, NDArray[np.float32] | None]:
        """Rows that fit, and their vectors, shape ``(rows, features)``; no vectors where the model needs their past."""
        read = FileRows(self._model.plan, frame)
        numbers = frame[ROW].to_numpy().astype(np.int64)
        transactions, identifiers = read.transactions(), read.identifiers.to_list()
        looks_back = self._model.online.layout is not None
        matrix = None if looks_back else transform(self._model.plan, read.typed.lazy()).collect().to_numpy().copy()
        refusals: dict[int, str] = {}
        accepted: list[int] = []
        for position in read.doubtful.arg_true():
            transaction = transactions[position]
            try:
                vector = self._vector(transaction)
                identifiers[position] = transaction_id(transaction, self._model.id_column)
            except InvalidContent as error:
                refusals[position] = _told(error)
                continue
            accepted.append(position)
            if matrix is not None:
                matrix[position] = vector
        fits = np.ones(len(numbers), bool)
        fits[list(refusals)] = False
        fitting = np.flatnonzero(fits)
        made = self._made_ms - (len(numbers) - 1 - fitting) // _PER_MILLISECOND
        places = {position: place for place, position in enumerate(fitting.tolist())} if accepted else {}
        found = SliceRows(
            numbers=numbers,
            fitting=fitting,
            transactions=[transactions[position] for position in fitting.tolist()] if refusals else transactions,
            identifiers=[identifiers[position] for position in fitting.tolist()] if refusals else identifiers,
            made=made,
            ids=derived_ids(made, self._job, numbers[fitting]),
            sent=read.sent[fitting] if refusals else read.sent,
            exceptions={places[position]: transactions[position] for position in accepted},
            refusals=refusals,
        )
        return found, None if matrix is None else matrix[fitting]

    def events(self, found: SliceRows) -> "list[Event]":
        """What history keeps of each row that fits; the model must look at the past."""
        event = self._model.online.event
        return [event(each, text) for each, text in zip(found.transactions, found.id_texts(), strict=True)]

    def vectors(self, transactions: Sequence[dict[str, Any]], pasts: Sequence[Any]) -> NDArray[np.float32]:
        """Vectors of transactions whose past has been read, shape ``(rows, features)``."""
        found = np.empty((len(transactions), len(self._model.online.feature_names)), np.float32)
        for position, (transaction, past) in enumerate(zip(transactions, pasts, strict=True)):
            found[position] = self._model.online.vector(transaction, past)
        return found

    def score(self, found: SliceRows, matrix: NDArray[np.float32]) -> ScoredSlice:
        """Score the rows that fit; reasons are left to be computed when somebody reads them."""
        model, count = self._model, len(found.fitting)
        scores = model.fitted.predict(matrix).astype(np.float64) if count else np.empty(0)
        flagged = scores >= model.threshold
        confidences = confidences_of(scores, model.threshold)
        records = copy_records(
            model_id=model.id,
            ids=found.ids,
            transaction_ids=found.identifiers,
            inputs=self._inputs(found, matrix),
            scores=scores,
            flagged=flagged,
            confidences=confidences,
            cells=None if model.cells is None else model.cells.encode(found.transactions, matrix, scores),
            milliseconds=found.made,
        )
        return ScoredSlice(
            records, _part(found, scores, flagged, confidences), count, int(flagged.sum()), len(found.refusals)
        )

    def _inputs(self, found: SliceRows, matrix: NDArray[np.float32]) -> list[bytes]:
        """``predictions.input_features`` as JSON text, as scoring single transactions writes it; missing is null."""
        import polars as pl

        names = self._model.online.feature_names
        features = pl.from_numpy(matrix.astype(np.float64), schema=list(names)).fill_nan(None)
        both = pl.DataFrame({"transaction": found.sent.to_struct(), "features": features.to_struct()})
        texts: list[bytes] = both.to_struct().struct.json_encode().cast(pl.Binary).to_list()
        for place, transaction in found.exceptions.items():
            texts[place] = orjson.dumps({"transaction": transaction, "features": features.row(place, named=True)})
        return texts

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
    """The slice's rows of the result, in the order of the slice."""
    import polars as pl

    numbers = pl.DataFrame({"row": found.numbers})
    scored = pl.DataFrame(
        {
            "row": found.numbers[found.fitting],
            "transaction_id": pl.Series(found.identifiers, dtype=pl.String),
            "prediction_id": pl.Series(found.id_texts(), dtype=pl.String),
            "fraud_score": scores,
            "is_fraud": flagged,
            "confidence": confidences,
        }
    )
    places = list(found.refusals)
    refused = pl.DataFrame(
        {
            "row": found.numbers[places],
            "error": pl.Series(list(found.refusals.values()), dtype=pl.String),
        }
    )
    joined = numbers.join(scored, on="row", how="left", maintain_order="left")
    return joined.join(refused, on="row", how="left", maintain_order="left")
