"""Requests that carry a key, who may act on one, and what was answered.

Life of a key::

    (none) ──claim──> claimed ──settle──> settled ──keep──> answered ──24 h──> (none)
       ^                 │  └───────────keep (nothing changed)───^
       └─────release─────┘
"""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from shared.platform.errors import Conflict


class KeyReused(Conflict):
    """The key came with another request before."""

    code = "idempotency_key_reused"


class InProgress(Conflict):
    """A request with this key is at work."""

    code = "request_in_progress"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message, target="Idempotency-Key")
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """Equal ``caller``, ``function`` and ``key`` name one row; equal ``fingerprint`` (SHA-256) is the same request."""

    caller: str
    function: str
    key: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to act on a request. When ``settled``, an earlier run has done the work on ``resource_id`` and only
    the answer is missing.
    """

    id: UUID
    settled: bool
    resource_id: UUID | None


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What was answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes
