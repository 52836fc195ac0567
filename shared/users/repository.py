"""Rows of ``users``."""

from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from shared.platform.database import Connection, Row
from shared.platform.listing import Listing, Page
from shared.platform.queries import queries
from shared.users.model import User, UserFilter, UserRole

_SQL = queries("users")
_USERS = Listing(
    _SQL["list_users"],
    _SQL["count_users"],
    table="u",
    sorts={"created_at": "created_at", "email": "email", "role": "role"},
)


def _user(row: Row | None) -> User | None:
    return None if row is None else User.model_validate(row)


async def get_by_subject(conn: Connection, subject: str) -> User | None:
    """The user whom the identity provider calls ``subject``."""
    return _user(await (await conn.execute(_SQL["get_user_by_subject"], {"subject": subject})).fetchone())


async def get(conn: Connection, user_id: UUID, *, lock: bool = False) -> User | None:
    """One user, locked until the transaction ends when asked."""
    statement = _SQL["get_user_for_update"] if lock else _SQL["get_user"]
    return _user(await (await conn.execute(statement, {"user_id": user_id})).fetchone())


async def insert(
    conn: Connection, *, subject: str, email: str, display_name: str | None, role: UserRole, now: datetime
) -> User | None:
    """A new user, or None when the subject exists already.

    :raises psycopg.errors.UniqueViolation: the e-mail belongs to another subject.
    """
    parameters = {"subject": subject, "email": email, "display_name": display_name, "role": role, "now": now}
    return _user(await (await conn.execute(_SQL["insert_user"], parameters)).fetchone())


async def touch_login(conn: Connection, user_id: UUID, at: datetime) -> None:
    """Keep the time of the latest sign-in."""
    await conn.execute(_SQL["touch_login"], {"user_id": user_id, "at": at})


async def take_turn(conn: Connection) -> None:
    """Wait until no other transaction changes roles or activity, and keep others waiting until this one ends."""
    await conn.execute(_SQL["take_turn"])


async def list_active_admins(conn: Connection) -> frozenset[UUID]:
    """The active administrators."""
    return frozenset([row["id"] async for row in await conn.execute(_SQL["list_active_admins"])])


async def update(conn: Connection, user_id: UUID, *, role: UserRole, is_active: bool) -> User:
    """Change role and activity of an existing user."""
    parameters = {"user_id": user_id, "role": role, "is_active": is_active}
    return User.model_validate(await (await conn.execute(_SQL["update_user"], parameters)).fetchone())


async def list_page(conn: Connection, which: UserFilter, page: Page) -> tuple[list[User], int]:
    """One page, and the number of users that the filters leave."""
    rows, total = await _USERS.read(conn, asdict(which), page)
    return [User.model_validate(row) for row in rows], total
