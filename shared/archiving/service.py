"""Months past their retention leave the database: exported, read back, detached, dropped, in steps that are repeatable.

Each step is done for good before the next begins, and what was done is read from the database: work that was killed
anywhere goes on where it stood. A month that has changed since its export began (a late row, a label) is exported anew.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import date
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from shared.alerts.model import Severity, Signal, Source
from shared.alerts.service import AlertService
from shared.archiving import files, repository
from shared.archiving.files import Kind
from shared.archiving.model import (
    Archive,
    ArchiveDamaged,
    ArchiveState,
    MonthState,
    Part,
    Step,
    first_kept,
)
from shared.audit import service as audit
from shared.audit.model import Origin
from shared.platform.blobs import BlobMissing, BlobStore
from shared.platform.clock import Clock
from shared.platform.database import Database, Row
from shared.platform.errors import Conflict, DomainError
from shared.platform.patience import answering_within
from shared.platform.scratch import scratch_folder
from shared.platform.telemetry import get_logger

if TYPE_CHECKING:
    import polars as pl

MONTH_ARCHIVING: Final = "month_archiving"
MONTH_NOT_ARCHIVED: Final = "month_not_archived"

_SLICE: Final = 1_000  # rows; a few milliseconds of the event loop that scoring shares
_PART_ROWS: Final = 50_000
_PART_BYTES: Final = 64 * 1024 * 1024
_PATIENCE_SECONDS: Final = 1_200.0  # for reading a whole month, and for waiting until nobody looks at it
_ATTEMPTS: Final = 3
_log = get_logger("archiving")


class ArchiveService:
    """Archives months.

    :param retention_months: how long predictions stay in the database.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        alerts: AlertService,
        clock: Clock,
        *,
        retention_months: int,
        part_rows: int = _PART_ROWS,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._alerts = alerts
        self._clock = clock
        self._retention_months = retention_months
        self._part_rows = part_rows

    def first_kept(self) -> date:
        """The oldest month that stays in the database now."""
        return first_kept(self._clock(), self._retention_months)

    async def archive_due(self) -> list[date]:
        """Archive every month that is due, oldest first; returns those that were.

        A month that cannot be archived stays, raises an alert and does not hold up the others.
        """
        async with self._database.connection() as conn:
            due = await repository.list_due(conn, first_kept=self.first_kept(), now=self._clock())
        archived = []
        for month in due:
            try:
                async for step in self.archive(month):
                    _log.info(MONTH_ARCHIVING, month=f"{month:%Y-%m}", step=step.done, detail=step.detail)
            except Exception as error:  # noqa: BLE001  # whatever is wrong with this month, the others go on
                if not await self._is_archived(month):  # by somebody else, meanwhile
                    reason = error.message if isinstance(error, DomainError) else type(error).__name__
                    _log.exception(MONTH_NOT_ARCHIVED, month=f"{month:%Y-%m}", reason=reason)
                    await self._alerts.report(_signal(month, reason))
                    continue
            await self._alerts.clear(_cause(month))
            archived.append(month)
        return archived

    async def archive(self, month: date) -> AsyncIterator[Step]:
        """Archive one month, whatever has been done of that already; tells each step once it is done.

        :raises Conflict: the month is archived or on its way back, somebody else is archiving it, or it has changed
            again and again.
        :raises Unavailable: the database or Blob is away, or the table is busy.
        """
        for _ in range(_ATTEMPTS):
            archive = await self._begun(month)
            yield Step(month, "begun", f"{archive.predictions} predictions, {archive.labels} labels")
            if archive.state is ArchiveState.EXPORTING:
                async for further in self._exported(archive):
                    archive = further
                    yield Step(month, "exported", archive.parts[-1].path)
                if not archive.is_whole() or await self._verified(archive) is None:
                    await self._begin(month)
                    continue
                yield Step(month, "verified")
            await self._detach(month)
            yield Step(month, "detached")
            if await self._dropped(archive.month):
                yield Step(month, "archived")
                return
            await self._begin(month)
        raise Conflict("the month has changed whenever it was exported", target=f"{month:%Y-%m}")

    async def _is_archived(self, month: date) -> bool:
        async with self._database.connection() as conn:
            archive = await repository.get(conn, month)
        return archive is not None and archive.state is ArchiveState.ARCHIVED

    async def _begun(self, month: date) -> Archive:
        async with self._database.connection() as conn:
            archive = await repository.get(conn, month)
        if archive is not None and archive.state in (ArchiveState.EXPORTING, ArchiveState.VERIFIED):
            return archive
        return await self._begin(month)

    async def _begin(self, month: date) -> Archive:
        with answering_within(_PATIENCE_SECONDS):
            async with self._database.connection() as conn:
                archive = await repository.begin(conn, month)
        if archive is None:
            raise Conflict("the month is archived already, or on its way back", target=f"{month:%Y-%m}")
        return archive

    async def _exported(self, archive: Archive) -> AsyncIterator[Archive]:
        """Write what is missing, part by part, predictions first."""
        kinds: tuple[Kind, ...] = ("predictions", "labels")
        for kind in kinds:
            while True:
                written = [part for part in archive.parts if part.kind == kind]
                frames = await self._read(archive, kind, written[-1].last if written else None)
                if not frames:
                    break
                part = await self._write(kind, frames, archive.prefix, len(written) + 1)
                async with self._database.connection() as conn:
                    more = await repository.add_part(conn, archive, part)
                if more is None:
                    raise Conflict("somebody else is archiving this month", target=f"{archive.month:%Y-%m}")
                archive = more
                yield archive

    async def _read(self, archive: Archive, kind: Kind, after: str | None) -> "list[pl.DataFrame]":
        """The rows of one part, as frames of a slice each."""
        frames: list[pl.DataFrame] = []
        rows, size = 0, 0.0
        while rows < self._part_rows and size < _PART_BYTES:
            read = await self._slice(archive.month, kind, after, min(_SLICE, self._part_rows - rows))
            if not read:
                break
            frames.append(frame := await asyncio.to_thread(files.frame, kind, read))
            after = files.position(kind, read[-1])
            rows += len(read)
            size += frame.estimated_size()
        return frames

    async def _slice(self, month: date, kind: Kind, after: str | None, limit: int) -> list[Row]:
        async with self._database.connection() as conn:
            if kind == "predictions":
                return await repository.read_predictions(conn, month, after, limit)
            return await repository.read_labels(conn, month, after, limit)

    async def _write(self, kind: Kind, frames: "list[pl.DataFrame]", prefix: str, number: int) -> Part:
        with scratch_folder("archive") as folder:
            local = folder / "part.parquet"
            part = await asyncio.to_thread(files.write, kind, frames, prefix, number, local)
            await self._blobs.upload_file(part.path, local)
        return part

    async def _verified(self, archive: Archive) -> Archive | None:
        """Write the manifest and read everything back; None when that is not what was written, or no longer asked."""
        manifest = archive.manifest()
        await self._blobs.upload_bytes(archive.manifest_path, manifest)
        try:
            if await self._blobs.read_bytes(archive.manifest_path) != manifest:
                raise ArchiveDamaged("the manifest is not what was written", target=archive.manifest_path)
            for part in archive.parts:
                await check_part(self._blobs, part)
        except (ArchiveDamaged, BlobMissing) as error:
            _log.warning(MONTH_NOT_ARCHIVED, month=f"{archive.month:%Y-%m}", reason=error.message, path=error.target)
            return None
        async with self._database.connection() as conn:
            return await repository.set_verified(conn, archive, hashlib.sha256(manifest).hexdigest())

    async def _detach(self, month: date) -> None:
        """Detach the month, concurrently where this role owns the table; otherwise in a moment when nobody uses it."""
        with answering_within(_PATIENCE_SECONDS):
            async with self._database.connection() as conn:
                state, is_owner = await repository.month_state(conn, month)
                if state is MonthState.ATTACHED and is_owner:
                    await repository.detach_concurrently(conn, month)
                elif state is not MonthState.DETACHED:
                    await repository.detach(conn, month)

    async def _dropped(self, month: date) -> bool:
        with answering_within(_PATIENCE_SECONDS):
            async with self._database.transaction() as conn:
                if not await repository.drop(conn, month):
                    return False
                archive = await repository.get(conn, month)
                assert archive is not None
                await audit.record(
                    conn, Origin(str(uuid4())), None, action="ARCHIVE", resource_type="predictions_month",
                    resource_id=None, new=summary(archive),
                )  # fmt: skip
        return True


async def check_part(blobs: BlobStore, part: Part) -> None:
    """Read a part back.

    :raises ArchiveDamaged: it is not what was written.
    :raises BlobMissing: it is not there.
    """
    with scratch_folder("archive") as folder:
        local = folder / "part.parquet"
        await blobs.download_file(part.path, local)
        await asyncio.to_thread(files.check, part, local)


def summary(archive: Archive) -> dict[str, object]:
    """What the audit log says of an archive."""
    return {
        "month": f"{archive.month:%Y-%m}",
        "predictions": archive.predictions,
        "labels": archive.labels,
        "manifest": archive.manifest_path,
        "manifest_sha256": archive.manifest_sha256,
    }


def _cause(month: date) -> str:
    return f"predictions_archive:{month:%Y-%m}"


def _signal(month: date, reason: str) -> Signal:
    return Signal(
        cause=_cause(month),
        source=Source.SYSTEM,
        alert_type="PREDICTIONS_ARCHIVE",
        severity=Severity.WARNING,
        title=f"The predictions of {month:%Y-%m} cannot be archived",
        description=f"{reason}. They stay in the database; the next night tries again.",
        details={"month": f"{month:%Y-%m}"},
        model_id=None,
    )
