"""Prediction ids that carry their time: UUID version 7 (RFC 9562, section 5.7).

``predictions`` is partitioned by ``created_at``. An id that tells its time lets a look-up by id go to one partition.
"""

import hashlib
import os
from datetime import UTC, datetime, timedelta
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def prediction_id(at: datetime) -> UUID:
    """A new id for a prediction made at ``at``; 48 bits of milliseconds, then 74 random bits."""
    return _identifier(at, os.urandom(10))


def derived_id(at: datetime, source: bytes) -> UUID:
    """The id for a prediction made at ``at`` of what ``source`` names: the same for the same two, however often."""
    return _identifier(at, hashlib.blake2b(source, digest_size=10).digest())


def _identifier(at: datetime, entropy: bytes) -> UUID:
    milliseconds = (at - _EPOCH) // _MILLISECOND
    random = int.from_bytes(entropy, "big")
    high, low = random >> 68, random & ((1 << 62) - 1)
    return UUID(int=(milliseconds << 80) | (0x7 << 76) | (high << 64) | (0b10 << 62) | low)


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
    return _EPOCH + (at - _EPOCH) // _MILLISECOND * _MILLISECOND
