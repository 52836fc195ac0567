"""Prediction ids that carry their time: UUID version 7 (RFC 9562, section 5.7).

``predictions`` is partitioned by ``created_at``. An id that tells its time lets a look-up by id go to one partition.
"""

import hashlib
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LOW = (1 << 62) - 1


def prediction_id(at: datetime) -> UUID:
    """A new id for a prediction made at ``at``; 48 bits of milliseconds, then 74 random bits."""
    return _identifier(at, int.from_bytes(os.urandom(10), "big"))


def derived_ids(milliseconds: "NDArray[np.int64]", source: bytes, numbers: "NDArray[np.int64]") -> "NDArray[np.uint8]":
    """The ids for predictions of the numbered rows of what ``source`` names, each made at its moment: the same for the
    same three, however often; as bytes, shape ``(n, 16)``. Rows that follow each other have ids that do, which indexes
    like.

    :param milliseconds: since 1970, shape ``(n,)``.
    :param numbers: shape ``(n,)``, not negative.
    """
    import numpy as np

    drawn = int.from_bytes(hashlib.blake2b(source, digest_size=16).digest(), "big")
    words = np.empty((len(numbers), 2), dtype=">u8")
    words[:, 0] = milliseconds.astype(np.uint64) << np.uint64(16) | np.uint64(0x7 << 12 | drawn >> 116)
    words[:, 1] = (np.uint64(drawn & _LOW) + numbers.astype(np.uint64)) & np.uint64(_LOW) | np.uint64(0b10 << 62)
    return words.view(np.uint8)


def milliseconds_of(at: datetime) -> int:
    """Whole milliseconds since 1970."""
    return (at - _EPOCH) // _MILLISECOND


def _identifier(at: datetime, random: int) -> UUID:
    high, low = (random >> 62) & 0xFFF, random & _LOW
    return UUID(int=(milliseconds_of(at) << 80) | (0x7 << 76) | (high << 64) | (0b10 << 62) | low)


def created_at(identifier: UUID) -> datetime | None:
    """The millisecond that a prediction's id carries; None for ids of another kind, or of a year beyond 9999."""
    if identifier.version != 7:
        return None
    try:
        return _EPOCH + (identifier.int >> 80) * _MILLISECOND
    except OverflowError:
        return None


def to_milliseconds(at: datetime) -> datetime:
    """``at`` cut to what an id can carry."""
    return _EPOCH + milliseconds_of(at) * _MILLISECOND
