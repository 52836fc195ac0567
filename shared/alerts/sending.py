"""One POST to a place that somebody named: no redirects, no private addresses unless allowed, nothing unbounded."""

import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from shared.platform.errors import invalid_field

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver, ResolveResult

_TIMEOUT_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a POST: the answer's status, or why there is none."""

    status: int | None
    error: str | None

    @property
    def arrived(self) -> bool:
        """Whether the receiver took it: any 2xx."""
        return self.status is not None and 200 <= self.status < 300


def check_url(url: str, *, allow_private: bool) -> None:
    """Return when messages may be sent to ``url``.

    :raises InvalidContent: it is not https (http too where private addresses are allowed), has no host, carries a
        user name, or names an address that is not public.
    """
    schemes = ("https", "http") if allow_private else ("https",)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise invalid_field("url", "is not a URL") from error
    if parts.scheme not in schemes:
        raise invalid_field("url", f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if not host:
        raise invalid_field("url", "names no host")
    if parts.username is not None or parts.password is not None:
        raise invalid_field("url", "must not carry a user name or password")
    if not allow_private and not _may_be_public(host):
        raise invalid_field("url", "names an address that is not public")


def _may_be_public(host: str) -> bool:
    """False for addresses that are not public; names are judged by what they resolve to, at each connection."""
    try:
        return is_public(host)
    except ValueError:
        return host.lower().rstrip(".") != "localhost"


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, also when it wraps an IPv4 address.

    :raises ValueError: it is not an IP address.
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        elif found.sixtofour is not None or found.teredo is not None or found in _NAT64:
            return False
    return found.is_global and not found.is_multicast and found != _AZURE_HOST


_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_AZURE_HOST: Final = ipaddress.ip_address("168.63.129.16")  # answers every machine in Azure with its own settings


class NotPublicError(OSError):
    """A name resolves to an address that messages must not be sent to."""


async def post(url: str, body: bytes, headers: Mapping[str, str], *, allow_private: bool) -> Outcome:
    """Send ``body`` as JSON; never raises because of what the other side does."""
    import aiohttp

    try:
        check_url(url, allow_private=allow_private)
        connector = aiohttp.TCPConnector(resolver=None if allow_private else _public_resolver(), use_dns_cache=False)
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session:
            sent = {"content-type": "application/json", "user-agent": "shadow-hubble-webhooks/1", **headers}
            # What it says beyond the status is not read.
            async with session.post(url, data=body, headers=sent, allow_redirects=False) as answer:
                told = None if 200 <= answer.status < 300 else f"the receiver answered {answer.status}"
                return Outcome(answer.status, told)
    except TimeoutError:
        return Outcome(None, f"no answer within {_TIMEOUT_SECONDS:g} s")
    except Exception as error:  # noqa: BLE001  # whatever it is, the message is tried again later
        return Outcome(None, _reason(error))


def _reason(error: Exception) -> str:
    """Without the URL, which may hold a secret."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, NotPublicError):
            return "the host resolves to an address that is not public"
        cause = cause.__cause__
    return f"could not be reached ({type(error).__name__})"


def _public_resolver() -> "AbstractResolver":
    """Resolves names to public addresses only; the connection is made to the very address that was looked at."""
    from aiohttp.abc import AbstractResolver
    from aiohttp.resolver import ThreadedResolver

    class PublicResolver(AbstractResolver):
        def __init__(self) -> None:
            self._names = ThreadedResolver()

        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> "list[ResolveResult]":
            found: list[Any] = await self._names.resolve(host, port, family)
            if not all(is_public(entry["host"]) for entry in found):
                raise NotPublicError(f"{host} is not public")
            return found

        async def close(self) -> None:
            await self._names.close()

    return PublicResolver()
