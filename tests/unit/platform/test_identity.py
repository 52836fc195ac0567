"""Bearer tokens: what is accepted, what is refused, and what happens when keys rotate."""

import asyncio
import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from shared.platform.errors import Unauthenticated, Unavailable
from shared.platform.identity import TokenVerifier, is_machine_key

ISSUER = "https://issuer.example/tenant"
AUDIENCE = "shadow-hubble"
NOW = datetime.now(UTC).replace(microsecond=0)


class Issuer:
    """An issuer whose documents are served from memory; ``reachable`` and ``fetched`` are for the tests."""

    def __init__(self) -> None:
        self.keys = {"first": _key()}
        self.reachable = True
        self.answers = asyncio.Event()
        self.answers.set()
        self.fetched: list[str] = []

    async def fetch(self, url: str) -> Mapping[str, Any]:
        self.fetched.append(url)
        await self.answers.wait()
        if not self.reachable:
            raise OSError("no route to the issuer")
        if url.endswith("/.well-known/openid-configuration"):
            return {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"}
        return {"keys": [self._jwk(kid, key) for kid, key in self.keys.items()]}

    @staticmethod
    def _jwk(kid: str, key: rsa.RSAPrivateKey) -> dict[str, Any]:
        return {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig"}

    def token(self, kid: str = "first", *, key: Any = None, algorithm: str = "RS256", **changes: Any) -> str:
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "someone",
            "iat": NOW,
            "exp": NOW + timedelta(hours=1),
            "email": "someone@example.com",
            **changes,
        }
        present = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(present, key or self.keys[kid], algorithm=algorithm, headers={"kid": kid})


class SettableClock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def verifier(issuer: Issuer, clock: SettableClock) -> TokenVerifier:
    return TokenVerifier(issuer=ISSUER, audience=AUDIENCE, clock=clock, fetch=issuer.fetch)


async def test_a_valid_token_gives_its_claims(issuer: Issuer, verifier: TokenVerifier) -> None:
    """Subject, e-mail and times come from the token."""
    claims = await verifier.verify(issuer.token(name="Someone"))
    assert (claims.subject, claims.email, claims.display_name) == ("someone", "someone@example.com", "Someone")
    assert claims.issued_at == NOW


async def test_the_object_id_is_preferred_to_the_subject(issuer: Issuer, verifier: TokenVerifier) -> None:
    """Entra's ``sub`` differs from app to app, its ``oid`` does not."""
    assert (await verifier.verify(issuer.token(oid="object"))).subject == "object"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://other.example"},
        {"aud": "another-app"},
        {"exp": NOW - timedelta(minutes=5), "iat": NOW - timedelta(hours=1)},
        {"exp": None},
        {"iat": None},
        {"sub": None},
        {"aud": None},
        {"nbf": NOW + timedelta(hours=2)},
    ],
    ids=lambda changes: "-".join(f"{name}={'absent' if value is None else 'wrong'}" for name, value in changes.items()),
)
async def test_wrong_claims_are_refused(issuer: Issuer, verifier: TokenVerifier, changes: dict[str, Any]) -> None:
    """Issuer, audience and times must be there and right."""
    with pytest.raises(Unauthenticated):
        await verifier.verify(issuer.token(**changes))


async def test_a_signature_by_another_key_is_refused(issuer: Issuer, verifier: TokenVerifier) -> None:
    """Naming a known key is not enough."""
    with pytest.raises(Unauthenticated):
        await verifier.verify(issuer.token(key=_key()))


async def test_an_altered_payload_is_refused(issuer: Issuer, verifier: TokenVerifier) -> None:
    """One changed claim breaks the signature."""
    head, payload, signature = issuer.token().split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    forged = base64.urlsafe_b64encode(json.dumps({**claims, "sub": "admin"}).encode()).rstrip(b"=").decode()
    with pytest.raises(Unauthenticated):
        await verifier.verify(f"{head}.{forged}.{signature}")


async def test_algorithm_none_is_refused(issuer: Issuer, verifier: TokenVerifier) -> None:
    """An unsigned token is no token."""
    unsigned = jwt.encode(
        {"iss": ISSUER, "aud": AUDIENCE, "sub": "x", "iat": NOW, "exp": NOW + timedelta(hours=1)},
        None,
        algorithm="none",
        headers={"kid": "first"},
    )
    with pytest.raises(Unauthenticated):
        await verifier.verify(unsigned)


async def test_key_confusion_is_refused(issuer: Issuer, verifier: TokenVerifier) -> None:
    """A token signed by HMAC with the public key as secret is refused."""
    pem = (
        issuer.keys["first"]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT","kid":"first"}').rstrip(b"=").decode()
    payload = issuer.token().split(".")[1]
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        f"{header}.{payload}".encode(), pem
    )
    encoded = base64.urlsafe_b64encode(signature).rstrip(b"=").decode()
    with pytest.raises(Unauthenticated):
        await verifier.verify(f"{header}.{payload}.{encoded}")


@pytest.mark.parametrize("garbage", ["", "x", "a.b.c", "a.b", "é.é.é", "." * 20_000])
async def test_garbage_is_refused(verifier: TokenVerifier, garbage: str) -> None:
    """What is not a token at all is refused like a bad one."""
    with pytest.raises(Unauthenticated):
        await verifier.verify(garbage)


async def test_a_cached_token_still_expires(issuer: Issuer, verifier: TokenVerifier, clock: SettableClock) -> None:
    """Verification is remembered, but not beyond the token's life."""
    token = issuer.token()
    await verifier.verify(token)
    clock.now = NOW + timedelta(hours=1, minutes=1)
    with pytest.raises(Unauthenticated):
        await verifier.verify(token)


async def test_a_new_key_is_found_by_itself(issuer: Issuer, verifier: TokenVerifier, clock: SettableClock) -> None:
    """After a rotation, tokens signed with the new key are accepted without a restart."""
    await verifier.verify(issuer.token())
    issuer.keys["second"] = _key()
    clock.now += timedelta(minutes=1)
    assert (await verifier.verify(issuer.token("second"))).subject == "someone"


async def test_a_withdrawn_key_stops_working(issuer: Issuer, verifier: TokenVerifier, clock: SettableClock) -> None:
    """An hour after the issuer withdrew a key, even remembered tokens of it are refused."""
    token = issuer.token(exp=NOW + timedelta(days=1))
    await verifier.verify(token)
    issuer.keys = {"second": _key()}
    clock.now += timedelta(hours=1, minutes=1)
    with pytest.raises(Unauthenticated):
        await verifier.verify(token)


async def test_forged_key_ids_do_not_flood_the_issuer(issuer: Issuer, verifier: TokenVerifier) -> None:
    """Unknown key ids cause at most one fetch in ten seconds."""
    await verifier.verify(issuer.token())
    before = len(issuer.fetched)
    for number in range(20):
        issuer.keys[f"forged-{number}"] = issuer.keys["first"]
        token = issuer.token(f"forged-{number}")
        del issuer.keys[f"forged-{number}"]
        with pytest.raises(Unauthenticated):
            await verifier.verify(token)
    assert len(issuer.fetched) == before


async def test_an_unreachable_issuer_is_unavailable_not_unauthenticated(
    issuer: Issuer, verifier: TokenVerifier
) -> None:
    """Without keys nobody can be judged: the caller may try again."""
    issuer.reachable = False
    with pytest.raises(Unavailable):
        await verifier.verify(issuer.token())


async def test_known_keys_outlive_the_issuers_absence(
    issuer: Issuer, verifier: TokenVerifier, clock: SettableClock
) -> None:
    """While the issuer is away the keys already known go on working."""
    await verifier.verify(issuer.token())
    issuer.reachable = False
    clock.now += timedelta(hours=2)
    assert await verifier.verify(issuer.token(exp=NOW + timedelta(days=1)))


async def test_a_slow_issuer_holds_up_one_request_for_a_second(
    issuer: Issuer, verifier: TokenVerifier, clock: SettableClock
) -> None:
    """The hourly refresh goes on behind the requests, and what it learns counts once it is there."""
    token = issuer.token(exp=NOW + timedelta(days=1))
    await verifier.verify(token)
    clock.now += timedelta(hours=2)
    issuer.answers.clear()
    issuer.keys = {"second": _key()}

    async def seconds() -> float:
        begun = perf_counter()
        await verifier.verify(token)
        return perf_counter() - begun

    async with asyncio.timeout(5):
        waits = await asyncio.gather(*(seconds() for _ in range(20)))
    assert sum(wait > 0.5 for wait in waits) == 1
    issuer.answers.set()
    for _ in range(10):
        await asyncio.sleep(0)
    with pytest.raises(Unauthenticated):
        await verifier.verify(token)


async def test_names_fit_the_columns_of_users(issuer: Issuer, verifier: TokenVerifier) -> None:
    """People choose their names: a long one is cut; an address that cannot be one is none."""
    claims = await verifier.verify(issuer.token(name="n\x00" * 300, email="x" * 256))
    assert (claims.display_name, claims.email) == ("n" * 255, None)


async def test_a_discovery_document_of_another_issuer_is_not_believed(clock: SettableClock) -> None:
    """The discovery document must name the configured issuer."""

    async def fetch(url: str) -> Mapping[str, Any]:
        return {"issuer": "https://evil.example", "jwks_uri": "https://evil.example/keys", "keys": []}

    verifier = TokenVerifier(issuer=ISSUER, audience=AUDIENCE, clock=clock, fetch=fetch)
    with pytest.raises(Unavailable):
        await verifier.verify(Issuer().token())


def test_a_machine_key_is_matched_by_its_digest() -> None:
    """Only digests are configured; the right key matches, others do not."""
    digest = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"  # of "foo"
    assert is_machine_key("foo", {digest})
    assert not is_machine_key("bar", {digest})
    assert not is_machine_key("foo", set())
