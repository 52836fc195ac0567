"""Bearer tokens for a local run: minted by the development host's issuer, roles given by the app itself."""

from __future__ import annotations

from devhost.client import ApiClient
from devhost.console import Failure
from devhost.issuer import mint_token
from devhost.services import LocalServices

ROLES = ("admin", "scientist", "analyst")


def token(services: LocalServices, role: str) -> str:
    """A token of the local user with this role, whom the app knows after this call.

    The first sign-in makes the user an analyst (the admin an admin, by BOOTSTRAP_ADMINS); any other role is granted as
    in production: by an admin, over HTTP. Raises Failure when the host does not run.
    """
    if role not in ROLES:
        raise Failure(f"there is no role {role!r}", f"choose one of {', '.join(ROLES)}: make token ROLE=scientist")
    if not services.app_is_ready():
        raise Failure(f"the app does not answer at {services.url}", "make start, or make services and func start")
    own = _mint(services, role)
    with ApiClient(services.url, own) as client:
        user = client.get("users/me")
    if user["role"] != role:
        with ApiClient(services.url, _mint(services, "admin")) as admin:
            admin.get("users/me")
            admin.patch(f"users/{user['id']}", {"role": role})
    return own


def _mint(services: LocalServices, role: str) -> str:
    return mint_token(services.state / "host", f"local-{role}", iss=services.issuer)
