"""Rows that performance writes and reads."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from shared.monitoring.windows import Span
from shared.platform.database import Connection
from shared.platform.queries import queries

_SQL = queries("performance")


async def label_delays(conn: Connection, model_id: UUID, since: datetime, until: datetime) -> list[tuple[int, int]]:
    """Of predictions of a span: how many first labels came so many whole days after the prediction, rising."""
    parameters = {"model_id": model_id, "since": since, "until": until}
    rows = await (await conn.execute(_SQL["label_delays"], parameters)).fetchall()
    return [(row["days"], row["labels"]) for row in rows]


async def store_window(
    conn: Connection, model_id: UUID, span: Span, rows: Sequence[Mapping[str, Any]], labelled: int, now: datetime
) -> None:
    """The figures of a window, in place of what was said of it before."""
    window = {"model_id": model_id, "window_start": span[0], "window_end": span[1]}
    await conn.execute(_SQL["forget_performance_of_window"], window)
    parameters = {**window, "rows": orjson.dumps(list(rows)).decode(), "labelled": labelled, "now": now}
    await conn.execute(_SQL["insert_performance"], parameters)


async def outcomes(conn: Connection, since: datetime, until: datetime) -> tuple[int, int]:
    """Requests to score in a span of hours, and how many of them failed for a reason of ours."""
    row = await (await conn.execute(_SQL["outcomes"], {"since": since, "until": until})).fetchone()
    assert row is not None
    return row["requests"], row["failed"]
