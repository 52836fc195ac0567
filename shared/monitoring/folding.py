"""Folding: each prediction, and each change of a label, is added to the counts of its hour once.

A span of predictions is read and counted outside any transaction; then one transaction adds the counts and moves the
cursor, if the cursor still stands where the span began. So work that was killed, or done by two workers at once, counts
nothing twice. The cursor stays behind everything that is still being written; rows that were committed later still are
found by recounting the last hours (:meth:`FoldService.verify`), which are then counted anew.

Labels are told in the order of their ids. Of each prediction whose label changed, the state before leaves the cube of
its hour and the state after enters it: what is in the cube is what is known, however often and late it was corrected.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import numpy as np

from shared.alerts.service import AlertService
from shared.monitoring import repository
from shared.monitoring.reference import Reference, References
from shared.monitoring.repository import Cells
from shared.monitoring.rollup import FRAUD, GENUINE, Cube, Rollup
from shared.monitoring.unwatched import unwatched
from shared.platform.clock import Clock
from shared.platform.database import Database, Row
from shared.platform.errors import DomainError, NotFound
from shared.platform.telemetry import get_logger

PREDICTIONS_FOLDED: Final = "predictions_folded"
HOURS_RECOUNTED: Final = "hours_recounted"

_CONSEQUENCE: Final = "Drift, performance and fairness of this model stand still until it is mended."
SETTLE: Final = timedelta(minutes=1)  # clocks of instances differ, and a row is dated before it is written
_ROWS_AT_ONCE: Final = 500_000
_LABELS_AT_ONCE: Final = 50_000
_HOUR: Final = timedelta(hours=1)
_LATELY: Final = timedelta(days=3)
_log = get_logger("monitoring")


class FoldService:
    """Keeps the rollups of every model up to date.

    :param settle: how long after its time a prediction may be committed and yet be counted at the first go.
    """

    def __init__(
        self,
        database: Database,
        references: References,
        alerts: AlertService,
        clock: Clock,
        *,
        settle: timedelta = SETTLE,
        rows_at_once: int = _ROWS_AT_ONCE,
    ) -> None:
        self._database = database
        self._references = references
        self._alerts = alerts
        self._clock = clock
        self._settle = settle
        self._rows_at_once = rows_at_once

    async def fold_all(self) -> int:
        """Fold every model with something new; returns the predictions that were added. A model that cannot be folded
        is an alert and keeps nobody else waiting."""
        async with self._database.connection() as conn:
            models = await repository.list_to_fold(conn)
        added = 0
        for model_id in models:
            cause = f"rollups:{model_id}"
            try:
                added += await self.fold(model_id)
            except NotFound:
                continue  # no profile: nothing to count by
            except DomainError as error:
                await self._alerts.report(
                    unwatched(model_id, cause, "Predictions of a model are not counted", error, _CONSEQUENCE)
                )
            else:
                await self._alerts.clear(cause)
        return added

    async def fold(self, model_id: UUID) -> int:
        """Add what is new of one model; returns how many predictions that was.

        :raises NotFound: there is no such model, or it has no profile.
        :raises ArtifactError: its files are missing or altered.
        """
        async with self._database.connection() as conn:
            if await repository.get_cursor(conn, model_id) is None:
                await repository.start_cursor(conn, model_id)
                if await repository.get_cursor(conn, model_id) is None:
                    return 0
        reference = await self._references.get(model_id)
        added, last = 0, False
        while not last:
            rows, last = await self._fold_predictions(reference)
            added += rows
        while await self._fold_labels(reference):
            pass
        if added:
            _log.info(PREDICTIONS_FOLDED, model_id=str(model_id), rows=added)
        return added

    async def verify(self, model_id: UUID, *, hours: int = 48) -> int:
        """Count anew those of the last ``hours`` complete hours that have more or fewer predictions than were counted;
        returns how many that were."""
        async with self._database.connection() as conn:
            cursor = await repository.get_cursor(conn, model_id)
            if cursor is None:
                return 0
            until = _hour(cursor.predictions_until)  # hours that are over: folding does not touch them any more
            wrong = await repository.list_miscounted(conn, model_id, until - hours * _HOUR, until)
        if not wrong:
            return 0
        reference = await self._references.get(model_id)
        for hour in wrong:
            found = await self._counted(reference, hour, hour + _HOUR)
            async with self._database.transaction() as conn:
                await repository.get_cursor(conn, model_id, lock=True)
                rollup = found.get(hour, Rollup.empty(reference.layout))
                await repository.add_rollups(conn, model_id, {hour: rollup}, in_place=True)
        _log.warning(HOURS_RECOUNTED, model_id=str(model_id), hours=len(wrong))
        return len(wrong)

    async def verify_all(self, *, hours: int = 48) -> int:
        """:meth:`verify` for every model that was folded lately; the predictions of others may be archived by now."""
        async with self._database.connection() as conn:
            models = await repository.list_folded(conn, since=self._clock() - _LATELY)
        recounted = 0
        for model_id in models:
            try:
                recounted += await self.verify(model_id, hours=hours)
            except DomainError:  # folding reports it
                continue
        return recounted

    async def _fold_predictions(self, reference: Reference) -> tuple[int, bool]:
        """One span; the rows that were added, and whether it was the last."""
        model_id = reference.model_id
        async with self._database.connection() as conn:
            cursor = await repository.get_cursor(conn, model_id)
            assert cursor is not None
            since = cursor.predictions_until
            until, last = await repository.next_bound(
                conn, model_id, since, now=self._clock(), settle=self._settle, rows=self._rows_at_once
            )
        if until <= since:
            return 0, True
        found = await self._counted(reference, since, until)
        async with self._database.transaction() as conn:
            cursor = await repository.get_cursor(conn, model_id, lock=True)
            if cursor is None or cursor.predictions_until != since:
                return 0, True  # another worker has counted it meanwhile
            await repository.add_rollups(conn, model_id, found)
            await repository.move_cursor(conn, model_id, predictions=until)
        return sum(each.rows for each in found.values()), last

    async def _counted(self, reference: Reference, since: datetime, until: datetime) -> dict[datetime, Rollup]:
        """The predictions of a span, counted by hour."""
        width = reference.layout.cells.width
        async with self._database.connection() as conn:
            cells, without = await repository.read_cells(conn, reference.model_id, since, until, width)
        found = await asyncio.to_thread(_by_hour, reference, cells)
        after = since, UUID(int=0)
        while without > 0:  # stored without cells: by those that their inputs have
            async with self._database.connection() as conn:
                rows = await repository.read_inputs(conn, reference.model_id, after[0], until, width, after[1])
            if not rows:
                break
            for hour, rollup in (await asyncio.to_thread(_by_hour_of_inputs, reference, rows)).items():
                known = [found[hour]] if hour in found else []
                found[hour] = Rollup.sum(reference.layout, [*known, rollup])
            after, without = (rows[-1]["created_at"], rows[-1]["id"]), without - len(rows)
        return found

    async def _fold_labels(self, reference: Reference) -> bool:
        """Some labels; whether there may be more."""
        model_id, width = reference.model_id, reference.layout.cells.width
        async with self._database.connection() as conn:
            cursor = await repository.get_cursor(conn, model_id)
            assert cursor is not None
            rows = await repository.read_label_changes(conn, model_id, cursor.labels_until, width, _LABELS_AT_ONCE)
        if not rows:
            return False
        found = await asyncio.to_thread(_label_changes, reference, [row for row in rows if row["id"] is not None])
        async with self._database.transaction() as conn:
            now = await repository.get_cursor(conn, model_id, lock=True)
            if now is None or now.labels_until != cursor.labels_until:
                return False
            await repository.add_labels(conn, model_id, found)
            await repository.move_cursor(conn, model_id, labels=rows[0]["last_id"])
        return True


def _by_hour(reference: Reference, cells: Cells) -> dict[datetime, Rollup]:
    if not len(cells.hours):
        return {}
    order = np.argsort(cells.hours, kind="stable")
    hours, starts = np.unique(cells.hours[order], return_index=True)
    return {
        datetime.fromtimestamp(hour * 3600, UTC): Rollup.of(
            reference.layout, cells.codes[chosen], cells.scores[chosen], cells.latencies[chosen]
        )
        for hour, chosen in zip(hours.tolist(), np.split(order, starts[1:]), strict=True)
    }


def _by_hour_of_inputs(reference: Reference, rows: list[Row]) -> dict[datetime, Rollup]:
    scores = [row["fraud_score"] for row in rows]
    cells = Cells(
        np.array([int(row["created_at"].timestamp()) // 3600 for row in rows]),
        _codes(reference, [row["input_features"] for row in rows], scores),
        np.array(scores),
        np.array([-1 if row["latency_ms"] is None else row["latency_ms"] for row in rows], np.int32),
    )
    return _by_hour(reference, cells)


def _codes(reference: Reference, inputs: list[dict[str, Any]], scores: list[float]) -> "np.typing.NDArray[np.uint8]":
    cells = reference.cells(inputs, np.array(scores))
    return np.frombuffer(b"".join(cells), np.uint8).reshape(len(cells), reference.layout.cells.width)


def _label_changes(reference: Reference, rows: list[Row]) -> dict[datetime, Cube]:
    """By hour, what enters and leaves the cube of labels."""
    layout = reference.layout.cells
    told = [row for row in rows if row["before"] is not row["after"]]
    without = [row for row in told if row["input_features"] is not None]
    made = reference.cells([row["input_features"] for row in without], np.array([r["fraud_score"] for r in without]))
    cells = {row["id"]: encoded for row, encoded in zip(without, made, strict=True)}
    entries: dict[datetime, list[tuple[bytes, int]]] = {}
    for row in told:
        tail = (cells.get(row["id"]) or row["cells"])[layout.tail :]
        for label, weight in ((row["before"], -1), (row["after"], 1)):
            if label is not None:
                key = tail + bytes([FRAUD if label else GENUINE])
                entries.setdefault(_hour(row["created_at"]), []).append((key, weight))
    width = layout.groups + 2
    return {
        hour: Cube.of(
            np.frombuffer(b"".join(key for key, _ in found), np.uint8).reshape(-1, width),
            np.array([weight for _, weight in found], np.int64),
        )
        for hour, found in entries.items()
    }


def _hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
