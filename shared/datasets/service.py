"""Registering datasets: the file streams to local disk and to Blob, is profiled, and becomes one row."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
import psycopg

from shared.audit import service as audit
from shared.audit.model import Origin
from shared.datasets import ingest, repository
from shared.datasets.model import (
    Dataset,
    DatasetFilter,
    DatasetLimits,
    DatasetStatus,
    DatasetSummary,
    FileOptions,
    NewDataset,
    NewVersion,
    Profile,
    UploadedDataset,
    UploadedVersion,
    data_path,
    folder,
    preview_path,
    source_path,
    upload_path,
)
from shared.datasets.preview import first_rows_of
from shared.datasets.versions import FIRST_VERSION, SchemaChanges, Version, next_version, schema_changes
from shared.platform.blobs import BlobMissing, BlobStore
from shared.platform.clock import Clock
from shared.platform.database import Connection, Database
from shared.platform.errors import Conflict, InvalidContent, NotFound, TooLarge, Unavailable, invalid_field
from shared.platform.listing import Page
from shared.platform.scratch import scratch_folder
from shared.platform.telemetry import get_logger
from shared.users.model import Caller

UPLOAD_LEFT_BEHIND = "upload_left_behind"

_UPLOAD_LIFETIME = timedelta(hours=2)
_log = get_logger("datasets")


class DatasetService:
    """Use cases of datasets."""

    def __init__(self, database: Database, blobs: BlobStore, clock: Clock, limits: DatasetLimits) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock
        self.limits = limits

    async def create(self, new: NewDataset, chunks: AsyncIterator[bytes], *, caller: Caller, origin: Origin) -> Dataset:
        """Register the file that ``chunks`` yields, CSV or Parquet, as version 1.0 of a new dataset.

        :raises TooLarge: more bytes, rows or columns, or longer cells than the limits allow.
        :raises Malformed: the file cannot be read.
        :raises UnsupportedMedia: it is neither CSV nor Parquet, plain or in gzip or zip.
        :raises InvalidContent: it is empty, or has columns that cannot be used.
        """
        async with self._received(chunks) as local:
            return await self._register(new, local, None, caller=caller, origin=origin)

    async def add_version(
        self, dataset_id: UUID, new: NewVersion, chunks: AsyncIterator[bytes], *, caller: Caller, origin: Origin
    ) -> Dataset:
        """Register the file that ``chunks`` yields as the next version of the line that a dataset belongs to.

        Raises as :meth:`create` does, and

        :raises NotFound: there is no such dataset.
        :raises Conflict: it is archived.
        """
        known = await self._extensible(dataset_id)
        async with self._received(chunks) as local:
            return await self._register(_named(new, known), local, dataset_id, caller=caller, origin=origin)

    async def open_upload(self) -> tuple[UUID, str, timedelta]:
        """A place in Blob for a file too large for a request body: its id, a URL that may write it, the URL's life."""
        upload_id = uuid4()
        url = await self._blobs.upload_url(upload_path(upload_id), lifetime=_UPLOAD_LIFETIME)
        return upload_id, url, _UPLOAD_LIFETIME

    async def create_from_upload(self, new: UploadedDataset, *, caller: Caller, origin: Origin) -> Dataset:
        """Register a file that was uploaded straight to Blob; raises as :meth:`create` does."""
        async with self._fetched(new.upload_id) as local:
            return await self._register(new, local, None, caller=caller, origin=origin)

    async def add_version_from_upload(
        self, dataset_id: UUID, new: UploadedVersion, *, caller: Caller, origin: Origin
    ) -> Dataset:
        """As :meth:`add_version`, of a file that was uploaded straight to Blob."""
        known = await self._extensible(dataset_id)
        async with self._fetched(new.upload_id) as local:
            return await self._register(_named(new, known), local, dataset_id, caller=caller, origin=origin)

    async def add_version_from_file(
        self, dataset_id: UUID, new: NewVersion, local: Path, *, as_id: UUID, caller: Caller, origin: Origin
    ) -> Dataset:
        """As :meth:`add_version`, of a file that this process has written.

        :param as_id: the id of the new version. Where it exists it is given back, so that work which is repeated makes
            one version.
        """
        known = await self._extensible(dataset_id)
        try:
            return await self._register(
                _named(new, known), local, dataset_id, as_id=as_id, caller=caller, origin=origin
            )
        except psycopg.errors.UniqueViolation:
            return await self.get(as_id)

    @asynccontextmanager
    async def _received(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[Path]:
        with scratch_folder("dataset") as scratch:
            local = scratch / "source"
            await _write(local, chunks, self.limits.body_bytes)
            yield local

    @asynccontextmanager
    async def _fetched(self, upload_id: UUID) -> AsyncIterator[Path]:
        """The uploaded file; its blob is deleted when the block has ended well."""
        path = upload_path(upload_id)
        try:
            size = await self._blobs.size(path)
        except BlobMissing as error:
            raise invalid_field("upload_id", "nothing was uploaded under this id") from error
        if size > self.limits.direct_bytes:
            raise TooLarge(f"the file has {size} bytes; at most {self.limits.direct_bytes} are accepted", target="file")
        with scratch_folder("dataset") as scratch:
            local = scratch / "source"
            await self._blobs.download_file(path, local)
            yield local
        try:
            await self._blobs.delete_prefix(path)
        except Exception:  # noqa: BLE001  # the dataset exists; a blob left behind is no reason to say otherwise
            _log.exception(UPLOAD_LEFT_BEHIND, upload_id=str(upload_id))

    async def _extensible(self, dataset_id: UUID) -> Dataset:
        """A dataset that a version may follow; asked before the file is read, and again when it is registered."""
        known = await self.get(dataset_id)
        _require_active(known)
        return known

    async def _register(
        self,
        new: NewDataset,
        local: Path,
        following: UUID | None,
        *,
        as_id: UUID | None = None,
        caller: Caller,
        origin: Origin,
    ) -> Dataset:
        dataset_id = as_id or uuid4()
        canonical = local.with_name("data.parquet")
        options = FileOptions(encoding=new.encoding, delimiter=new.delimiter)
        profile = await asyncio.to_thread(ingest.read_dataset, local, canonical, self.limits, self._clock(), options)
        committing = False
        try:
            await self._blobs.upload_file(source_path(dataset_id, profile.source_suffix), local)
            await self._blobs.upload_file(data_path(dataset_id), canonical)
            await self._blobs.upload_bytes(preview_path(dataset_id), orjson.dumps(profile.first_rows))
            async with self._database.transaction() as conn:
                parent_id, version = await _place(conn, following, profile)
                dataset = await repository.insert(
                    conn,
                    dataset_id,
                    new,
                    profile,
                    version=version,
                    parent_id=parent_id,
                    file_size_bytes=canonical.stat().st_size,
                    created_by=caller.user_id,
                )
                await audit.record(
                    conn,
                    origin,
                    caller,
                    action="CREATE",
                    resource_type="dataset",
                    resource_id=dataset_id,
                    new={
                        "name": new.name,
                        "version": dataset.version,
                        "row_count": dataset.row_count,
                        "parent_id": None if parent_id is None else str(parent_id),
                    },
                )
                committing = True
        except BaseException:
            # A commit that was cut off may have happened; blobs without a row are better than a row without blobs.
            # Those of a chosen id may be another worker's, who does the same work.
            if not committing and as_id is None:
                with suppress(Unavailable):
                    await self._blobs.delete_prefix(folder(dataset_id))
            raise
        return dataset

    async def get(self, dataset_id: UUID) -> Dataset:
        """One dataset.

        :raises NotFound: there is none with this id.
        """
        async with self._database.connection() as conn:
            dataset = await repository.get(conn, dataset_id)
        if dataset is None:
            raise NotFound("no dataset has this id", target="dataset_id")
        return dataset

    async def list_page(self, which: DatasetFilter, page: Page) -> tuple[list[DatasetSummary], int]:
        """One page of the catalogue, and how many datasets the filters leave."""
        async with self._database.connection() as conn:
            return await repository.list_page(conn, which, page)

    async def versions(self, dataset_id: UUID, *, limit: int, offset: int) -> tuple[list[Version], int]:
        """One page of the line that a dataset belongs to, last version first, and how many versions it has.

        :raises NotFound: there is no such dataset.
        """
        async with self._database.connection() as conn:
            found, total = await repository.list_versions(conn, dataset_id, limit=limit, offset=offset)
            if total is None:  # no such dataset, or a page behind the last
                _, total = await repository.list_versions(conn, dataset_id, limit=1, offset=0)
        if total is None:
            raise NotFound("no dataset has this id", target="dataset_id")
        return found, total

    async def changes(self, dataset: Dataset) -> SchemaChanges | None:
        """How a dataset's columns differ from those of the version before; None for the first one."""
        if dataset.parent_id is None:
            return None
        return schema_changes((await self.get(dataset.parent_id)).schema_, dataset.schema_)

    async def preview(self, dataset_id: UUID, rows: int) -> tuple[Dataset, list[dict[str, Any]]]:
        """A dataset and its first rows, as :func:`shared.datasets.preview.first_rows` shows them.

        :raises NotFound: there is no such dataset.
        """
        dataset = await self.get(dataset_id)
        try:
            first: list[dict[str, Any]] = orjson.loads(await self._blobs.read_bytes(preview_path(dataset_id)))
        except BlobMissing:  # registered before previews were kept
            with scratch_folder("dataset") as scratch:
                local = scratch / "data.parquet"
                await self._blobs.download_file(dataset.storage_path, local)
                first = await asyncio.to_thread(first_rows_of, local)
        return dataset, first[:rows]


def _named(new: NewVersion, known: Dataset) -> NewDataset:
    """A version has the name of its line, and its description unless it has one of its own."""
    given = new.model_dump(include=set(NewVersion.model_fields), exclude_none=True)
    return NewDataset.model_validate({"description": known.description, **given, "name": known.name})


def _require_active(dataset: Dataset) -> None:
    if dataset.status is not DatasetStatus.ACTIVE:
        raise Conflict(f"the dataset is {dataset.status}; restore it first", target="dataset_id")


async def _place(conn: Connection, following: UUID | None, profile: Profile) -> tuple[UUID | None, str]:
    """The version before the one to be registered, and its number. Whoever adds to a line waits for its turn here."""
    if following is None:
        return None, FIRST_VERSION
    root_id = await repository.lock_line(conn, following)
    named = await repository.get(conn, following)
    if root_id is None or named is None:
        raise NotFound("no dataset has this id", target="dataset_id")
    _require_active(named)
    line = await repository.list_line(conn, root_id)
    last = await repository.get(conn, line[0][0])
    assert last is not None  # the line is held
    changes = schema_changes(last.schema_, profile.schema)
    return last.id, next_version([version for _, version in line], changes)


async def _write(local: Path, chunks: AsyncIterator[bytes], limit: int) -> None:
    written = 0
    with local.open("wb") as target:
        async for chunk in chunks:
            written += len(chunk)
            if written > limit:
                raise TooLarge(f"the file has more than {limit} bytes; upload it by way of datasets/uploads")
            await asyncio.to_thread(target.write, chunk)
    if written == 0:
        raise InvalidContent("the file is empty", target="file")
