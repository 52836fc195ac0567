"""Who is calling: OpenID Connect bearer tokens, and the keys of machine callers.

A token is accepted when its RS256 signature verifies with a key that the issuer publishes, and issuer, audience and
expiry are right. Keys are fetched once, again when a token names a key that is not known yet (at most every ten
seconds, so that forged key ids cannot drive requests to the issuer), and every hour, so that a withdrawn key stops
working.
"""

import asyncio
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt

from shared.platform.clock import Clock, utc_now
from shared.platform.errors import Unauthenticated, Unavailable

_ALGORITHMS = ("RS256",)
_LEEWAY_SECONDS = 30
_REFRESH_SECONDS = 3600
_COOLDOWN_SECONDS = 10
_PATIENCE_SECONDS = 1
_CACHED_TOKENS = 2048
_LONGEST_TOKEN = 16_384
_LONGEST_TEXT = 255  # what the columns of users hold
_CAUSES = (
    (jwt.ExpiredSignatureError, "token_expired"),
    (jwt.InvalidAudienceError, "token_audience"),
    (jwt.InvalidIssuerError, "token_issuer"),
    (jwt.InvalidSignatureError, "token_signature"),
)

FetchJson = Callable[[str], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says. ``subject`` is ``oid`` where the issuer gives one (Entra), else ``sub``."""

    subject: str
    email: str | None
    display_name: str | None
    issued_at: datetime
    expires_at: datetime


async def fetch_json(url: str) -> Mapping[str, Any]:
    """GET a JSON document, within five seconds and without following redirects."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=5)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url, allow_redirects=False) as response:
        response.raise_for_status()
        document: Mapping[str, Any] = await response.json(content_type=None)
        return document


class TokenVerifier:
    """Verifies bearer tokens of one issuer for one audience."""

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        jwks_url: str | None = None,
        clock: Clock = utc_now,
        fetch: FetchJson = fetch_json,
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._jwks_url = jwks_url
        self._clock = clock
        self._fetch = fetch
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at: datetime | None = None
        self._attempted_at: datetime | None = None
        self._refreshing = asyncio.Lock()
        self._due: asyncio.Task[None] | None = None
        self._verified: OrderedDict[bytes, Claims] = OrderedDict()

    async def verify(self, token: str) -> Claims:
        """The claims of ``token``.

        :raises Unauthenticated: the token is malformed, forged, expired, or meant for someone else.
        :raises Unavailable: the issuer's keys are needed and cannot be fetched.
        """
        if len(token) > _LONGEST_TOKEN:
            raise Unauthenticated("the bearer token is too long", cause="token_malformed")
        await self._refresh_when_due()
        digest = hashlib.sha256(token.encode()).digest()
        known = self._verified.get(digest)
        if known is not None:
            if known.expires_at <= self._clock():
                del self._verified[digest]
                raise Unauthenticated("the bearer token has expired", cause="token_expired", subject=known.subject)
            return known
        claims = self._decode(token, await self._key_of(token))
        self._verified[digest] = claims
        if len(self._verified) > _CACHED_TOKENS:
            self._verified.popitem(last=False)
        return claims

    async def _key_of(self, token: str) -> jwt.PyJWK:
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError as error:
            raise Unauthenticated("the bearer token is malformed", cause="token_malformed") from error
        if header.get("alg") not in _ALGORITHMS:
            raise Unauthenticated("the bearer token is not signed with RS256", cause="token_algorithm")
        kid = header.get("kid")
        if not isinstance(kid, str):
            raise Unauthenticated("the bearer token names no key", cause="token_unknown_key")
        if kid not in self._keys:
            await self._refresh(because_of=kid)
        if kid not in self._keys:
            raise Unauthenticated("the bearer token is signed with an unknown key", cause="token_unknown_key")
        return self._keys[kid]

    def _decode(self, token: str, key: jwt.PyJWK) -> Claims:
        try:
            payload = jwt.decode(
                token,
                key.key,
                algorithms=_ALGORITHMS,
                audience=self._audience,
                issuer=self._issuer,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except jwt.InvalidTokenError as error:
            expired = isinstance(error, jwt.ExpiredSignatureError)
            message = "the bearer token has expired" if expired else "the bearer token is not valid here"
            cause = next((cause for kind, cause in _CAUSES if isinstance(error, kind)), "token_claims")
            raise Unauthenticated(message, cause=cause, subject=_proven_subject(token, key)) from error
        return Claims(
            subject=_subject(payload),
            email=_email(payload),
            display_name=(_text(payload.get("name")) or "")[:_LONGEST_TEXT] or None,
            issued_at=datetime.fromtimestamp(payload["iat"], UTC),
            expires_at=datetime.fromtimestamp(payload["exp"] + _LEEWAY_SECONDS, UTC),
        )

    async def _refresh_when_due(self) -> None:
        """Ask for the keys again every hour. One request waits for the answer, and not for long; the others, and that
        one too when the issuer is slow or away, go on with the keys that are known."""
        if self._fetched_at is None or (self._clock() - self._fetched_at).total_seconds() < _REFRESH_SECONDS:
            return
        if self._due is not None and not self._due.done():
            return
        self._due = asyncio.create_task(self._refresh_if_possible())
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await asyncio.shield(self._due)

    async def _refresh_if_possible(self) -> None:
        with suppress(Unavailable):
            await self._refresh(because_of=None)

    async def _refresh(self, *, because_of: str | None) -> None:
        async with self._refreshing:
            if because_of is not None and because_of in self._keys:
                return
            now = self._clock()
            if self._attempted_at is not None and (now - self._attempted_at).total_seconds() < _COOLDOWN_SECONDS:
                if self._fetched_at is None:
                    raise Unavailable("the identity provider's keys cannot be fetched", target="identity")
                return
            self._attempted_at = now
            try:
                keys = await self._published_keys()
            except Exception as error:
                raise Unavailable("the identity provider's keys cannot be fetched", target="identity") from error
            if keys.keys() != self._keys.keys():
                self._verified.clear()
            self._keys, self._fetched_at = keys, now

    async def _published_keys(self) -> dict[str, jwt.PyJWK]:
        url = self._jwks_url
        if url is None:
            discovery = await self._fetch(self._issuer.rstrip("/") + "/.well-known/openid-configuration")
            if discovery.get("issuer") != self._issuer:
                raise ValueError("the discovery document names another issuer")
            url = str(discovery["jwks_uri"])
        document = await self._fetch(url)
        return {
            key["kid"]: jwt.PyJWK(key, algorithm="RS256")
            for key in document["keys"]
            if key.get("kty") == "RSA" and key.get("use", "sig") == "sig" and "kid" in key
        }


def is_machine_key(presented: str, accepted_sha256s: Collection[str]) -> bool:
    """Whether the SHA-256 of ``presented`` is among the accepted digests, compared in constant time."""
    digest = hashlib.sha256(presented.encode()).hexdigest()
    matches = [hmac.compare_digest(digest, accepted) for accepted in accepted_sha256s]
    return any(matches)


def _proven_subject(token: str, key: jwt.PyJWK) -> str | None:
    """Whom a token names that is refused for what it says; None when not even its signature is right."""
    try:
        payload = jwt.decode(
            token,
            key.key,
            algorithms=_ALGORITHMS,
            options={
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "verify_aud": False,
                "verify_iss": False,
                "require": ["sub"],
            },
        )
    except jwt.InvalidTokenError:
        return None
    return _subject(payload)[:_LONGEST_TEXT].replace("\x00", "")


def _subject(payload: Mapping[str, Any]) -> str:
    return str(payload.get("oid") or payload["sub"])


def _text(value: object) -> str | None:
    return value.replace("\x00", "") or None if isinstance(value, str) else None


def _email(payload: Mapping[str, Any]) -> str | None:
    emails = payload.get("emails")
    first = emails[0] if isinstance(emails, list) and emails else None
    found = _text(payload.get("email")) or _text(first) or _text(payload.get("preferred_username"))
    return None if found is None or len(found) > _LONGEST_TEXT else found
