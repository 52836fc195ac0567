"""Predictions in PostgreSQL's binary COPY format (its documentation, "Binary Format")."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import Final
from uuid import UUID

_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER: Final = b"\xff\xff"
_NULL: Final = b"\xff\xff\xff\xff"
_JSONB_VERSION: Final = b"\x01"
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

# Nine columns, in the order of the statement ``copy_predictions``.
_BEGIN: Final = Struct(">hi16si16s")  # number of columns, id, model_id
_LENGTH: Final = Struct(">i")
_DECISION: Final = Struct(">idi?id")  # fraud_score, is_fraud, confidence
_TIME: Final = Struct(">iq")


def copy_records(
    *,
    model_id: UUID,
    ids: Sequence[UUID],
    transaction_ids: Sequence[str | None],
    inputs: Sequence[bytes],
    scores: Sequence[float],
    flagged: Sequence[bool],
    confidences: Sequence[float],
    cells: Sequence[bytes | None],
    made_at: datetime,
) -> bytes:
    """Rows of ``predictions`` made at one moment; ``inputs`` are JSON texts."""
    model = model_id.bytes
    end = _TIME.pack(8, (made_at - _EPOCH) // _MICROSECOND)
    begin, length, decision = _BEGIN.pack, _LENGTH.pack, _DECISION.pack
    pieces = [_HEADER]
    add = pieces.append
    for id_, transaction_id, text, score, is_fraud, confidence, cell in zip(
        ids, transaction_ids, inputs, scores, flagged, confidences, cells, strict=True
    ):
        add(begin(9, 16, id_.bytes, 16, model))
        add(_text(transaction_id))
        add(length(len(text) + 1))
        add(_JSONB_VERSION)
        add(text)
        add(decision(8, score, 1, is_fraud, 8, confidence))
        add(_NULL if cell is None else length(len(cell)) + cell)
        add(end)
    add(_TRAILER)
    return b"".join(pieces)


def _text(value: str | None) -> bytes:
    if value is None:
        return _NULL
    encoded = value.encode()
    return _LENGTH.pack(len(encoded)) + encoded
