"""Who sent a request, and whether the access table lets them in."""

import azure.functions as func

from functions.access import Access
from functions.composition import Services
from shared.audit.model import Origin
from shared.platform.errors import Forbidden, Unauthenticated
from shared.platform.identity import is_machine_key
from shared.users.model import Caller, Role


async def identify(request: func.HttpRequest, services: Services, origin: Origin) -> Caller:
    """The caller, by bearer token or by function key; a token wins over a key.

    :raises Unauthenticated: nobody is proven.
    :raises Forbidden: the user is deactivated, or cannot be created.
    """
    authorization = request.headers.get("authorization", "")
    key = request.headers.get("x-functions-key")
    if authorization:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("the Authorization header must be 'Bearer TOKEN'", cause="not_bearer")
        user = await services.users.sign_in(await services.tokens.verify(token.strip()), origin)
        return Caller(Role(user.role), user.id, user.email)
    if key is None:
        raise Unauthenticated("a bearer token is required", cause="no_token")
    if not is_machine_key(key, services.settings.function_key_sha256s):
        raise Unauthenticated("the function key is not valid", cause="function_key")
    return Caller(Role.MACHINE)


def admit(access: Access, caller: Caller) -> None:
    """Return when the caller's role is in ``access``.

    :raises Forbidden: it is not.
    """
    if access is not None and caller.role not in access:
        raise Forbidden(f"the role {caller.role.value} may not do this", cause="role")
