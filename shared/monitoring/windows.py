"""Windows: the sum of the hours between two moments, whatever their number."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import numpy as np

from shared.monitoring import repository
from shared.monitoring.reference import Reference
from shared.monitoring.rollup import UNKNOWN_LATENCY, Cube, Ints, sum_packed, unpack
from shared.platform.database import Database, Row

Span = tuple[datetime, datetime]
HOUR = timedelta(hours=1)
WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class WindowCounts:
    """Rows by cell of every monitored column, as :class:`shared.monitoring.rollup.RollupLayout` lays them out."""

    rows: int
    counts: Ints


@dataclass(frozen=True, slots=True)
class WindowCube:
    """What performance, latency and fairness are computed from.

    ``cube``: rows by (groups…, score cell); ``labels``: labelled rows by (groups…, score cell, label 0 or 1), as
    labels are known now. ``score_sums`` by score cell, in units of ``SCORE_UNIT``; ``latencies`` by cell.
    """

    start: datetime
    rows: int
    cube: Cube
    labels: Cube
    score_sums: Ints
    latencies: Ints


class Windows:
    """Reads rollups."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def folded_until(self, model_id: UUID) -> datetime | None:
        """Predictions made before this are counted; None where nothing is."""
        async with self._database.connection() as conn:
            cursor = await repository.get_cursor(conn, model_id)
        return None if cursor is None else cursor.predictions_until

    async def counts(self, reference: Reference, spans: Sequence[Span]) -> WindowCounts:
        """All predictions of some spans that do not overlap; bounds are full hours."""
        async with self._database.connection() as conn:
            found = await repository.read_counts(conn, reference.model_id, spans)
        length = reference.layout.length
        counts = await asyncio.to_thread(sum_packed, [packed for _, _, packed in found], length)
        return WindowCounts(sum(rows for _, rows, _ in found), counts)

    async def cube(self, reference: Reference, span: Span) -> WindowCube:
        """All predictions of one span as a cube; bounds are full hours."""
        hours = await self.cubes(reference, span)
        return await asyncio.to_thread(_summed, reference, span[0], hours)

    async def cubes(self, reference: Reference, span: Span) -> list[WindowCube]:
        """Hour by hour, for whoever sums differently, such as by day; hours without predictions are left out."""
        async with self._database.connection() as conn:
            rows = await repository.read_cubes(conn, reference.model_id, *span)
        return await asyncio.to_thread(lambda: [_cube(row) for row in rows])


def same_hours_of_the_week(span: Span, weeks: int) -> list[Span]:
    """The span one, two … ``weeks`` weeks earlier; for a span longer than a week the weeks before it, none twice."""
    start, end = span
    length = end - start
    if length <= WEEK:
        return [(start - n * WEEK, end - n * WEEK) for n in range(1, weeks + 1)]
    return [(start - weeks * WEEK, start)]


def _cube(row: Row) -> WindowCube:
    labels = Cube() if row["labels"] is None else Cube.unpack(row["labels"])
    sums, latencies = unpack(row["score_sums"]), unpack(row["latencies"])
    return WindowCube(row["hour"], row["rows"], Cube.unpack(row["cube"]), labels, sums, latencies)


def _summed(reference: Reference, start: datetime, hours: Sequence[WindowCube]) -> WindowCube:
    sums = np.zeros(reference.layout.score_cells, np.int64)
    latencies = np.zeros(UNKNOWN_LATENCY + 1, np.int64)
    for each in hours:
        sums += each.score_sums
        latencies += each.latencies
    return WindowCube(
        start,
        sum(each.rows for each in hours),
        Cube.sum(each.cube for each in hours),
        Cube.sum(each.labels for each in hours),
        sums,
        latencies,
    )
