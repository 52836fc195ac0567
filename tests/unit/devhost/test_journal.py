"""The durable engine's journal file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devhost.durable.journal import Journal, JournalError, encode, read_records


async def test_synced_records_are_read_back(tmp_path: Path) -> None:
    """What was appended and synced is in the file, after what it was opened with."""
    journal = Journal(tmp_path / "j")
    journal.rewrite([{"kind": "first"}])
    journal.append({"kind": "second", "text": "ü\n"})
    await journal.sync()
    records, valid = read_records(tmp_path / "j")
    assert records == [{"kind": "first"}, {"kind": "second", "text": "ü\n"}]
    assert valid == (tmp_path / "j").stat().st_size
    await journal.close()


async def test_records_of_many_tasks_share_syncs(tmp_path: Path) -> None:
    """Concurrent writers are synced in groups: far fewer writes than records, nothing lost, order kept."""
    journal = Journal(tmp_path / "j")
    journal.rewrite([])
    writes: list[bytes] = []
    write = journal._write
    journal._write = lambda data: (writes.append(data), write(data))[1]  # type: ignore[method-assign,func-returns-value]

    async def add(number: int) -> None:
        journal.append({"number": number})
        await journal.sync()

    await asyncio.gather(*(add(number) for number in range(200)))
    await journal.close()
    assert [record["number"] for record in read_records(tmp_path / "j")[0]] == list(range(200))
    assert len(writes) < 20


async def test_one_process_holds_the_journal(tmp_path: Path) -> None:
    """A second opening is refused until the first is closed."""
    journal = Journal(tmp_path / "j")
    journal.rewrite([])
    with pytest.raises(JournalError, match="another host uses"):
        Journal(tmp_path / "j")
    await journal.close()
    again = Journal(tmp_path / "j")
    again.rewrite([])
    await again.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(st.text(max_size=5), st.integers(0, 9)), min_size=1, max_size=5), st.data())
def test_any_torn_end_loses_only_the_last_records(
    tmp_path: Path, records: list[dict[str, int]], data: st.DataObject
) -> None:
    """Cut at any byte, the file yields exactly the records whose lines are whole."""
    lines = [encode(dict(record)) for record in records]
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    path = tmp_path / "torn"
    path.write_bytes(whole[:cut])
    read, valid = read_records(path)
    ends = [sum(map(len, lines[: index + 1])) for index in range(len(lines))]
    expected = sum(end <= cut for end in ends)
    assert read == records[:expected]
    assert valid == sum(map(len, lines[:expected]))


def test_damage_in_the_middle_is_refused(tmp_path: Path) -> None:
    """A bad line before a good one is no torn write: the reader stops instead of dropping what follows."""
    damaged = bytearray(encode({"kind": "a"}) + encode({"kind": "b"}))
    damaged[12] ^= 1
    (tmp_path / "j").write_bytes(damaged)
    with pytest.raises(JournalError, match="damaged at line 1"):
        read_records(tmp_path / "j")


async def test_failed_write_is_reported_to_every_waiter(tmp_path: Path) -> None:
    """When the disk refuses, sync raises, now and from then on."""
    journal = Journal(tmp_path / "j")
    journal.rewrite([])

    def refuse(data: bytes) -> None:
        raise OSError(28, "No space left on device")

    journal._write = refuse  # type: ignore[method-assign]
    journal.append({"kind": "a"})
    with pytest.raises(JournalError, match="No space left"):
        await journal.sync()
    with pytest.raises(JournalError, match="No space left"):
        await journal.sync()
    await journal.close()
