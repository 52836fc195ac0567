"""The local token issuer, validated the way the app validates tokens."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import jwt
import pytest

from devhost.issuer import mint_token, rotate_key
from tests.fixtures.devhost import HostProcess


async def validate(host: HostProcess, token: str) -> dict[str, object]:
    """Check signature, issuer, audience and expiry with the published keys."""
    discovery = host.http.get(f"{host.url}/devhost/issuer/.well-known/openid-configuration").json()
    keys = jwt.PyJWKClient(discovery["jwks_uri"], cache_keys=False)
    key = await asyncio.to_thread(keys.get_signing_key_from_jwt, token)
    claims: dict[str, object] = jwt.decode(
        token, key.key, algorithms=["RS256"], audience="shadow-hubble", issuer=discovery["issuer"]
    )
    return claims


async def test_token_endpoint_gives_valid_tokens(host: HostProcess) -> None:
    """A token from the endpoint carries subject and e-mail and passes validation."""
    response = host.http.post(f"{host.url}/devhost/issuer/token", data={"sub": "local-admin"})
    assert response.headers["cache-control"] == "no-store"
    claims = await validate(host, response.json()["access_token"])
    assert (claims["sub"], claims["email"]) == ("local-admin", "local-admin@example.com")
    assert claims["iss"] == f"{host.url}/devhost/issuer"


async def test_minted_tokens_need_no_request(host: HostProcess) -> None:
    """mint_token signs with the host's key; claims can be replaced or left out."""
    token = mint_token(host.state, "someone", "some@one.example", lifetime=timedelta(minutes=1), name=None, extra=1)
    claims = await validate(host, token)
    assert claims["email"] == "some@one.example"
    assert claims["extra"] == 1
    assert "name" not in claims


async def test_expired_and_foreign_tokens_fail(host: HostProcess) -> None:
    """Expiry, audience and issuer are real claims that validation refuses."""
    with pytest.raises(jwt.ExpiredSignatureError):
        await validate(host, mint_token(host.state, "late", lifetime=timedelta(seconds=-60)))
    with pytest.raises(jwt.InvalidAudienceError):
        await validate(host, mint_token(host.state, "other", audience="another-app"))
    with pytest.raises(jwt.InvalidIssuerError):
        await validate(host, mint_token(host.state, "other", iss="https://issuer.example"))


async def test_rotation_keeps_the_old_key_for_a_while(host: HostProcess) -> None:
    """After a rotation new tokens carry the new key's id, and tokens from before still pass."""
    old = mint_token(host.state, "before")
    kid = rotate_key(host.state)
    new = mint_token(host.state, "after")
    assert jwt.get_unverified_header(new)["kid"] == kid != jwt.get_unverified_header(old)["kid"]
    assert (await validate(host, old))["sub"] == "before"
    assert (await validate(host, new))["sub"] == "after"


def test_published_keys_hold_nothing_private(host: HostProcess) -> None:
    """The key set has the public members only."""
    for key in host.http.get(f"{host.url}/devhost/issuer/jwks").json()["keys"]:
        assert sorted(key) == ["alg", "e", "key_ops", "kid", "kty", "n", "use"]


@pytest.mark.parametrize("path", [".well-known/openid-configuration", "jwks", "token"])
def test_foreign_host_names_are_refused(host: HostProcess, path: str) -> None:
    """Under a name that is not loopback the issuer answers 403."""
    method = "POST" if path == "token" else "GET"
    url = f"{host.url}/devhost/issuer/{path}"
    assert host.http.request(method, url, headers={"host": "evil.example"}).status_code == 403


@pytest.mark.parametrize("form", [{}, {"sub": "a b"}, {"sub": "a", "lifetime": "-1"}, {"sub": "a", "grant_type": "x"}])
def test_bad_token_requests_are_400(host: HostProcess, form: dict[str, str]) -> None:
    """A missing or odd subject, a bad lifetime and another grant are refused."""
    assert host.http.post(f"{host.url}/devhost/issuer/token", data=form).status_code == 400
