"""An archived month comes back: every file is checked before the month is attached again."""

import asyncio
import hashlib
from collections.abc import Callable
from datetime import date, timedelta
from typing import Final
from uuid import uuid4

from shared.archiving import files, repository
from shared.archiving.model import Archive, ArchiveDamaged, ArchiveState, MonthState, Part
from shared.archiving.service import summary
from shared.audit import service as audit
from shared.audit.model import Origin
from shared.platform.blobs import BlobStore
from shared.platform.clock import Clock
from shared.platform.database import Connection, Database
from shared.platform.errors import Conflict
from shared.platform.patience import answering_within
from shared.platform.scratch import scratch_folder

_AT_ONCE: Final = 5_000  # rows
_PATIENCE_SECONDS: Final = 3_600.0


class MonthRestorer:
    """Restores months, as a role that owns the tables."""

    def __init__(self, database: Database, blobs: BlobStore, clock: Clock) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock

    async def restore(self, month: date, *, keep: timedelta, report: Callable[[Part], None]) -> Archive:
        """Bring a month back for ``keep``, and ``report`` each part that was checked and loaded.

        Interrupted anywhere it begins anew: until the last transaction nothing of the month is seen.

        :raises Conflict: the month is not archived, or a table of its name is there.
        :raises ArchiveDamaged: a file is not what was verified before the month was dropped.
        :raises BlobMissing: a file is not there.
        """
        with answering_within(_PATIENCE_SECONDS):
            archive = await self._begin(month)
            for part in archive.parts:
                if part.kind == "predictions":
                    async with self._database.connection() as conn:
                        await self._load(conn, part, repository.partition_of(month))
                    report(part)
            async with self._database.transaction() as conn:
                for part in archive.parts:
                    if part.kind == "labels":
                        await self._load(conn, part, "prediction_labels")
                        report(part)
                await repository.attach(conn, month)
                if await repository.count(conn, month) != (archive.predictions, archive.labels):
                    raise ArchiveDamaged("the month holds other rows than were archived", target=archive.manifest_path)
                await repository.set_restored(conn, month, self._clock() + keep)
                await audit.record(
                    conn, Origin(str(uuid4())), None, action="RESTORE", resource_type="predictions_month",
                    resource_id=None, new={**summary(archive), "kept_days": keep.days},
                )  # fmt: skip
        return archive

    async def _begin(self, month: date) -> Archive:
        async with self._database.connection() as conn:
            archive = await repository.get(conn, month)
        if archive is None or archive.state not in (ArchiveState.ARCHIVED, ArchiveState.RESTORING):
            raise Conflict("the month is not archived", target=f"{month:%Y-%m}")
        manifest = await self._blobs.read_bytes(archive.manifest_path)
        if hashlib.sha256(manifest).hexdigest() != archive.manifest_sha256 or manifest != archive.manifest():
            raise ArchiveDamaged("the manifest is not the one that was verified", target=archive.manifest_path)
        async with self._database.transaction() as conn:
            state, _ = await repository.month_state(conn, month)
            left_over = state is MonthState.DETACHED and archive.state is ArchiveState.RESTORING
            if state is not MonthState.MISSING and not left_over:
                raise Conflict("a table of this month is there", target=repository.partition_of(month))
            if await repository.set_restoring(conn, month) is None:
                raise Conflict("the month is not archived", target=f"{month:%Y-%m}")
            await repository.make_empty(conn, month)
        return archive

    async def _load(self, conn: Connection, part: Part, table: str) -> None:
        with scratch_folder("archive") as folder:
            local = folder / "part.parquet"
            await self._blobs.download_file(part.path, local)
            await asyncio.to_thread(files.check, part, local)
            columns = await asyncio.to_thread(files.columns, part, local)
            await repository.copy_in(conn, table, columns, files.records(part, local, at_once=_AT_ONCE))
