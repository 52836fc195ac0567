"""The hash chain over the audit log, checked without the database's own functions.

The seal of entry n is SHA-256(seal of entry n - 1 ‖ canonical form of entry n); the first follows the empty string. The
canonical form is the sequence number and every column as text, each as ``LENGTH:TEXT`` in UTF-8 bytes, NULL as ``-``.
The database makes the seals (``audit_entry_hash``); what is here is the second, independent reading of that format.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID


class Fault(StrEnum):
    """What is wrong with an entry or its seal."""

    ALTERED = "the entry or its seal is not what was sealed, or stands in another place"
    MISSING = "the entry was deleted"
    GAP = "seals before this one were deleted"
    UNSEALED = "the entry was inserted without a seal"
    CUT_OFF = "the log ends before the head that was noted"
    REWRITTEN = "the seal is not the one that was noted as head"


class Head(NamedTuple):
    """The newest seal at some time; written down outside the database it proves that nothing before it was changed."""

    sequence: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.sequence}:{self.hash.hex()}"

    @classmethod
    def parse(cls, text: str) -> "Head":
        """``SEQUENCE:HASH`` as :meth:`__str__` writes it.

        :raises ValueError: it is not.
        """
        sequence, _, digest = text.partition(":")
        head = cls(int(sequence), bytes.fromhex(digest))
        if head.sequence < 1 or len(head.hash) != hashlib.sha256().digest_size:
            raise ValueError("a head is SEQUENCE:HASH with 64 hexadecimal digits")
        return head


@dataclass(frozen=True, slots=True)
class Link:
    """A seal with the entry it belongs to; ``fields`` is None when there is no such entry."""

    sequence: int
    entry_id: UUID
    hash: bytes
    fields: Sequence[str | None] | None


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault, and where; an entry without a seal has no sequence."""

    fault: Fault
    sequence: int | None
    entry_id: UUID | None


def seal(previous: bytes, sequence: int, fields: Sequence[str | None]) -> bytes:
    """The seal of an entry, 32 bytes."""
    digest = hashlib.sha256(previous)
    for text in (str(sequence), *fields):
        if text is None:
            digest.update(b"-")
        else:
            raw = text.encode()
            digest.update(b"%d:%b" % (len(raw), raw))
    return digest.digest()


class ChainCheck:
    """Takes the links of a chain one by one, from the first, in the order of their sequence.

    Each fault is told once: a wrong seal does not condemn those that follow from it.

    :ivar head: the newest seal so far; None for an empty log.
    :ivar checked: how many links there were.
    """

    def __init__(self, noted: Head | None = None) -> None:
        self.head: Head | None = None
        self.checked = 0
        self._noted = noted

    def take(self, link: Link) -> Iterator[Finding]:
        """The faults of the next link."""
        previous = self.head or Head(0, b"")
        self.head = Head(link.sequence, link.hash)
        self.checked += 1
        for fault in self._faults(link, previous):
            yield Finding(fault, link.sequence, link.entry_id)

    def end(self) -> Iterator[Finding]:
        """The fault of a chain that ends here."""
        if self._noted is not None and (self.head is None or self.head.sequence < self._noted.sequence):
            yield Finding(Fault.CUT_OFF, self._noted.sequence, None)

    def _faults(self, link: Link, previous: Head) -> Iterator[Fault]:
        if link.sequence != previous.sequence + 1:
            yield Fault.GAP  # the seal before is gone, so this one cannot be recomputed
        elif link.fields is not None and seal(previous.hash, link.sequence, link.fields) != link.hash:
            yield Fault.ALTERED
        if link.fields is None:
            yield Fault.MISSING
        if self._noted is not None and link.sequence == self._noted.sequence and link.hash != self._noted.hash:
            yield Fault.REWRITTEN
