"""Heads of the audit log as blobs, in a container whose policy lets nobody change or delete them for years."""

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.audit.chain import Head
    from shared.platform.blobs import BlobStore


async def keep_head(heads: "BlobStore", head: "Head", now: datetime) -> bool:
    """Write ``SEQUENCE:HASH`` under the hour of ``now`` (UTC); False when this head or another has the hour already.

    :raises Unavailable: the storage account cannot be reached.
    """
    return await heads.create_bytes(f"{now:%Y/%m/%d/%H}.txt", f"{head}\n".encode())
