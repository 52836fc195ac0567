"""Rows of ``entity_events`` on their way to the database."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class EventRows:
    """Events to store, one row an entity, column by column; all lists have one length.

    ``positions``: which of the events a row belongs to.
    """

    layout: int
    entities: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    occurred: list[datetime] = field(default_factory=list)
    id_hashes: list[int | None] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)

    def documents(self) -> list[dict[str, Any]]:
        """Row by row, by the names of their columns, as JSON takes them."""
        return [
            {
                "entity": entity,
                "key": key,
                "occurred_at": occurred,
                "id_hash": id_hash,
                "payload": f"\\x{payload.hex()}",
            }
            for entity, key, occurred, id_hash, payload in zip(
                self.entities, self.keys, self.occurred, self.id_hashes, self.payloads, strict=True
            )
        ]


@dataclass(frozen=True, slots=True)
class Labels:
    """What became known, for rows given by their full key; all lists have one length."""

    layout: int
    entities: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    occurred: list[datetime] = field(default_factory=list)
    id_hashes: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    known: list[datetime] = field(default_factory=list)
