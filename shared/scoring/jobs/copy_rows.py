"""Predictions in PostgreSQL's binary COPY format (its documentation, "Binary Format"), whole columns at a time."""

from collections.abc import Sequence
from itertools import chain, repeat
from typing import Any, Final
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER: Final = b"\xff\xff"
_NULL: Final = -1
_JSONB_VERSION: Final = 1
_EPOCH_MS: Final = 946_684_800_000  # PostgreSQL counts from the year 2000

# Nine columns, in the order of the statement ``copy_predictions``. Each is its length and its bytes; what stands
# between two columns of varying length is one record of numpy.
_UNTIL_TRANSACTION_ID: Final = np.dtype(
    [("columns", ">i2"), ("id_length", ">i4"), ("id", "V16"), ("model_length", ">i4"), ("model", "V16"),
     ("text_length", ">i4")]
)  # fmt: skip
_UNTIL_INPUT: Final = np.dtype([("length", ">i4"), ("version", "u1")])
_UNTIL_CELLS: Final = np.dtype(
    [("score_length", ">i4"), ("score", ">f8"), ("flag_length", ">i4"), ("flag", "?"), ("confidence_length", ">i4"),
     ("confidence", ">f8"), ("cells_length", ">i4")]
)  # fmt: skip
_TIME: Final = np.dtype([("length", ">i4"), ("time", ">i8")])


def copy_records(
    *,
    model_id: UUID,
    ids: NDArray[np.uint8],
    transaction_ids: Sequence[str | None],
    inputs: Sequence[bytes],
    scores: NDArray[np.float64],
    flagged: NDArray[np.bool_],
    confidences: NDArray[np.float64],
    cells: Sequence[bytes] | None,
    milliseconds: NDArray[np.int64],
) -> bytes:
    """Rows of ``predictions``.

    :param milliseconds: when each was made, since 1970.
    :param ids: shape ``(n, 16)``; all other columns have n values.
    :param inputs: JSON texts in UTF-8.
    :param cells: None where the model has none.
    """
    count = len(inputs)
    texts = [b"" if text is None else text.encode() for text in transaction_ids]
    first = np.empty(count, _UNTIL_TRANSACTION_ID)
    first["columns"] = 9
    first["id_length"] = first["model_length"] = 16
    first["id"] = np.ascontiguousarray(ids).view("V16")[:, 0]
    first["model"] = np.void(model_id.bytes)
    first["text_length"] = [
        _NULL if text is None else len(encoded) for text, encoded in zip(transaction_ids, texts, strict=True)
    ]
    second = np.empty(count, _UNTIL_INPUT)
    second["length"] = [len(text) + 1 for text in inputs]
    second["version"] = _JSONB_VERSION
    third = np.empty(count, _UNTIL_CELLS)
    third["score_length"] = third["confidence_length"] = 8
    third["flag_length"] = 1
    third["score"], third["flag"], third["confidence"] = scores, flagged, confidences
    third["cells_length"] = _NULL if cells is None else [len(cell) for cell in cells]
    last = np.empty(count, _TIME)
    last["length"] = 8
    last["time"] = (milliseconds - _EPOCH_MS) * 1000
    pieces = zip(
        _rows(first), texts, _rows(second), inputs, _rows(third), repeat(b"", count) if cells is None else cells,
        _rows(last), strict=True,
    )  # fmt: skip
    return b"".join(chain((_HEADER,), chain.from_iterable(pieces), (_TRAILER,)))


def _rows(records: NDArray[Any]) -> list[bytes]:
    """The bytes of each record."""
    found: list[bytes] = records.view(f"V{records.itemsize}").tolist()
    return found
