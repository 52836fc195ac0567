"""Rows of ``entity_events`` and ``history_layouts``."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import psycopg
from psycopg.types.json import Jsonb

from shared.features.history.rows import EventRows, Labels
from shared.platform.database import Connection, Row, scalar
from shared.platform.queries import queries

_SQL = queries("history")


async def register_layout(conn: Connection, fingerprint: str, columns: Row) -> int:
    """The id of a layout, given one the first time."""
    parameters = {"fingerprint": fingerprint, "columns": Jsonb(columns)}
    while (row := await (await conn.execute(_SQL["register_layout"], parameters)).fetchone()) is None:
        pass
    return int(row["id"])


async def complete_until(conn: Connection, layout: int) -> datetime | None:
    """Up to when a layout holds what was scored; ``None`` where nobody knows."""
    row = await (await conn.execute(_SQL["get_complete_until"], {"layout": layout})).fetchone()
    return None if row is None else row["complete_until"]


async def advance_complete_until(conn: Connection, layout: int, until: datetime) -> None:
    """Move that moment forward, never back."""
    await conn.execute(_SQL["advance_complete_until"], {"layout": layout, "until": until})


async def begin_complete_until(conn: Connection, layout: int, until: datetime) -> None:
    """Set that moment where nobody knows it."""
    await conn.execute(_SQL["begin_complete_until"], {"layout": layout, "until": until})


async def read(
    conn: Connection,
    layout: int,
    pairs: Sequence[tuple[int, int, datetime]],
    *,
    span: timedelta,
    history_limit: int,
) -> dict[int, bytes]:
    """The newest events of each (entity, key, before): packed records by position in ``pairs``, newest first.

    Pairs without events are left out. One statement, whatever the number of pairs.
    """
    entities, keys, befores = zip(*pairs, strict=True)
    parameters = {
        "layout": layout,
        "entities": list(entities),
        "keys": list(keys),
        "befores": list(befores),
        "span": span,
        "history_limit": history_limit,
    }
    cursor = await conn.execute(_SQL["read_events"], parameters, binary=True)
    return {row["asked"] - 1: row["events"] for row in await cursor.fetchall()}


async def set_labels(conn: Connection, labels: Labels) -> int:
    """Set what became known; returns how many rows changed."""
    parameters = {
        "layout": labels.layout,
        "entities": labels.entities,
        "keys": labels.keys,
        "occurred": labels.occurred,
        "id_hashes": labels.id_hashes,
        "labels": labels.labels,
        "known": labels.known,
    }
    return (await conn.execute(_SQL["set_labels"], parameters)).rowcount


async def take_label_turn(conn: Connection) -> None:
    """Wait for the turn, and keep it until the transaction ends."""
    await conn.execute(_SQL["take_label_turn"])


async def labels_told(conn: Connection, layout: int) -> int:
    """Up to which row of ``prediction_labels`` a layout's events know them."""
    row = await (await conn.execute(_SQL["get_labels_told"], {"layout": layout})).fetchone()
    return scalar(row, "labels_told")


async def list_following(conn: Connection, layouts: Sequence[int]) -> set[int]:
    """Those of the layouts whose events know every label so far."""
    cursor = await conn.execute(_SQL["list_following"], {"layouts": list(layouts)})
    return {row["id"] for row in await cursor.fetchall()}


async def advance_labels_told(conn: Connection, layouts: Sequence[int], until: int | None) -> None:
    """Move that number forward, never back; to the newest label without ``until``."""
    await conn.execute(_SQL["advance_labels_told"], {"layouts": list(layouts), "until": until})


async def copy(conn: Connection, records: bytes) -> None:
    """Store a chunk in PostgreSQL's binary COPY format.

    :raises psycopg.errors.UniqueViolation: an event of it is there already; nothing was stored.
    :raises psycopg.errors.CheckViolation: there is no partition for an event's month.
    """
    async with conn.cursor() as cursor, cursor.copy(_SQL["copy_events"]) as stream:
        await stream.write(records)


async def merge(conn: Connection, rows: EventRows, labels: Sequence[int], known: Sequence[datetime | None]) -> int:
    """Store the rows that are not there yet, and labels that were unknown; returns how many rows changed.

    :param known: ``None`` where the label is unknown.
    :raises psycopg.errors.CheckViolation: there is no partition for an event's month.
    """
    parameters = {
        "layout": rows.layout,
        "entities": rows.entities,
        "keys": rows.keys,
        "occurred": rows.occurred,
        "id_hashes": rows.id_hashes,
        "payloads": rows.payloads,
        "labels": list(labels),
        "known": list(known),
    }
    return (await conn.execute(_SQL["merge_events"], parameters)).rowcount


async def ensure_partitions(conn: Connection, first_month: datetime, months: int) -> None:
    """Make the partitions of ``months`` months from that of ``first_month`` on, where they are missing."""
    await conn.execute(_SQL["ensure_partitions"], {"first_month": first_month, "months": months})


async def drop_partitions(conn: Connection, before: datetime) -> list[str]:
    """Drop the months that end on or before a moment; returns the partitions, none while others use the table."""
    try:
        async with conn.transaction():
            cursor = await conn.execute(_SQL["drop_partitions"], {"before": before})
    except psycopg.errors.LockNotAvailable:
        return []
    return [row["name"] for row in await cursor.fetchall()]
