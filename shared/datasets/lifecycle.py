"""The end of a dataset: removed where nothing was made from it, archived where something was, and brought back."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from shared.audit import service as audit
from shared.audit.model import Origin
from shared.datasets import repository
from shared.datasets.model import FOLDERS, Dataset, DatasetStatus, Dependent, folder
from shared.platform.blobs import BlobStore
from shared.platform.clock import Clock
from shared.platform.database import Connection, Database
from shared.platform.errors import Conflict, NotFound
from shared.platform.telemetry import get_logger
from shared.users.model import Caller

BLOBS_LEFT_BEHIND: Final = "dataset_blobs_left_behind"
LEFTOVERS_SWEPT: Final = "dataset_leftovers_swept"

_SHOWN_DEPENDENTS: Final = 20
#: A folder without a row may belong to a dataset that is being registered.
_LEFTOVER_AFTER: Final = timedelta(days=1)
_ASKED_AT_ONCE: Final = 1000
_log = get_logger("datasets")


@dataclass(frozen=True, slots=True)
class Removal:
    """What became of a dataset: ``ARCHIVED`` because of what was made from it, some of it named; None: gone."""

    dataset: Dataset
    status: DatasetStatus | None
    dependents: list[Dependent]
    dependent_count: int


class DatasetLifecycle:
    """Removing, restoring, and sweeping what removals left behind."""

    def __init__(self, database: Database, blobs: BlobStore, clock: Clock) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock

    async def remove(self, dataset_id: UUID, *, caller: Caller, origin: Origin) -> Removal:
        """Delete a dataset and its blobs; archive it instead where feature sets or later versions were made from it.

        Doing so again to an archived dataset changes nothing while something depends on it.

        :raises NotFound: there is no such dataset.
        """
        async with self._database.transaction() as conn:
            dataset = await _held(conn, dataset_id)
            dependents, count = await repository.list_dependents(conn, dataset_id, _SHOWN_DEPENDENTS)
            old = _audited(dataset)
            if not dependents:
                await repository.delete(conn, dataset_id)
                await _record(conn, origin, caller, "DELETE", dataset_id, old, None)
            elif dataset.status is not DatasetStatus.ARCHIVED:
                dataset = await repository.set_status(conn, dataset_id, DatasetStatus.ARCHIVED, self._clock())
                await _record(conn, origin, caller, "ARCHIVE", dataset_id, old, _audited(dataset))
        if not dependents:
            await self._remove_blobs(dataset_id)
        return Removal(dataset, dataset.status if dependents else None, dependents, count)

    async def restore(self, dataset_id: UUID, *, caller: Caller, origin: Origin) -> Dataset:
        """Make an archived dataset active again.

        :raises NotFound: there is no such dataset.
        :raises Conflict: it is not archived.
        """
        async with self._database.transaction() as conn:
            dataset = await _held(conn, dataset_id)
            if dataset.status is not DatasetStatus.ARCHIVED:
                raise Conflict(f"the dataset is {dataset.status}, not archived", target="dataset_id")
            restored = await repository.set_status(conn, dataset_id, DatasetStatus.ACTIVE, self._clock())
            await _record(conn, origin, caller, "RESTORE", dataset_id, _audited(dataset), _audited(restored))
        return restored

    async def sweep(self) -> int:
        """Delete the blobs of datasets that have no row, a day after the last was written; how many folders."""
        swept = 0
        waiting: list[UUID] = []
        async for path in self._blobs.folders(FOLDERS):
            if (dataset_id := _id_of(path)) is not None:
                waiting.append(dataset_id)
            if len(waiting) == _ASKED_AT_ONCE:
                swept += await self._sweep(waiting)
                waiting = []
        swept += await self._sweep(waiting)
        if swept:
            _log.info(LEFTOVERS_SWEPT, count=swept)
        return swept

    async def _sweep(self, ids: list[UUID]) -> int:
        async with self._database.connection() as conn:
            kept = await repository.existing(conn, ids)
        swept = 0
        for dataset_id in ids:
            if dataset_id in kept:
                continue
            written = await self._blobs.last_written(folder(dataset_id))
            if written is not None and written < self._clock() - _LEFTOVER_AFTER:
                await self._blobs.delete_prefix(folder(dataset_id))
                swept += 1
        return swept

    async def _remove_blobs(self, dataset_id: UUID) -> None:
        try:
            await self._blobs.delete_prefix(folder(dataset_id))
        except Exception:  # noqa: BLE001  # the dataset is gone; its blobs are swept at night
            _log.exception(BLOBS_LEFT_BEHIND, dataset_id=str(dataset_id))


async def _held(conn: Connection, dataset_id: UUID) -> Dataset:
    """The dataset, and its line: until the transaction ends nothing is made from it and no version is added."""
    if await repository.lock_line(conn, dataset_id) is None:
        raise NotFound("no dataset has this id", target="dataset_id")
    dataset = await repository.get(conn, dataset_id, lock=True)
    if dataset is None:  # removed while waiting for the line
        raise NotFound("no dataset has this id", target="dataset_id")
    return dataset


def _audited(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "version": dataset.version,
        "row_count": dataset.row_count,
        "status": dataset.status.value,
    }


async def _record(
    conn: Connection,
    origin: Origin,
    caller: Caller,
    action: str,
    dataset_id: UUID,
    old: dict[str, Any],
    new: dict[str, Any] | None,
) -> None:
    await audit.record(
        conn, origin, caller, action=action, resource_type="dataset", resource_id=dataset_id, old=old, new=new
    )


def _id_of(path: str) -> UUID | None:
    try:
        return UUID(path.removeprefix(FOLDERS).strip("/"))
    except ValueError:
        return None
