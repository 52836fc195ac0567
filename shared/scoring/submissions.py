"""Transactions that are sent again: what makes two submissions the same, and what becomes of the second.

A checkout that got no answer in time sends its transaction once more. Within the window (``DUPLICATE_WINDOW_HOURS``)
the same transaction of the same sender to the same model has one prediction, however often it comes.
"""

from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any
from uuid import UUID

import orjson

_DIGEST_BYTES = 16  # as long as a uuid, which is what the columns are


@dataclass(frozen=True, slots=True)
class Submission:
    """What tells submissions of one transaction id apart; both are 128-bit hashes in hexadecimal."""

    scope: str
    payload: str


@dataclass(frozen=True, slots=True)
class Repeated:
    """The transaction has been answered before, by this prediction."""

    prediction_id: UUID


@lru_cache(maxsize=1024)
def scope(sender: UUID | None, model_id: UUID | None) -> str:
    """Who sends, and to which model.

    :param sender: the user; None for the machines, which are one sender.
    :param model_id: the model that was named; None for the one in production, whichever that is at the time.
    """
    return _digest(f"{sender} {model_id}".encode())


def payload(transaction: dict[str, Any]) -> str:
    """The transaction whatever the order of its fields."""
    return _digest(orjson.dumps(transaction, option=orjson.OPT_SORT_KEYS))


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=_DIGEST_BYTES).hexdigest()
