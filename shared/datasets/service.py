"""Registering datasets: the file streams to local disk and to Blob, is profiled, and becomes one row."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

from shared.audit import service as audit
from shared.audit.model import Origin
from shared.datasets import ingest, repository
from shared.datasets.model import (
    Dataset,
    DatasetLimits,
    DatasetStatus,
    NewDataset,
    UploadedDataset,
    data_path,
    source_path,
    upload_path,
)
from shared.platform.blobs import BlobMissing, BlobStore
from shared.platform.clock import Clock
from shared.platform.database import Database
from shared.platform.errors import InvalidContent, NotFound, TooLarge, Unavailable, invalid_field
from shared.platform.telemetry import get_logger
from shared.users.model import Caller

UPLOAD_LEFT_BEHIND = "upload_left_behind"

_FIRST_VERSION = "1.0"
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
        """Register the CSV or Parquet file that ``chunks`` yields as version 1.0 of a new dataset.

        :raises TooLarge: more bytes, rows or columns than the limits allow.
        :raises Malformed: the file cannot be read.
        :raises UnsupportedMedia: it is neither CSV nor Parquet.
        :raises InvalidContent: it is empty, or has columns that cannot be used.
        """
        with tempfile.TemporaryDirectory(prefix="dataset-") as folder:
            local = Path(folder, "source")
            await _write(local, chunks, self.limits.body_bytes)
            return await self._register(new, local, caller=caller, origin=origin)

    async def open_upload(self) -> tuple[UUID, str, timedelta]:
        """A place in Blob for a file too large for a request body: its id, a URL that may write it, the URL's life."""
        upload_id = uuid4()
        url = await self._blobs.upload_url(upload_path(upload_id), lifetime=_UPLOAD_LIFETIME)
        return upload_id, url, _UPLOAD_LIFETIME

    async def create_from_upload(self, new: UploadedDataset, *, caller: Caller, origin: Origin) -> Dataset:
        """Register a file that was uploaded straight to Blob; raises as :meth:`create` does."""
        path = upload_path(new.upload_id)
        try:
            size = await self._blobs.size(path)
        except BlobMissing as error:
            raise invalid_field("upload_id", "nothing was uploaded under this id") from error
        if size > self.limits.direct_bytes:
            raise TooLarge(f"the file has {size} bytes; at most {self.limits.direct_bytes} are accepted", target="file")
        with tempfile.TemporaryDirectory(prefix="dataset-") as folder:
            local = Path(folder, "source")
            await self._blobs.download_file(path, local)
            dataset = await self._register(new, local, caller=caller, origin=origin)
        try:
            await self._blobs.delete_prefix(path)
        except Exception:  # noqa: BLE001  # the dataset exists; a blob left behind is no reason to say otherwise
            _log.exception(UPLOAD_LEFT_BEHIND, upload_id=str(new.upload_id))
        return dataset

    async def _register(self, new: NewDataset, local: Path, *, caller: Caller, origin: Origin) -> Dataset:
        dataset_id = uuid4()
        file_format = ingest.detect_format(local)
        canonical = local.with_name("data.parquet")
        profile = await asyncio.to_thread(ingest.read_profile, local, file_format, canonical, self.limits)
        committing = False
        try:
            await self._blobs.upload_file(source_path(dataset_id, file_format), local)
            await self._blobs.upload_file(data_path(dataset_id), canonical)
            async with self._database.transaction() as conn:
                dataset = await repository.insert(
                    conn,
                    dataset_id,
                    new,
                    profile,
                    version=_FIRST_VERSION,
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
                    new={"name": new.name, "version": dataset.version, "row_count": dataset.row_count},
                )
                committing = True
        except BaseException:
            # A commit that was cut off may have happened; blobs without a row are better than a row without blobs.
            if not committing:
                with suppress(Unavailable):
                    await self._blobs.delete_prefix(f"datasets/{dataset_id}/")
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

    async def list_page(
        self, *, name: str | None, status: DatasetStatus | None, limit: int, offset: int
    ) -> tuple[list[Dataset], int]:
        """One page of datasets, newest first, and how many the filters leave."""
        async with self._database.connection() as conn:
            return await repository.list_page(conn, name=name, status=status, limit=limit, offset=offset)


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
