"""Sign-in, and what administrators do with users."""

from collections.abc import Collection
from uuid import UUID

import psycopg

from shared.audit import service as audit
from shared.audit.model import Origin
from shared.platform.clock import Clock
from shared.platform.database import Database
from shared.platform.errors import Conflict, Forbidden, NotFound
from shared.platform.identity import Claims
from shared.platform.listing import FIRST_PAGE, Page
from shared.users import repository
from shared.users.model import (
    ANY_USER,
    Caller,
    Deactivated,
    Role,
    User,
    UserFilter,
    UserPatch,
    UserRole,
    leaves_no_admin,
)


class UserService:
    """Use cases of users."""

    def __init__(self, database: Database, clock: Clock, *, bootstrap_admins: Collection[str] = ()) -> None:
        self._database = database
        self._clock = clock
        self._bootstrap_admins = frozenset(bootstrap_admins)

    async def sign_in(self, claims: Claims, origin: Origin) -> User:
        """The user of a verified token, created as analyst the first time.

        A subject named by BOOTSTRAP_ADMINS is created as admin: somebody has to be the first.

        :raises Deactivated: the user is.
        :raises Forbidden: the token has no e-mail address to create a user with.
        :raises Conflict: the e-mail address belongs to another user.
        """
        async with self._database.connection() as conn:
            user = await repository.get_by_subject(conn, claims.subject)
        if user is None:
            user = await self._create(claims, origin)
        if not user.is_active:
            raise Deactivated(Caller(Role(user.role), user.id, user.email))
        if user.last_login_at is None or claims.issued_at > user.last_login_at:
            async with self._database.connection() as conn:
                await repository.touch_login(conn, user.id, max(self._clock(), claims.issued_at))
        return user

    async def _create(self, claims: Claims, origin: Origin) -> User:
        if claims.email is None:
            message = "the token carries no e-mail address, which a first sign-in needs"
            raise Forbidden(message, cause="no_email", subject=claims.subject)
        role = UserRole.ADMIN if claims.subject in self._bootstrap_admins else UserRole.ANALYST
        try:
            async with self._database.transaction() as conn:
                user = await repository.insert(
                    conn,
                    subject=claims.subject,
                    email=claims.email,
                    display_name=claims.display_name,
                    role=role,
                    now=max(self._clock(), claims.issued_at),
                )
                if user is None:  # another request of the same user was quicker
                    user = await repository.get_by_subject(conn, claims.subject)
                    assert user is not None
                    return user
                await audit.record(
                    conn,
                    origin,
                    Caller(Role(user.role), user.id, user.email),
                    action="CREATE",
                    resource_type="user",
                    resource_id=user.id,
                    new={"role": user.role},
                )
                return user
        except psycopg.errors.UniqueViolation as error:
            raise Conflict("this e-mail address belongs to another user", target="email") from error

    async def get(self, user_id: UUID) -> User:
        """One user.

        :raises NotFound: there is none with this id.
        """
        async with self._database.connection() as conn:
            user = await repository.get(conn, user_id)
        if user is None:
            raise NotFound("no user has this id", target="user_id")
        return user

    async def list_page(self, which: UserFilter = ANY_USER, page: Page = FIRST_PAGE) -> tuple[list[User], int]:
        """One page of users, and how many the filters leave."""
        async with self._database.connection() as conn:
            return await repository.list_page(conn, which, page)

    async def change(self, user_id: UUID, patch: UserPatch, *, caller: Caller, origin: Origin) -> User:
        """Give a role, activate or deactivate; takes effect with the user's next request.

        Changes take turns, so of administrators who demote each other at the same time, one remains.

        :raises Forbidden: the caller was an administrator when the request came, and is none any more.
        :raises NotFound: there is no such user.
        :raises Conflict: it would take the last active administrator away.
        """
        async with self._database.transaction() as conn:
            await repository.take_turn(conn)
            admins = await repository.list_active_admins(conn)
            if caller.user_id is not None and caller.user_id not in admins:
                raise Forbidden("only an active administrator may change users", cause="role")
            user = await repository.get(conn, user_id, lock=True)
            if user is None:
                raise NotFound("no user has this id", target="user_id")
            if leaves_no_admin(user, patch, admins):
                raise Conflict("the last active administrator cannot be demoted or deactivated")
            changed = await repository.update(
                conn,
                user_id,
                role=patch.role or user.role,
                is_active=user.is_active if patch.is_active is None else patch.is_active,
            )
            await audit.record(
                conn,
                origin,
                caller,
                action="UPDATE",
                resource_type="user",
                resource_id=user_id,
                old={"role": user.role, "is_active": user.is_active},
                new={"role": changed.role, "is_active": changed.is_active},
            )
        return changed
