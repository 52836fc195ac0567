"""A PostgreSQL of one's own for figures: production's durability settings, every migration, gone afterwards."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from devhost.postgres import PostgresServer, find_binaries, free_port
from shared.platform.database import Database
from sql.migrate import migrate


@asynccontextmanager
async def private_database() -> AsyncIterator[Database]:
    """Started when entered, stopped and deleted when left."""
    with tempfile.TemporaryDirectory(prefix="shadow-hubble-history-") as folder:
        Path(folder).chmod(0o711)
        server = PostgresServer(find_binaries(), Path(folder) / "data", free_port())
        server.start()
        try:
            # A quarter of the memory, as Azure sets it, and as everywhere from a start on only.
            pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 8192 // 4
            with psycopg.connect(server.url, autocommit=True) as admin:
                admin.execute(sql.SQL("ALTER SYSTEM SET shared_buffers = {}").format(sql.Literal(pages)))
            server.stop()
            server.start()
            await asyncio.to_thread(migrate, server.url)
            database = Database(server.url)
            await database.open()
            yield database
            await database.close()
        finally:
            server.stop()
