"""Rows of ``entity_events`` on their way to the database."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class EventRows:
    """Events to store, one row an entity, column by column; all lists have one length."""

    layout: int
    entities: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    occurred: list[datetime] = field(default_factory=list)
    id_hashes: list[int | None] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)


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
