"""Managed identity: one credential a worker, and the token that serves as PostgreSQL password."""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azure.identity.aio import DefaultAzureCredential

_POSTGRES_SCOPE = "https://ossrdbms-aad.database.windows.net/.default"


@cache
def credential() -> "DefaultAzureCredential":
    """The worker's Azure credential; it caches and renews its tokens itself."""
    from azure.identity.aio import DefaultAzureCredential

    return DefaultAzureCredential()


async def postgres_token() -> str:
    """A current Entra access token, accepted by Azure Database for PostgreSQL in place of a password."""
    return (await credential().get_token(_POSTGRES_SCOPE)).token
