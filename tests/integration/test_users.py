"""Sign-in and roles on a real database."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.audit.model import Origin
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.platform.errors import Conflict, Forbidden, NotFound
from shared.platform.identity import Claims
from shared.platform.listing import Page
from shared.scoring.identifiers import prediction_id
from shared.users.model import Caller, Role, User, UserPatch, UserRole
from shared.users.service import UserService

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def users(database: Database) -> UserService:
    return UserService(database, utc_now, bootstrap_admins={"root"})


def _claims(subject: str, *, email: str | None = "default", issued_at: datetime = NOW) -> Claims:
    address = f"{subject}@example.com" if email == "default" else email
    return Claims(subject, address, subject.title(), issued_at, issued_at + timedelta(hours=1))


def _caller(user: User) -> Caller:
    return Caller(Role(user.role), user.id, user.email)


async def _audit(database: Database) -> list[dict[str, Any]]:
    async with database.connection() as conn:
        return await (await conn.execute("SELECT * FROM audit_logs ORDER BY created_at")).fetchall()


async def test_a_first_sign_in_creates_an_analyst(users: UserService, origin: Origin, database: Database) -> None:
    """With the token's e-mail and name, and one audit row."""
    user = await users.sign_in(_claims("ann"), origin)
    assert (user.role, user.email, user.display_name) == (UserRole.ANALYST, "ann@example.com", "Ann")
    assert [(row["action"], row["resource_id"]) for row in await _audit(database)] == [("CREATE", user.id)]


async def test_a_named_first_administrator_becomes_one(users: UserService, origin: Origin) -> None:
    """Somebody has to be the first."""
    assert (await users.sign_in(_claims("root"), origin)).role is UserRole.ADMIN


async def test_simultaneous_first_sign_ins_make_one_user(users: UserService, origin: Origin) -> None:
    """Ten requests of a new user at once agree on one row."""
    found = await asyncio.gather(*(users.sign_in(_claims("ann"), origin) for _ in range(10)))
    assert len({user.id for user in found}) == 1


async def test_last_login_follows_newer_tokens_only(users: UserService, origin: Origin) -> None:
    """A later token moves it, requests with the same token do not."""
    first = await users.sign_in(_claims("ann"), origin)
    again = await users.get((await users.sign_in(_claims("ann"), origin)).id)
    assert again.last_login_at == first.last_login_at
    later = NOW + timedelta(days=1)
    await users.sign_in(_claims("ann", issued_at=later), origin)
    assert (await users.get(first.id)).last_login_at == later


async def test_an_inactive_user_is_refused(users: UserService, origin: Origin) -> None:
    """Deactivation takes effect with the next request."""
    admin, ann = await users.sign_in(_claims("root"), origin), await users.sign_in(_claims("ann"), origin)
    await users.change(ann.id, UserPatch(is_active=False), caller=_caller(admin), origin=origin)
    with pytest.raises(Forbidden):
        await users.sign_in(_claims("ann"), origin)


async def test_a_token_without_email_cannot_create_a_user(users: UserService, origin: Origin) -> None:
    """The refusal says what is missing."""
    with pytest.raises(Forbidden, match="e-mail"):
        await users.sign_in(_claims("ann", email=None), origin)


async def test_an_email_belongs_to_one_user(users: UserService, origin: Origin) -> None:
    """A second subject with the same address is a conflict, not a second account."""
    await users.sign_in(_claims("ann"), origin)
    with pytest.raises(Conflict):
        await users.sign_in(_claims("eve", email="ann@example.com"), origin)


async def test_the_last_administrator_stays(users: UserService, origin: Origin) -> None:
    """Neither demoted nor deactivated, not even by itself."""
    admin = await users.sign_in(_claims("root"), origin)
    for patch in (UserPatch(role=UserRole.ANALYST), UserPatch(is_active=False)):
        with pytest.raises(Conflict):
            await users.change(admin.id, patch, caller=_caller(admin), origin=origin)


async def test_two_administrators_cannot_demote_each_other_at_once(users: UserService, origin: Origin) -> None:
    """Of two simultaneous demotions one is refused: whoever comes second is no administrator any more."""
    root, ann = await users.sign_in(_claims("root"), origin), await users.sign_in(_claims("ann"), origin)
    await users.change(ann.id, UserPatch(role=UserRole.ADMIN), caller=_caller(root), origin=origin)
    demote = UserPatch(role=UserRole.ANALYST)
    results = await asyncio.gather(
        users.change(ann.id, demote, caller=_caller(root), origin=origin),
        users.change(root.id, demote, caller=_caller(ann), origin=origin),
        return_exceptions=True,
    )
    assert sum(isinstance(result, Forbidden) for result in results) == 1


@pytest.mark.parametrize(
    "patch", [UserPatch(role=UserRole.ANALYST), UserPatch(is_active=False)], ids=["role", "active"]
)
async def test_many_administrators_removing_each_other_leave_one(
    users: UserService, origin: Origin, database: Database, patch: UserPatch
) -> None:
    """Everybody removes everybody at once, themselves too: one administrator remains, and each change has its entry."""
    root = await users.sign_in(_claims("root"), origin)
    admins = [root]
    for number in range(5):
        user = await users.sign_in(_claims(f"admin-{number}"), origin)
        admins.append(await users.change(user.id, UserPatch(role=UserRole.ADMIN), caller=_caller(root), origin=origin))
    before = len(await _audit(database))
    results = await asyncio.gather(
        *(
            users.change(target.id, patch, caller=_caller(caller), origin=origin)
            for target in admins
            for caller in admins
        ),
        return_exceptions=True,
    )
    refused = [result for result in results if isinstance(result, BaseException)]
    assert {type(result) for result in refused} <= {Conflict, Forbidden}
    remaining = [user for user in (await users.list_page(page=Page(limit=100)))[0] if user.role is UserRole.ADMIN]
    assert len([user for user in remaining if user.is_active]) == 1
    assert len(await _audit(database)) - before == len(results) - len(refused)


async def test_who_lost_the_role_meanwhile_changes_nobody(users: UserService, origin: Origin) -> None:
    """The role counts that the caller has when the change is made, not when the request came in."""
    root, ann = await users.sign_in(_claims("root"), origin), await users.sign_in(_claims("ann"), origin)
    with pytest.raises(Forbidden):
        await users.change(root.id, UserPatch(is_active=False), caller=Caller(Role.ADMIN, ann.id), origin=origin)


async def test_a_role_change_is_audited(users: UserService, origin: Origin, database: Database) -> None:
    """Who, what before, what after, from where."""
    root, ann = await users.sign_in(_claims("root"), origin), await users.sign_in(_claims("ann"), origin)
    await users.change(ann.id, UserPatch(role=UserRole.SCIENTIST), caller=_caller(root), origin=origin)
    row = (await _audit(database))[-1]
    assert (row["user_id"], row["action"], row["resource_id"]) == (root.id, "UPDATE", ann.id)
    assert (row["old_values"]["role"], row["new_values"]["role"]) == ("analyst", "scientist")
    assert (str(row["ip_address"]), row["request_id"]) == ("192.0.2.1", "test-request")


async def test_an_unknown_user_is_not_found(users: UserService, origin: Origin) -> None:
    """For reading and for changing."""
    nobody = prediction_id(NOW)
    with pytest.raises(NotFound):
        await users.get(nobody)
    with pytest.raises(NotFound):
        await users.change(nobody, UserPatch(is_active=True), caller=Caller(Role.ADMIN), origin=origin)
