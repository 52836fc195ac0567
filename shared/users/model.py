"""Users, roles, and who is calling."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, model_validator

from shared.platform.errors import Forbidden


class Role(StrEnum):
    """What a caller may do. ``MACHINE`` is held by function keys and is never stored."""

    ADMIN = "admin"
    SCIENTIST = "scientist"
    ANALYST = "analyst"
    MACHINE = "machine"


class UserRole(StrEnum):
    """The roles that a user can be given."""

    ADMIN = "admin"
    SCIENTIST = "scientist"
    ANALYST = "analyst"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent the request: a user, or a machine with a function key (then without id)."""

    role: Role
    user_id: UUID | None = None
    email: str | None = None


class Deactivated(Forbidden):
    """The user is known and switched off; ``caller`` is who it was."""

    def __init__(self, caller: Caller) -> None:
        super().__init__("this user is deactivated", cause="deactivated")
        self.caller = caller


class User(BaseModel):
    """A row of ``users``."""

    id: UUID
    azure_ad_id: str
    email: str
    display_name: str | None
    role: UserRole
    is_active: bool
    created_at: datetime
    last_login_at: datetime | None


@dataclass(frozen=True, slots=True)
class UserFilter:
    """Which users; None is any. ``search`` is a part of the e-mail address or the name, in any case."""

    role: UserRole | None = None
    is_active: bool | None = None
    search: str | None = None


ANY_USER: Final = UserFilter()


class UserPatch(BaseModel):
    """What an administrator may change of a user; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    role: UserRole | None = None
    is_active: bool | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "UserPatch":
        if self.role is None and self.is_active is None:
            raise ValueError("give role, is_active or both")
        return self


def leaves_no_admin(user: User, patch: UserPatch, active_admins: frozenset[UUID]) -> bool:
    """Whether applying ``patch`` would take the last active administrator away."""
    stays = (patch.role or user.role) is UserRole.ADMIN and (
        user.is_active if patch.is_active is None else patch.is_active
    )
    return not stays and active_admins <= {user.id}
