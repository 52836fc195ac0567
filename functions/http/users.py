"""Users: oneself, and what administrators do."""

import azure.durable_functions as df

from functions.endpoint import Call, Reply, endpoint
from functions.requests import PageQuery
from shared.platform.errors import Conflict
from shared.users.model import User, UserPatch

bp = df.Blueprint()


@endpoint(bp, "GET", "users/me", summary="Who am I", response=User)
async def get_me(call: Call) -> Reply:
    """The caller's own user; a first sign-in has just created it."""
    assert call.caller.user_id is not None  # the access table admits no machine here
    return Reply(await call.services.users.get(call.caller.user_id))


@endpoint(bp, "GET", "users", summary="List users, newest first", query=PageQuery, response=list[User])
async def list_users(call: Call) -> Reply:
    """One page of users."""
    users, total = await call.services.users.list_page(limit=call.query.page_size, offset=call.query.offset)
    return Reply(users, pagination=call.query.pagination(total))


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
