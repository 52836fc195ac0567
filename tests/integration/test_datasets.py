"""Registering datasets on a real database and a real blob store."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import httpx
import polars as pl
import psycopg
import pytest
from azure.storage.blob import BlobServiceClient

from shared.audit.model import Origin
from shared.datasets.model import DatasetFilter, DatasetLimits, NewDataset, UploadedDataset
from shared.datasets.service import DatasetService
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.platform.errors import InvalidContent, NotFound, TooLarge, Unavailable
from shared.platform.listing import Page
from shared.users.model import Caller, Role

CSV = b"transaction_id,amount,is_fraud\na,1.5,0\nb,2.5,1\n"
LIMITS = DatasetLimits(body_bytes=1000, direct_bytes=2000, rows=100, columns=10)


@pytest.fixture
def datasets(database: Database, blobs: BlobStore) -> DatasetService:
    return DatasetService(database, blobs, utc_now, LIMITS)


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 7):
        yield content[start : start + 7]


async def test_a_csv_file_is_registered_as_parquet(
    datasets: DatasetService, blobs: BlobStore, tmp_path: Path, origin: Origin, system: Caller
) -> None:
    """Row and blobs agree; the original is kept beside the Parquet."""
    dataset = await datasets.create(NewDataset(name="first"), _chunks(CSV), caller=system, origin=origin)
    assert (dataset.version, dataset.row_count, dataset.column_count) == ("1.0", 2, 3)
    await blobs.download_file(dataset.storage_path, tmp_path / "data.parquet")
    assert pl.read_parquet(tmp_path / "data.parquet")["amount"].to_list() == [1.5, 2.5]
    assert await blobs.read_bytes(f"datasets/{dataset.id}/source.csv") == CSV
    assert await datasets.get(dataset.id) == dataset


async def test_a_refused_file_leaves_nothing(
    datasets: DatasetService, blobs: BlobStore, origin: Origin, system: Caller
) -> None:
    """No row, no blob."""
    with pytest.raises(InvalidContent):
        await datasets.create(NewDataset(name="bad"), _chunks(b"a,b\n"), caller=system, origin=origin)
    assert await datasets.list_page(DatasetFilter(), Page()) == ([], 0)
    assert await blobs.delete_prefix("datasets/") == 0


async def test_a_file_beyond_the_limit_is_refused_while_it_streams(
    datasets: DatasetService, origin: Origin, system: Caller
) -> None:
    """The stream is not read to its end."""
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 100
            yield b"x" * 100

    with pytest.raises(TooLarge):
        await datasets.create(NewDataset(name="big"), endless(), caller=system, origin=origin)
    assert read <= LIMITS.body_bytes + 100


async def test_a_large_file_goes_straight_to_blob(
    datasets: DatasetService, origin: Origin, system: Caller, blobs: BlobStore
) -> None:
    """The URL takes the file, registering it works once, and the waiting blob is gone."""
    upload_id, url, _ = await datasets.open_upload()
    async with httpx.AsyncClient() as client:
        answer = await client.put(url, content=CSV, headers={"x-ms-blob-type": "BlockBlob"})
        assert answer.status_code == 201
        assert (await client.get(url)).status_code == 403
    new = UploadedDataset(name="direct", upload_id=upload_id)
    assert (await datasets.create_from_upload(new, caller=system, origin=origin)).row_count == 2
    with pytest.raises(InvalidContent):
        await datasets.create_from_upload(new, caller=system, origin=origin)
    assert await blobs.delete_prefix("uploads/") == 0


async def test_a_blob_left_behind_does_not_undo_a_registration(
    datasets: DatasetService, origin: Origin, system: Caller, blobs: BlobStore, blob_connection_string: str
) -> None:
    """The caller must not be told to try again when the dataset is there."""
    upload_id, url, _ = await datasets.open_upload()
    async with httpx.AsyncClient() as client:
        await client.put(url, content=CSV, headers={"x-ms-blob-type": "BlockBlob"})
    with BlobServiceClient.from_connection_string(blob_connection_string) as service:
        service.get_blob_client(blobs.container_name, f"uploads/{upload_id}").acquire_lease()  # it cannot be deleted
    new = UploadedDataset(name="direct", upload_id=upload_id)
    dataset = await datasets.create_from_upload(new, caller=system, origin=origin)
    assert await datasets.get(dataset.id) == dataset


async def test_a_commit_that_was_cut_off_keeps_the_blobs(
    datasets: DatasetService, database: Database, blobs: BlobStore, origin: Origin, system: Caller
) -> None:
    """It may have happened; a row whose data is gone would be worse than blobs without a row."""
    async with database.connection() as conn:
        await conn.execute(
            "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END'"
        )
        await conn.execute(
            "CREATE CONSTRAINT TRIGGER dies_while_committing AFTER INSERT ON datasets "
            "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION die()"
        )
    with pytest.raises(Unavailable):
        await datasets.create(NewDataset(name="unclear"), _chunks(CSV), caller=system, origin=origin)
    assert await blobs.delete_prefix("datasets/") == 3


async def test_a_dataset_that_cannot_be_stored_leaves_no_blob(
    datasets: DatasetService, blobs: BlobStore, origin: Origin
) -> None:
    """A caller whom the database does not know: the row is refused before any commit."""
    stranger = Caller(Role.SCIENTIST, uuid4())
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        await datasets.create(NewDataset(name="refused"), _chunks(CSV), caller=stranger, origin=origin)
    assert await blobs.delete_prefix("datasets/") == 0


async def test_texts_with_nul_can_be_registered(
    datasets: DatasetService, tmp_path: Path, origin: Origin, system: Caller
) -> None:
    """Parquet can hold the character that PostgreSQL's JSON cannot; long texts are not listed as categories."""
    pl.DataFrame({"kind": ["a\x00b", "c"], "note": ["x" * 500, "y"]}).write_parquet(tmp_path / "in")
    limits = DatasetLimits(body_bytes=100_000, direct_bytes=100_000, rows=100, columns=10)
    datasets.limits = limits
    content = (tmp_path / "in").read_bytes()
    dataset = await datasets.create(NewDataset(name="nul"), _chunks(content), caller=system, origin=origin)
    assert dataset.statistics.column_stats["kind"]["values"] == {"a�b": 1, "c": 1}
    assert "values" not in dataset.statistics.column_stats["note"]


async def test_the_catalogue_is_filtered_by_name(datasets: DatasetService, origin: Origin, system: Caller) -> None:
    """Percent and underscore in the filter are just characters."""
    for name in ("orders_2025", "orders2025", "100% genuine"):
        await datasets.create(NewDataset(name=name), _chunks(CSV), caller=system, origin=origin)
    for text, expected in (
        ("orders_", ["orders_2025"]),
        ("%", ["100% genuine"]),
        ("ORDERS", ["orders2025", "orders_2025"]),
    ):
        found, total = await datasets.list_page(DatasetFilter(name=text), Page())
        assert [dataset.name for dataset in found] == expected
        assert total == len(expected)


async def test_an_unknown_dataset_is_not_found(datasets: DatasetService) -> None:
    """Rather than empty."""
    with pytest.raises(NotFound):
        await datasets.get(uuid4())
