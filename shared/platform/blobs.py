"""Blob storage: one container, paths relative to it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.platform.clock import Clock, utc_now
from shared.platform.errors import DomainError, Unavailable

if TYPE_CHECKING:
    from azure.storage.blob.aio import BlobClient, BlobServiceClient, ContainerClient

    from shared.platform.settings import Settings

_BLOCK_BYTES = 1024 * 1024  # aiohttp warns of larger bodies in one piece
_CONCURRENCY = 4


class BlobMissing(DomainError):
    """No blob at this path. Inside the app this means lost or not yet written data, never bad input."""

    code = "blob_missing"


class BlobStore:
    """Reads and writes the app's container.

    Every method raises :class:`Unavailable` when the storage account cannot be reached, and those that read raise
    :class:`BlobMissing` for a path that holds nothing. Writing replaces what was there.
    """

    def __init__(
        self,
        *,
        container: str,
        connection_string: str | None = None,
        account_url: str | None = None,
        retries: int = 3,
        clock: Clock = utc_now,
    ) -> None:
        self.container_name = container
        self._connection_string = connection_string
        self._account_url = account_url
        self._retries = retries
        self._clock = clock
        self._service: BlobServiceClient | None = None

    @classmethod
    def from_settings(cls, settings: "Settings", container: str | None = None) -> "BlobStore":
        """The store that the settings describe, or another container of its account."""
        secret = settings.blob_connection_string
        return cls(
            container=container or settings.blob_container,
            connection_string=secret.get_secret_value() if secret else None,
            account_url=settings.blob_account_url,
        )

    def _account(self) -> "BlobServiceClient":
        if self._service is None:
            from azure.storage.blob.aio import BlobServiceClient, LinearRetry

            # The library's own pauses add up to a minute, longer than anybody waits for an answer; what can wait longer
            # (an activity) is tried again as a whole.
            retry = LinearRetry(backoff=1, random_jitter_range=1, retry_total=self._retries)
            options: dict[str, Any] = {
                "retry_policy": retry,
                "connection_timeout": 5,
                "read_timeout": 60,
                "max_block_size": _BLOCK_BYTES,
                "max_single_put_size": _BLOCK_BYTES,
            }
            if self._connection_string is not None:
                self._service = BlobServiceClient.from_connection_string(self._connection_string, **options)
            else:
                from shared.platform.entra import credential

                assert self._account_url is not None
                self._service = BlobServiceClient(self._account_url, credential=credential(), **options)
        return self._service

    def _container(self) -> "ContainerClient":
        return self._account().get_container_client(self.container_name)

    def _blob(self, path: str) -> "BlobClient":
        return self._container().get_blob_client(path)

    async def close(self) -> None:
        """Release the connections."""
        if self._service is not None:
            await self._service.close()
            self._service = None

    async def ensure_container(self) -> None:
        """Create the container unless it is there."""
        with _translated(self.container_name):
            container = self._container()
            if not await container.exists():
                await container.create_container()

    async def ping(self) -> None:
        """Return when the container answers."""
        with _translated(self.container_name):
            await self._container().get_container_properties(timeout=3)

    async def upload_bytes(self, path: str, data: bytes) -> None:
        """Write ``data`` at ``path``."""
        with _translated(path):
            await self._blob(path).upload_blob(BytesIO(data), length=len(data), overwrite=True)

    async def create_bytes(self, path: str, data: bytes) -> bool:
        """Write ``data`` at ``path`` if nothing is there; whether this call did."""
        from azure.core.exceptions import ResourceExistsError

        try:
            with _translated(path):
                await self._blob(path).upload_blob(BytesIO(data), length=len(data), overwrite=False)
        except ResourceExistsError:
            return False
        return True

    async def upload_file(self, path: str, local: Path) -> None:
        """Write the file ``local`` at ``path``, block by block."""
        with _translated(path), local.open("rb") as source:
            await self._blob(path).upload_blob(
                source, overwrite=True, length=local.stat().st_size, max_concurrency=_CONCURRENCY
            )

    async def read_bytes(self, path: str) -> bytes:
        """The whole blob; meant for small ones."""
        with _translated(path):
            return await (await self._blob(path).download_blob()).readall()

    async def download_file(self, path: str, local: Path) -> None:
        """Copy the blob to the file ``local``; the file appears whole or not at all."""
        partial = local.with_name(local.name + ".partial")
        try:
            with _translated(path), partial.open("wb") as target:
                await (await self._blob(path).download_blob(max_concurrency=_CONCURRENCY)).readinto(target)
            partial.replace(local)
        finally:
            partial.unlink(missing_ok=True)

    async def size(self, path: str) -> int:
        """Length of the blob in bytes."""
        with _translated(path):
            return int((await self._blob(path).get_blob_properties()).size)

    async def exists(self, path: str) -> bool:
        """Whether a blob is at ``path``."""
        with _translated(path):
            return bool(await self._blob(path).exists())

    async def folders(self, prefix: str) -> AsyncIterator[str]:
        """The paths, each ending in a slash, that lie directly under ``prefix``, which ends in one itself."""
        with _translated(prefix):
            async for item in self._container().walk_blobs(name_starts_with=prefix, delimiter="/"):
                if item.name.endswith("/"):
                    yield item.name

    async def last_written(self, prefix: str) -> datetime | None:
        """When a blob whose path begins with ``prefix`` was last written; None where there is none."""
        with _translated(prefix):
            times = [blob.last_modified async for blob in self._container().list_blobs(name_starts_with=prefix)]
        return max(times, default=None)

    async def delete_prefix(self, prefix: str) -> int:
        """Delete every blob whose path begins with ``prefix``; returns how many this call deleted."""
        deleted = 0
        container = self._container()
        with _translated(prefix):
            names = [name async for name in container.list_blob_names(name_starts_with=prefix)]
        for name in names:
            with suppress(BlobMissing), _translated(name):  # somebody else may be tidying the same blobs
                await container.delete_blob(name)
                deleted += 1
        return deleted

    async def upload_url(self, path: str, *, lifetime: timedelta) -> str:
        """A URL that may write this one blob until ``lifetime`` has passed, and do nothing else."""
        return await self._signed_url(path, lifetime, create=True, write=True)

    async def download_url(self, path: str, *, lifetime: timedelta) -> str:
        """A URL that may read this one blob until ``lifetime`` has passed, and do nothing else."""
        return await self._signed_url(path, lifetime, read=True)

    async def _signed_url(self, path: str, lifetime: timedelta, **allowed: bool) -> str:
        from azure.storage.blob import BlobSasPermissions, generate_blob_sas

        now = self._clock()
        account = self._account()
        with _translated(path):
            delegation_key = None
            if self._connection_string is None:
                delegation_key = await account.get_user_delegation_key(now - timedelta(minutes=5), now + lifetime)
            signature = generate_blob_sas(
                account_name=str(account.account_name),
                container_name=self.container_name,
                blob_name=path,
                account_key=None if delegation_key else account.credential.account_key,
                user_delegation_key=delegation_key,
                permission=BlobSasPermissions(**allowed),
                expiry=now + lifetime,
            )
        return f"{self._blob(path).url}?{signature}"


@contextmanager
def _translated(path: str) -> Iterator[None]:
    """The one place where a storage failure becomes the domain's word for it."""
    from azure.core.exceptions import (
        AzureError,
        ClientAuthenticationError,
        HttpResponseError,
        ResourceNotFoundError,
        ServiceRequestError,
        ServiceResponseError,
    )

    try:
        yield
    except ResourceNotFoundError as error:
        raise BlobMissing(f"no blob at {path}", target=path) from error
    except (ServiceRequestError, ServiceResponseError, ClientAuthenticationError) as error:
        raise Unavailable("blob storage is not reachable", target="blob") from error
    except HttpResponseError as error:
        if error.status_code is None or error.status_code >= 500 or error.status_code == 429:
            raise Unavailable("blob storage is not answering", target="blob") from error
        raise
    except AzureError as error:
        raise Unavailable("blob storage is not reachable", target="blob") from error
