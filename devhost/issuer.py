"""A local OpenID Connect issuer, so that the app validates real tokens on a developer's machine.

It serves discovery, the key set and a token endpoint that gives out a token for any subject: for local use only, so it
refuses requests whose Host header is no loopback name, and the host listens on loopback only.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from devhost.asgi import Handler, Request, Response
from devhost.keys import write_private
from devhost.loopback import names_loopback

FILE_NAME = "issuer.json"
ISSUER_PATH = "/devhost/issuer"
DEFAULT_AUDIENCE = "shadow-hubble"
DEFAULT_LIFETIME = timedelta(hours=8)
RETIRED_KEY_LIFETIME = timedelta(hours=24)  # a rotated key stays in the key set at least as long as its tokens live
_SUBJECT = re.compile(r"[A-Za-z0-9._@|-]{1,128}")


def _new_key() -> dict[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return {"kid": uuid4().hex, "pem": pem, "created": datetime.now(UTC).isoformat()}


@contextmanager
def _locked(state_dir: Path) -> Iterator[dict[str, Any]]:
    """The issuer's state under a lock: `keys` (the first one signs) and `issuer`. Changes are kept."""
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = state_dir / FILE_NAME
    lock = os.open(path.with_name(FILE_NAME + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = path.read_text("utf-8") if path.exists() else ""
        state: dict[str, Any] = json.loads(before) if before else {"issuer": "", "keys": [_new_key()]}
        yield state
        after = json.dumps(state, indent=1)
        if after != before:
            write_private(path, after.encode())
    finally:
        os.close(lock)


def rotate_key(state_dir: Path) -> str:
    """Sign with a new key from now on and return its id; the old one stays in the key set for a day."""
    with _locked(state_dir) as state:
        limit = datetime.now(UTC) - RETIRED_KEY_LIFETIME
        retired = [key for key in state["keys"] if datetime.fromisoformat(key.get("retired", key["created"])) > limit]
        for key in state["keys"][:1]:
            key["retired"] = datetime.now(UTC).isoformat()
            retired = [key, *(other for other in retired if other is not key)]
        state["keys"] = [_new_key(), *retired]
        kid: str = state["keys"][0]["kid"]
        return kid


def mint_token(
    state_dir: Path,
    subject: str,
    email: str | None = None,
    audience: str = DEFAULT_AUDIENCE,
    lifetime: timedelta = DEFAULT_LIFETIME,
    **overrides: Any,
) -> str:
    """Sign an RS256 token with the key of a host's state directory, the host running or not.

    `email` is `<subject>@example.com` unless given. `overrides` replace claims; a claim set to None is left out.
    The issuer claim is the URL under which the host last ran, so a host must have run once or `iss` be given.
    """
    now = datetime.now(UTC)
    with _locked(state_dir) as state:
        issuer, key = state["issuer"], state["keys"][0]
    claims: dict[str, Any] = {
        "iss": issuer,
        "sub": subject,
        "aud": audience,
        "email": email or f"{subject}@example.com",
        "name": subject,
        "iat": int(now.timestamp()),
        "nbf": int(now.timestamp()),
        "exp": int((now + lifetime).timestamp()),
        "jti": uuid4().hex,
    }
    claims = {name: value for name, value in (claims | overrides).items() if value is not None}
    return jwt.encode(claims, key["pem"], algorithm="RS256", headers={"kid": key["kid"]})


def key_set(state_dir: Path) -> dict[str, Any]:
    """The public keys as a JSON Web Key Set: the signing key first, then rotated ones."""
    with _locked(state_dir) as state:
        keys = list(state["keys"])
    public = []
    for key in keys:
        loaded = serialization.load_pem_private_key(key["pem"].encode(), None)
        assert isinstance(loaded, rsa.RSAPrivateKey)
        jwk: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(loaded.public_key(), as_dict=True)
        public.append(jwk | {"kid": key["kid"], "use": "sig", "alg": "RS256"})
    return {"keys": public}


class Issuer:
    """The issuer's endpoints under `/devhost/issuer`."""

    def __init__(self, state_dir: Path, url: str) -> None:
        self._state_dir = state_dir
        self._url = url
        with _locked(state_dir) as state:
            state["issuer"] = url
        prefix = ISSUER_PATH.lstrip("/") + "/"
        self.handlers: dict[str, Handler] = {prefix: self._answer}

    async def _answer(self, request: Request) -> Response:
        if not names_loopback(request.headers.get("host", "")):
            return Response(403)
        match request.method, request.path.removeprefix(ISSUER_PATH.lstrip("/")):
            case "GET", "/.well-known/openid-configuration":
                return _json(200, self._discovery())
            case "GET", "/jwks":
                return _json(200, key_set(self._state_dir))
            case "POST", "/token":
                return self._token(request)
            case _:
                return Response(404)

    def _discovery(self) -> dict[str, Any]:
        return {
            "issuer": self._url,
            "jwks_uri": f"{self._url}/jwks",
            "token_endpoint": f"{self._url}/token",
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": ["token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "claims_supported": ["iss", "sub", "aud", "email", "name", "iat", "nbf", "exp", "jti"],
        }

    def _token(self, request: Request) -> Response:
        """Give a token: form fields `sub` (or client_id), and optionally `email`, `audience`, `lifetime` in seconds."""
        if "application/x-www-form-urlencoded" not in request.headers.get("content-type", ""):
            return _json(400, {"error": "invalid_request", "error_description": "send form fields"})
        form = {name: values[-1] for name, values in parse_qs(request.body.decode("utf-8", "replace")).items()}
        subject = form.get("sub") or form.get("client_id") or ""
        lifetime = form.get("lifetime", str(int(DEFAULT_LIFETIME.total_seconds())))
        if form.get("grant_type", "client_credentials") != "client_credentials":
            return _json(400, {"error": "unsupported_grant_type"})
        if not _SUBJECT.fullmatch(subject) or not re.fullmatch(r"[0-9]{1,6}", lifetime):
            return _json(
                400, {"error": "invalid_request", "error_description": "sub or lifetime is missing or malformed"}
            )
        token = mint_token(
            self._state_dir,
            subject,
            form.get("email"),
            form.get("audience", DEFAULT_AUDIENCE),
            timedelta(seconds=int(lifetime)),
        )
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": int(lifetime)}
        return _json(200, answer, (b"cache-control", b"no-store"))


def _json(status: int, value: Any, *headers: tuple[bytes, bytes]) -> Response:
    return Response(status, json.dumps(value).encode(), [(b"content-type", b"application/json"), *headers])
