"""Rows of ``idempotency_keys``."""

from dataclasses import asdict
from datetime import timedelta
from uuid import UUID

from psycopg.types.json import Jsonb

from shared.idempotency.model import Claim, KeyedRequest, StoredAnswer
from shared.platform.database import Connection, Row, scalar
from shared.platform.queries import queries

_SQL = queries("idempotency")


async def claim(
    conn: Connection, request: KeyedRequest, claim_id: UUID, *, lease: timedelta, lifetime: timedelta
) -> Claim | None:
    """The right to act; None when the key's row says otherwise."""
    parameters = {**asdict(request), "claim": claim_id, "lease": lease, "lifetime": lifetime}
    row = await (await conn.execute(_SQL["claim_key"], parameters)).fetchone()
    return None if row is None else Claim(claim_id, row["settled_at"] is not None, row["resource_id"])


async def look(conn: Connection, request: KeyedRequest) -> Row | None:
    """The key's row: ``fingerprint``, ``status``, ``headers``, ``body``, and the ``seconds`` left to its claim."""
    return await (await conn.execute(_SQL["get_key"], asdict(request))).fetchone()


async def settle(conn: Connection, claim_id: UUID, resource_id: UUID | None) -> bool:
    """Mark the work as done, in the transaction that does it; False when the claim was taken over."""
    parameters = {"claim": claim_id, "resource_id": resource_id}
    return await (await conn.execute(_SQL["settle_key"], parameters)).fetchone() is not None


async def keep(conn: Connection, claim_id: UUID, answer: StoredAnswer) -> None:
    """Store what is answered."""
    parameters = {
        "claim": claim_id,
        "status": answer.status,
        "headers": Jsonb(dict(answer.headers)),
        "body": answer.body,
    }
    await conn.execute(_SQL["keep_answer"], parameters)


async def release(conn: Connection, claim_id: UUID) -> None:
    """Give the claim back: the next request acts at once."""
    await conn.execute(_SQL["release_settled_key"], {"claim": claim_id})
    await conn.execute(_SQL["release_key"], {"claim": claim_id})


async def forget(conn: Connection, claim_id: UUID) -> None:
    """The key is as if it had never come."""
    await conn.execute(_SQL["forget_key"], {"claim": claim_id})


async def purge(conn: Connection, limit: int) -> int:
    """Delete up to ``limit`` keys that have expired; how many."""
    return scalar(await (await conn.execute(_SQL["purge_keys"], {"limit": limit})).fetchone(), "purged")
