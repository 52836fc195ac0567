"""Rows of ``prediction_rollups``, ``label_rollups`` and ``rollup_cursors``, and what they are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from shared.monitoring.rollup import Cube, Rollup, pack, unpack
from shared.platform.database import Connection, Row
from shared.platform.queries import queries

_SQL = queries("monitoring")
_FIRST: Final = UUID(int=0)
_INPUTS_AT_ONCE: Final = 5_000
_HOUR_US: Final = 3_600_000_000
_HOURS_TO_2000: Final = 262_968  # from 1970


@dataclass(frozen=True, slots=True)
class RollupCursor:
    """Predictions made before ``predictions_until``, and labels with ids up to ``labels_until``, are counted."""

    predictions_until: datetime
    labels_until: int


@dataclass(frozen=True, slots=True)
class Cells:
    """Some predictions: ``hours`` since 1970 UTC, ``codes``, ``scores`` and ``latencies`` of shapes (n,), (n, width),
    (n,), (n,)."""

    hours: NDArray[np.int64]
    codes: NDArray[np.uint8]
    scores: NDArray[np.float64]
    latencies: NDArray[np.int32]


async def _all(conn: Connection, statement: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
    return await (await conn.execute(_SQL[statement], parameters, binary=True)).fetchall()


async def list_to_fold(conn: Connection) -> list[UUID]:
    """Models that may have something to be counted, oldest first."""
    return [row["id"] for row in await _all(conn, "list_models_to_fold")]


async def list_folded(conn: Connection, since: datetime) -> list[UUID]:
    """Models whose rollups go beyond a moment."""
    return [row["model_id"] for row in await _all(conn, "list_models_folded", {"since": since})]


async def get_cursor(conn: Connection, model_id: UUID, *, lock: bool = False) -> RollupCursor | None:
    """How far the rollups of a model go; with ``lock`` nobody moves it until the transaction ends."""
    rows = await _all(conn, "lock_rollup_cursor" if lock else "get_rollup_cursor", {"model_id": model_id})
    return RollupCursor(**rows[0]) if rows else None


async def start_cursor(conn: Connection, model_id: UUID) -> None:
    """Make the cursor of a model that has predictions and none yet."""
    await conn.execute(_SQL["start_rollup_cursor"], {"model_id": model_id})


async def move_cursor(
    conn: Connection, model_id: UUID, *, predictions: datetime | None = None, labels: int | None = None
) -> None:
    """More is counted."""
    if predictions is not None:
        await conn.execute(_SQL["move_predictions_cursor"], {"model_id": model_id, "until": predictions})
    if labels is not None:
        await conn.execute(_SQL["move_labels_cursor"], {"model_id": model_id, "until": labels})


async def next_bound(
    conn: Connection, model_id: UUID, since: datetime, *, now: datetime, settle: timedelta, rows: int
) -> tuple[datetime, bool]:
    """Up to where to count next, and whether that is all there is now."""
    parameters = {"model_id": model_id, "since": since, "now": now, "settle": settle, "rows": rows}
    row = (await _all(conn, "next_rollup_bound", parameters))[0]
    if row["full_at"] is None:
        return row["until"], True
    # So many rows of one instant are taken together: an instant is never divided.
    return max(row["full_at"], since + timedelta(microseconds=1)), False


async def read_cells(
    conn: Connection, model_id: UUID, since: datetime, until: datetime, width: int
) -> tuple[Cells, int]:
    """The predictions of a span that carry cells of this width, and how many do not."""
    parameters = {"model_id": model_id, "since": since, "until": until, "width": width}
    row = (await _all(conn, "read_cells", parameters))[0]
    cells = Cells(
        np.frombuffer(row["times"] or b"", ">i8") // _HOUR_US + _HOURS_TO_2000,
        np.frombuffer(row["cells"] or b"", np.uint8).reshape(-1, width),
        np.frombuffer(row["scores"] or b"", ">f8").astype(np.float64),
        np.frombuffer(row["latencies"] or b"", ">i4").astype(np.int32),
    )
    return cells, row["without"]


async def read_inputs(
    conn: Connection, model_id: UUID, since: datetime, until: datetime, width: int, after_id: UUID = _FIRST
) -> list[Row]:
    """Some predictions of a span that carry no cells, from a position on."""
    parameters = {
        "model_id": model_id, "since": since, "until": until, "width": width, "after_id": after_id,
        "limit": _INPUTS_AT_ONCE,
    }  # fmt: skip
    return await _all(conn, "read_inputs_without_cells", parameters)


async def read_label_changes(conn: Connection, model_id: UUID, after: int, width: int, limit: int) -> list[Row]:
    """Predictions whose label changed with the next labels told, see the statement."""
    parameters = {"model_id": model_id, "after": after, "width": width, "limit": limit}
    return await _all(conn, "read_label_changes", parameters)


async def add_rollups(
    conn: Connection, model_id: UUID, found: Mapping[datetime, Rollup], *, in_place: bool = False
) -> None:
    """Add to the hours of a model, or with ``in_place`` replace what was counted of them."""
    hours = sorted(found)
    known: dict[datetime, Rollup] = {}
    if not in_place:
        rows = await _all(conn, "lock_prediction_rollups", {"model_id": model_id, "hours": hours})
        known = {row["hour"]: _rollup(row) for row in rows}
    merged = [_added(found[hour], known.get(hour)) for hour in hours]
    await conn.execute(
        _SQL["store_prediction_rollups"],
        {
            "model_id": model_id,
            "hours": hours,
            "rows": [each.rows for each in merged],
            "counts": [pack(each.counts) for each in merged],
            "cubes": [each.cube.pack() for each in merged],
            "score_sums": [pack(each.score_sums) for each in merged],
            "latencies": [pack(each.latencies) for each in merged],
        },
    )


async def add_labels(conn: Connection, model_id: UUID, found: Mapping[datetime, Cube]) -> None:
    """Add changes of labels to the hours of a model's predictions."""
    hours = sorted(found)
    rows = await _all(conn, "lock_label_rollups", {"model_id": model_id, "hours": hours})
    known = {row["hour"]: Cube.unpack(row["cube"]) for row in rows}
    cubes = [Cube.sum([known.get(hour, Cube()), found[hour]]).pack() for hour in hours]
    await conn.execute(_SQL["store_label_rollups"], {"model_id": model_id, "hours": hours, "cubes": cubes})


async def list_miscounted(conn: Connection, model_id: UUID, since: datetime, until: datetime) -> list[datetime]:
    """Hours whose predictions are more or fewer than were counted."""
    parameters = {"model_id": model_id, "since": since, "until": until}
    return [row["hour"] for row in await _all(conn, "list_miscounted_hours", parameters)]


async def read_counts(
    conn: Connection, model_id: UUID, spans: Sequence[tuple[datetime, datetime]]
) -> list[tuple[datetime, int, bytes]]:
    """Hour, rows and packed counts of every hour in some spans, in no order."""
    parameters = {"model_id": model_id, "starts": [s for s, _ in spans], "ends": [e for _, e in spans]}
    return [(row["hour"], row["rows"], row["counts"]) for row in await _all(conn, "read_rollup_counts", parameters)]


async def read_cubes(conn: Connection, model_id: UUID, since: datetime, until: datetime) -> list[Row]:
    """Packed cubes, sums, latencies and labels of each hour of a window, by time."""
    return await _all(conn, "read_rollup_cubes", {"model_id": model_id, "since": since, "until": until})


def _rollup(row: Row) -> Rollup:
    return Rollup(
        row["rows"],
        unpack(row["counts"]),
        Cube.unpack(row["cube"]),
        unpack(row["score_sums"]),
        unpack(row["latencies"]),
    )


def _added(found: Rollup, known: Rollup | None) -> Rollup:
    if known is None or len(known.counts) != len(found.counts):
        return found
    return Rollup(
        known.rows + found.rows,
        known.counts + found.counts,
        Cube.sum([known.cube, found.cube]),
        known.score_sums + found.score_sums,
        known.latencies + found.latencies,
    )
