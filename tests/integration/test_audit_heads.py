"""Heads of the audit log, kept as blobs."""

from datetime import UTC, datetime, timedelta

from shared.audit.chain import Head
from shared.audit.heads import keep_head
from shared.platform.blobs import BlobStore


async def test_an_hours_head_is_written_once_and_stays(blobs: BlobStore) -> None:
    """A second head of the same hour changes nothing; the next hour has a blob of its own, which verify can read."""
    hour = datetime(2026, 3, 1, 7, 30, tzinfo=UTC)
    first, second = Head(7, bytes(32)), Head(9, bytes([1] * 32))
    written = [await keep_head(blobs, first, hour), await keep_head(blobs, second, hour)]
    written.append(await keep_head(blobs, second, hour + timedelta(hours=1)))
    kept = [await blobs.read_bytes(f"2026/03/01/{name}.txt") for name in ("07", "08")]
    assert written == [True, False, True]
    assert [Head.parse(text.decode().strip()) for text in kept] == [first, second]
