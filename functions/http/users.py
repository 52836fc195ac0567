"""Users: oneself, and what administrators do."""

from typing import Literal

import azure.durable_functions as df
from pydantic import Field

from functions.endpoint import Call, Reply, endpoint
from functions.requests import NEWEST_FIRST, PageQuery
from shared.platform.errors import Conflict
from shared.users.model import User, UserFilter, UserPatch, UserRole

bp = df.Blueprint()


@endpoint(bp, "GET", "users/me", summary="Who am I", response=User)
async def get_me(call: Call) -> Reply:
    """The caller's own user; a first sign-in has just created it."""
    assert call.caller.user_id is not None  # the access table admits no machine here
    return Reply(await call.services.users.get(call.caller.user_id))


class UserQuery(PageQuery):
    """Filters and order of the list."""

    role: UserRole | None = None
    is_active: bool | None = None
    search: str | None = Field(
        None, min_length=1, max_length=255, description="A part of the e-mail address or the name, in any case."
    )
    sort: Literal["created_at", "-created_at", "email", "-email", "role", "-role"] = NEWEST_FIRST


@endpoint(bp, "GET", "users", summary="List users", query=UserQuery, response=list[User])
async def list_users(call: Call) -> Reply:
    """One page of users."""
    query: UserQuery = call.query
    users, total = await call.services.users.list_page(UserFilter(**query.filters()), query.of(query.sort))
    return Reply(users, pagination=query.pagination(total))


@endpoint(
    bp,
    "PATCH",
    "users/{user_id:guid}",
    summary="Change a user's role or activity",
    body=UserPatch,
    response=User,
    errors=(Conflict,),
)
async def update_user(call: Call) -> Reply:
    """Takes effect with the user's next request."""
    user_id = call.path_id("user_id")
    return Reply(await call.services.users.change(user_id, call.body, caller=call.caller, origin=call.origin))
