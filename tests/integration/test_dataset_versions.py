"""Versions of datasets, their archive and their removal, on a real database and a real blob store."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import polars as pl
import pytest
from psycopg.errors import ForeignKeyViolation

from shared.audit.model import Origin
from shared.datasets.lifecycle import DatasetLifecycle
from shared.datasets.model import (
    Dataset,
    DatasetFilter,
    DatasetLimits,
    DatasetStatus,
    NewDataset,
    NewVersion,
    UploadedVersion,
    folder,
)
from shared.datasets.service import DatasetService
from shared.features.model import FeatureSetRequest
from shared.features.service import FeatureService
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.platform.errors import Conflict, DomainError, InvalidContent, NotFound
from shared.platform.listing import Page
from shared.users.model import Caller

CSV = b"transaction_id,transaction_time,amount,is_fraud\n" + b"".join(
    b"t%d,2026-01-%02dT10:00:00,%d.5,%d\n" % (number, number + 1, number, number % 2) for number in range(20)
)
WIDER = CSV.replace(b"is_fraud\n", b"is_fraud,shop\n").replace(b",0\n", b",0,a\n").replace(b",1\n", b",1,b\n")
RETYPED = CSV.replace(b".5,", b" euro,")
LIMITS = DatasetLimits(body_bytes=100_000, direct_bytes=200_000, rows=1000, columns=10)


class Registry:
    """The services, and their use in one word each."""

    def __init__(self, database: Database, blobs: BlobStore, caller: Caller, origin: Origin) -> None:
        self.datasets = DatasetService(database, blobs, utc_now, LIMITS)
        self.lifecycle = DatasetLifecycle(database, blobs, utc_now)
        self.features = FeatureService(database, blobs, utc_now)
        self.who: dict[str, Any] = {"caller": caller, "origin": origin}

    async def create(self, content: bytes = CSV, name: str = "payments") -> Dataset:
        return await self.datasets.create(
            NewDataset(name=name, description="all of them"), _chunks(content), **self.who
        )

    async def follow(self, dataset_id: UUID, content: bytes = CSV, **said: Any) -> Dataset:
        return await self.datasets.add_version(dataset_id, NewVersion(**said), _chunks(content), **self.who)

    async def feature_set(self, dataset_id: UUID) -> UUID:
        request = FeatureSetRequest(dataset_id=dataset_id, output_name="features")
        return (await self.features.request(request, **self.who)).id

    async def remove(self, dataset_id: UUID) -> tuple[DatasetStatus | None, list[str]]:
        removal = await self.lifecycle.remove(dataset_id, **self.who)
        return removal.status, [made.kind for made in removal.dependents]

    async def listed(self, **filters: Any) -> list[str]:
        found, _ = await self.datasets.list_page(DatasetFilter(**filters), Page())
        return [f"{dataset.name} {dataset.version}" for dataset in found]


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content


@pytest.fixture
def registry(database: Database, blobs: BlobStore, system: Caller, origin: Origin) -> Registry:
    return Registry(database, blobs, system, origin)


async def _audited(database: Database, dataset_id: UUID) -> list[tuple[str, Any, Any]]:
    async with database.connection() as conn:
        rows = await conn.execute(
            "SELECT action, old_values, new_values FROM audit_logs WHERE resource_id = %s ORDER BY created_at",
            [dataset_id],
        )
        return [(row["action"], row["old_values"], row["new_values"]) async for row in rows]


async def test_versions_follow_each_other(registry: Registry) -> None:
    """1.1 after 1.0, 2.0 where a column has another type; the answer tells what changed, the list has them all."""
    first = await registry.create()
    second = await registry.follow(first.id, WIDER, description="with shops")
    third = await registry.follow(second.id, RETYPED)
    assert [d.version for d in (first, second, third)] == ["1.0", "1.1", "2.0"]
    assert (second.parent_id, third.parent_id) == (first.id, second.id)
    assert (second.name, second.description, third.description) == ("payments", "with shops", "with shops")
    changes = await registry.datasets.changes(third)
    assert changes is not None
    assert changes.removed == ["shop"]
    assert [(c.name, c.before, c.now) for c in changes.retyped] == [("amount", "float", "string")]
    for member in (first, second, third):
        versions, total = await registry.datasets.versions(member.id, limit=10, offset=0)
        assert ([v.version for v in versions], total) == (["2.0", "1.1", "1.0"], 3)
        assert [None if v.changes is None else v.changes.added for v in versions] == [[], ["shop"], None]
    assert (await registry.datasets.versions(first.id, limit=1, offset=5))[1] == 3


async def test_a_version_of_any_member_goes_to_the_end(registry: Registry) -> None:
    """The line does not branch."""
    first = await registry.create()
    second = await registry.follow(first.id)
    third = await registry.follow(first.id)
    assert (third.version, third.parent_id) == ("1.2", second.id)


async def test_versions_at_the_same_time_get_different_numbers(registry: Registry) -> None:
    """Eight at once make one line of nine."""
    first = await registry.create()
    made = await asyncio.gather(*(registry.follow(first.id) for _ in range(8)))
    assert sorted(d.version for d in made) == [f"1.{number}" for number in range(1, 9)]
    assert Counter(d.parent_id for d in made).most_common(1)[0][1] == 1


async def test_a_version_can_be_uploaded_directly(registry: Registry) -> None:
    """As a dataset can."""
    first = await registry.create()
    upload_id, url, _ = await registry.datasets.open_upload()
    async with httpx.AsyncClient() as client:
        await client.put(url, content=CSV, headers={"x-ms-blob-type": "BlockBlob"})
    new = UploadedVersion(upload_id=upload_id)
    assert (await registry.datasets.add_version_from_upload(first.id, new, **registry.who)).version == "1.1"


async def test_a_version_of_nothing_is_not_found(registry: Registry) -> None:
    """Neither by adding nor by listing."""
    with pytest.raises(NotFound):
        await registry.follow(uuid4())
    with pytest.raises(NotFound):
        await registry.datasets.versions(uuid4(), limit=10, offset=0)


async def test_without_dependents_row_and_blobs_go(registry: Registry, blobs: BlobStore, database: Database) -> None:
    """And the audit log keeps what it was."""
    dataset = await registry.create()
    assert await registry.remove(dataset.id) == (None, [])
    with pytest.raises(NotFound):
        await registry.datasets.get(dataset.id)
    assert await blobs.delete_prefix(folder(dataset.id)) == 0
    old = {"name": "payments", "status": "ACTIVE", "version": "1.0", "row_count": 20}
    assert (await _audited(database, dataset.id))[1:] == [("DELETE", old, None)]
    with pytest.raises(NotFound):
        await registry.remove(dataset.id)


async def test_what_something_was_made_from_is_archived(registry: Registry, database: Database) -> None:
    """By feature sets and by later versions; doing so again changes nothing, and everything is still there."""
    first = await registry.create()
    second = await registry.follow(first.id)
    await registry.feature_set(second.id)
    assert await registry.remove(first.id) == (DatasetStatus.ARCHIVED, ["version"])
    assert await registry.remove(second.id) == (DatasetStatus.ARCHIVED, ["feature_set"])
    assert await registry.remove(second.id) == (DatasetStatus.ARCHIVED, ["feature_set"])
    actions = [(action, new and new.get("status")) for action, _, new in await _audited(database, second.id)]
    assert actions[1:] == [("ARCHIVE", "ARCHIVED")]
    assert await registry.listed() == []
    assert await registry.listed(statuses=(DatasetStatus.ARCHIVED,)) == ["payments 1.1", "payments 1.0"]
    assert (await registry.datasets.preview(second.id, 5))[1]


async def test_an_archived_dataset_takes_nothing_new(registry: Registry, database: Database) -> None:
    """No feature set and no version, until it is restored."""
    first = await registry.create()
    await registry.feature_set(first.id)
    await registry.remove(first.id)
    for attempt in (registry.feature_set(first.id), registry.follow(first.id)):
        with pytest.raises(Conflict):
            await attempt
    restored = await registry.lifecycle.restore(first.id, **registry.who)
    assert restored.status is DatasetStatus.ACTIVE
    assert (await _audited(database, first.id))[-1][0] == "RESTORE"
    await registry.feature_set(first.id)
    assert (await registry.follow(first.id)).version == "1.1"
    with pytest.raises(Conflict):
        await registry.lifecycle.restore(first.id, **registry.who)


async def test_removal_and_use_at_the_same_time_agree(registry: Registry, database: Database) -> None:
    """A feature set that was accepted has its dataset, whichever came first."""
    for _ in range(10):
        dataset = await registry.create()
        outcome = await asyncio.gather(
            registry.feature_set(dataset.id), registry.remove(dataset.id), registry.follow(dataset.id),
            return_exceptions=True,
        )  # fmt: skip
        assert all(isinstance(o, DomainError) for o in outcome if isinstance(o, BaseException)), outcome
        async with database.connection() as conn:
            row = await (
                await conn.execute(
                    "SELECT (SELECT status FROM datasets WHERE id = %(id)s) AS status,"
                    " (SELECT count(*) FROM feature_sets WHERE dataset_id = %(id)s) AS sets,"
                    " (SELECT count(*) FROM datasets WHERE parent_id = %(id)s) AS versions",
                    {"id": dataset.id},
                )
            ).fetchone()
        assert row is not None
        accepted = (isinstance(outcome[0], UUID), isinstance(outcome[2], Dataset))
        assert (bool(row["sets"]), bool(row["versions"])) == accepted
        assert row["status"] == ("ARCHIVED" if any(accepted) else None)


async def test_leftovers_are_swept(registry: Registry, database: Database, blobs: BlobStore) -> None:
    """Blobs without a row, once they are a day old; others stay."""
    kept = await registry.create()
    await blobs.upload_bytes(folder(uuid4()) + "data.parquet", b"left behind")
    await blobs.upload_bytes("datasets/something-else/data", b"not ours")
    assert await registry.lifecycle.sweep() == 0
    later = DatasetLifecycle(database, blobs, lambda: utc_now() + timedelta(days=2))
    assert await later.sweep() == 1
    assert await blobs.exists(kept.storage_path)
    assert await blobs.delete_prefix("datasets/something-else/") == 1


async def test_the_first_rows_are_json(registry: Registry, blobs: BlobStore, tmp_path: Path) -> None:
    """NaN and infinity are null, times ISO 8601, long texts cut; also where no preview was kept."""
    rows = {"x": [1.5, float("nan"), float("inf")], "at": [utc_now()] * 3, "note": ["a" * 2000, None, "=1+1"]}
    pl.DataFrame(rows).write_parquet(tmp_path / "in")
    dataset = await registry.create((tmp_path / "in").read_bytes())
    _, shown = await registry.datasets.preview(dataset.id, 2)
    assert [row["x"] for row in shown] == [1.5, None]
    assert shown[0]["at"] == rows["at"][0].isoformat()  # type: ignore[attr-defined]
    assert shown[0]["note"].endswith("a…")
    await blobs.delete_prefix(f"{folder(dataset.id)}preview")
    assert (await registry.datasets.preview(dataset.id, 2))[1] == shown


async def test_the_catalogue_is_searched_by_words(registry: Registry) -> None:
    """Of name, description and column names, by their beginnings, all of them; sorted and filtered as asked."""
    await registry.create(name="Orders_2026 (EU)")
    await registry.create(WIDER, name="chargebacks")
    for search, found in {
        "orders": ["Orders_2026 (EU) 1.0"],
        "ORD eu": ["Orders_2026 (EU) 1.0"],
        "transaction": ["chargebacks 1.0", "Orders_2026 (EU) 1.0"],
        "shop": ["chargebacks 1.0"],
        "all of shop": ["chargebacks 1.0"],
        "orders shop": [],
        "rders": [],
        "' | !x:* & (": ["nothing"],
    }.items():
        expected = [] if found == ["nothing"] else found
        assert await registry.listed(search=search) == expected, search
    assert await registry.listed(min_rows=21) == []
    assert len(await registry.listed(max_rows=20, created_until=utc_now() + timedelta(hours=1))) == 2
    assert await registry.listed(created_by=uuid4()) == []
    ordered, _ = await registry.datasets.list_page(DatasetFilter(), Page(sort="name"))
    assert sorted(d.name for d in ordered) == ["Orders_2026 (EU)", "chargebacks"]


async def test_a_bad_version_leaves_the_line_as_it_was(registry: Registry, blobs: BlobStore) -> None:
    """Refused before anything is stored."""
    first = await registry.create()
    with pytest.raises(InvalidContent):
        await registry.follow(first.id, b"a,a\n1,2\n")
    assert (await registry.datasets.versions(first.id, limit=10, offset=0))[1] == 1
    assert [path async for path in blobs.folders("datasets/")] == [folder(first.id)]


async def test_a_parent_cannot_vanish(registry: Registry, database: Database) -> None:
    """The foreign key is the last referee."""
    first = await registry.create()
    await registry.follow(first.id)
    with pytest.raises(ForeignKeyViolation):
        async with database.connection() as conn:
            await conn.execute("DELETE FROM datasets WHERE id = %s", [first.id])
