"""An append-only file of JSON records that survives kill -9.

One record a line: eight hex digits of the CRC-32 of the payload, a space, the payload. A torn last line, what a crash
in the middle of a write leaves, is cut off at the next start; damage before the last line is refused. Appended records
are written and synced in groups: whatever was appended while the disk was busy goes out with the next sync.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson

Record = dict[str, Any]
log = logging.getLogger("devhost.durable")


class JournalError(Exception):
    """The journal is damaged, in use by another process, or could not be written."""


def encode(record: Record) -> bytes:
    """One line of the file."""
    payload = orjson.dumps(record)
    return b"%08x %b\n" % (zlib.crc32(payload), payload)


def _decode(line: bytes) -> Record | None:
    payload = line[9:-1]
    if not line.endswith(b"\n") or line[8:9] != b" " or line[:8] != b"%08x" % zlib.crc32(payload):
        return None
    record: Record = orjson.loads(payload)
    return record


def read_records(path: Path) -> tuple[list[Record], int]:
    """Return the valid records and the length in bytes of the part they fill.

    Raises:
        JournalError: a damaged line is followed by a valid one, so it is no torn write.
    """
    records: list[Record] = []
    valid = 0
    damaged: int | None = None
    if not path.exists():
        return records, valid
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            record = _decode(line)
            if record is None:
                damaged = damaged or number
            elif damaged is not None:
                raise JournalError(
                    f"{path} is damaged at line {damaged}; remove it to start without its orchestrations"
                )
            else:
                records.append(record)
                valid += len(line)
    return records, valid


class Journal:
    """The open file. One process at a time may hold it (an advisory lock on `<name>.lock`)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise JournalError(f"another host uses {path}") from error
        self._file = -1
        self._buffer: list[bytes] = []
        self._appended = 0
        self._durable = 0
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._failure: JournalError | None = None
        self._writer = ThreadPoolExecutor(1, "journal")

    def rewrite(self, records: Iterable[Record]) -> None:
        """Replace the file by these records in one step, and open it for appending. Called once, at start."""
        fresh = self.path.with_name(self.path.name + ".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for record in records:
                file.write(encode(record))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)
        directory = os.open(self.path.parent, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND)

    def append(self, record: Record) -> None:
        """Add a record to the next group. It is on disk when a `sync` that began later has returned."""
        self._buffer.append(encode(record))
        self._appended += 1
        if self._writing is None and self._failure is None:
            self._writing = asyncio.create_task(self._write_groups())

    async def sync(self) -> None:
        """Wait until every record appended so far is on disk.

        Raises:
            JournalError: the file could not be written; nothing after that is accepted.
        """
        if self._failure:
            raise self._failure
        if self._durable >= self._appended:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append((self._appended, waiter))
        await waiter

    async def _write_groups(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._buffer:
                group, self._buffer = self._buffer, []
                await loop.run_in_executor(self._writer, self._write, b"".join(group))
                self._durable += len(group)
                reached = [waiter for ticket, waiter in self._waiters if ticket <= self._durable]
                self._waiters = [pair for pair in self._waiters if pair[0] > self._durable]
                for waiter in reached:
                    if not waiter.done():
                        waiter.set_result(None)
        except OSError as error:
            self._failure = JournalError(f"{self.path} could not be written: {error}")
            log.critical("journal could not be written", extra={"path": str(self.path), "error": str(error)})
            for _, waiter in self._waiters:
                if not waiter.done():
                    waiter.set_exception(self._failure)
        finally:
            self._writing = None

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]
        os.fsync(self._file)

    async def close(self) -> None:
        """Write what is left and release the file."""
        if not self._failure:
            await self.sync()
        self._writer.shutdown()
        if self._file >= 0:
            os.close(self._file)
        os.close(self._lock)
