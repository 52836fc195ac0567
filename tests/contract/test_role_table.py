"""The role table: every route with every kind of caller, and the status that each must get.

Made from the endpoints and the access table, so a new route is in it without being written down here.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any
from uuid import uuid4

import azure.functions as func
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr

import function_app
from devhost.issuer import DEFAULT_AUDIENCE, FILE_NAME, key_set, mint_token
from functions import composition
from functions.access import ROUTES
from functions.endpoint import ENDPOINTS, Endpoint
from shared.platform.identity import TokenVerifier
from shared.platform.settings import Settings
from shared.users.model import Role
from tests.fixtures.app import MACHINE_KEY

ISSUER = "https://issuer.test"
DURABLE = json.dumps({"taskHubName": "test", "creationUrls": {}, "managementUrls": {}, "baseUrl": "http://localhost"})
Headers = dict[str, str]
LET_IN = "let in"  # past identity and role; what comes then is the business of other tests
PROVEN = ("admin", "scientist", "analyst", "machine", "inactive user")


class Forger:
    """Makes tokens that must not be accepted, out of one that would be: that of an administrator."""

    def __init__(self, issuer: Path) -> None:
        self._issuer = issuer
        self.valid = self.minted()
        self.header = jwt.get_unverified_header(self.valid)
        self.claims = jwt.decode(self.valid, options={"verify_signature": False})
        self.public = key_set(issuer)["keys"][0]
        self.private = json.loads((issuer / FILE_NAME).read_text())["keys"][0]["pem"]
        self.stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def minted(self, **changes: Any) -> str:
        """Signed by the issuer, with other claims or none (None)."""
        return mint_token(self._issuer, "admin", **{"iss": ISSUER, **changes})

    def signed(self, key: Any, algorithm: str = "RS256", **header: Any) -> str:
        """The right claims, signed by a key of one's own choice."""
        return jwt.encode(self.claims, key, algorithm=algorithm, headers={"kid": self.header["kid"], **header})

    def raw(self, header: Mapping[str, Any], sign: Callable[[bytes], bytes], **claims: Any) -> str:
        """Put together by hand, as libraries refuse to."""
        signing_input = b".".join(_encoded(json.dumps(part).encode()) for part in (header, {**self.claims, **claims}))
        return (signing_input + b"." + _encoded(sign(signing_input))).decode()

    def tokens(self) -> dict[str, str]:
        """Every forgery by name."""
        now = datetime.now(UTC)
        pem = jwt.PyJWK(self.public, algorithm="RS256").key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        hs256 = {**self.header, "alg": "HS256"}
        head, payload, signature = self.valid.split(".")
        stranger = jwt.algorithms.RSAAlgorithm.to_jwk(self.stranger.public_key(), as_dict=True)
        return {
            "expired": self.minted(lifetime=timedelta(hours=-1)),
            "not valid yet": self.minted(nbf=int((now + timedelta(hours=1)).timestamp())),
            "issued in the future": self.minted(iat=int((now + timedelta(hours=1)).timestamp())),
            "without expiry": self.minted(exp=None),
            "wrong audience": self.minted(audience="another-app"),
            "no audience": self.minted(aud=None),
            "wrong issuer": self.minted(iss="https://issuer.example"),
            "issuer with a slash": self.minted(iss=f"{self.claims['iss']}/"),
            "no subject": self.minted(sub=None),
            "wrong key": self.signed(self.stranger),
            "unknown key": self.signed(self.stranger, kid="unknown"),
            "key in its own header": self.signed(self.stranger, jwk=stranger),
            "key at an address": self.signed(self.stranger, jku="https://issuer.example/keys"),
            "no key named": jwt.encode(self.claims, self.private, algorithm="RS256"),
            "another algorithm of the right key": self.signed(self.private, "RS512"),
            "algorithm none": self.raw({**self.header, "alg": "none"}, lambda _: b""),
            "algorithm nOnE": self.raw({**self.header, "alg": "nOnE"}, lambda _: b""),
            "algorithm none, signature kept": self.raw({**self.header, "alg": "none"}, lambda _: b"x" * 256),
            "no signature": f"{head}.{payload}.",
            "key confusion by PEM": self.raw(hs256, lambda text: hmac.digest(pem, text, "sha256")),
            "key confusion by modulus": self.raw(
                hs256, lambda text: hmac.digest(self.public["n"].encode(), text, hashlib.sha256)
            ),
            "key confusion under RS256": self.raw(self.header, lambda text: hmac.digest(pem, text, "sha256")),
            "altered": ".".join(
                [head, _encoded(json.dumps({**self.claims, "sub": "root"}).encode()).decode(), signature]
            ),
            "cut": self.valid[:-6],
            "garbage": "garbage",
            "three dots": "a.b.c",
            "too long": "a" * 20_000,
            "function key": MACHINE_KEY,
        }


def _encoded(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


@cache
def http_functions() -> dict[str, Any]:
    """The app's HTTP functions by name; azure.functions lets itself be asked for them once only."""
    functions = function_app.app.get_functions()
    return {
        function.get_function_name(): function
        for function in functions
        if function.get_trigger().get_dict_repr()["type"] == "httpTrigger"
    }


class App:
    """The app's HTTP functions, called in this process as a host calls them."""

    def __init__(self, issuer: Path) -> None:
        self.issuer = issuer
        self._functions = {name: function.get_user_function() for name, function in http_functions().items()}

    def token(self, subject: str, **changes: Any) -> Headers:
        """The header of a user of the issuer."""
        return {"authorization": f"Bearer {mint_token(self.issuer, subject, **{'iss': ISSUER, **changes})}"}

    async def call(
        self, name: str, headers: Headers, body: Any = None, params: Mapping[str, str] = {}, **path: str
    ) -> tuple[func.HttpResponse, dict[str, Any]]:
        """The response and its JSON document."""
        entry = next(entry for entry in ENDPOINTS if entry.name == name)
        content = {} if body is None else {"content-type": "application/json"}
        request = func.HttpRequest(
            method=entry.method,
            url=f"http://localhost/api/v1/{entry.route}",
            headers={**content, **headers},
            params=params,
            route_params=path,
            body=b"" if body is None else json.dumps(body).encode(),
        )
        client = {"client": DURABLE} if "client" in signature(self._functions[name]).parameters else {}
        response = await self._functions[name](req=request, **client)
        document = json.loads(response.get_body()) if response.mimetype == "application/json" else {}
        return response, document

    async def change(self, admin: Headers, user: Headers, **patch: Any) -> dict[str, Any]:
        """Change the user that ``user`` signs in as, and answer with what it was before."""
        _, me = await self.call("get_me", user)
        response, _ = await self.call("update_user", admin, patch, user_id=me["data"]["id"])
        assert response.status_code == 200
        before: dict[str, Any] = me["data"]
        return before


@pytest.fixture(scope="module")
async def app(
    module_database_url: str, blob_connection_string: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[App]:
    """The app on a database of its own, with tokens of an issuer of its own."""
    issuer = tmp_path_factory.mktemp("issuer")

    async def published(url: str) -> Mapping[str, Any]:
        return key_set(issuer)

    settings = Settings(
        database_url=SecretStr(module_database_url),
        blob_connection_string=SecretStr(blob_connection_string),
        oidc_issuer=ISSUER,
        oidc_audience=DEFAULT_AUDIENCE,
        bootstrap_admins=frozenset({"admin"}),
        function_key_sha256s=frozenset({hashlib.sha256(MACHINE_KEY.encode()).hexdigest()}),
    )
    services = composition.Services(settings)
    services.tokens = TokenVerifier(issuer=ISSUER, audience=DEFAULT_AUDIENCE, jwks_url=ISSUER, fetch=published)
    await services.blobs.ensure_container()
    await services.database.open()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(composition, "_services", services)
        yield App(issuer)
        await services.denials.close()
        await services.database.close()
        await services.blobs.close()


@pytest.fixture(scope="module")
async def callers(app: App) -> dict[str, Headers]:
    """The headers of every kind of caller: of each role, of a deactivated one, and of everybody who proves nothing."""
    admin = app.token("admin")
    found: dict[str, Headers] = {"admin": admin, "machine": {"x-functions-key": MACHINE_KEY}}
    for name in ("scientist", "analyst", "inactive user"):
        found[name] = app.token(name.replace(" ", "-"))
        inactive = name == "inactive user"
        await app.change(admin, found[name], role="admin" if inactive else name, is_active=not inactive)
    found |= {name: {"authorization": f"Bearer {token}"} for name, token in Forger(app.issuer).tokens().items()}
    found["no token"] = {}
    found["empty header"] = {"authorization": ""}
    found["empty token"] = {"authorization": "Bearer "}
    found["another scheme"] = {"authorization": "Basic bG9jYWwtYWRtaW46"}
    found["a token without scheme"] = {"authorization": admin["authorization"].removeprefix("Bearer ")}
    found["wrong function key"] = {"x-functions-key": "guess"}
    found["empty function key"] = {"x-functions-key": ""}
    found["bad token, good function key"] = {"authorization": "Bearer x", "x-functions-key": MACHINE_KEY}
    return found


def _expected(entry: Endpoint, caller: str) -> int | str:
    access = ROUTES[entry.method, entry.route]
    if access is None:
        return LET_IN
    if caller not in PROVEN:
        return 401
    if caller == "inactive user" or Role(caller) not in access:
        return 403
    return LET_IN


@pytest.mark.parametrize("entry", ENDPOINTS, ids=lambda entry: entry.name)
async def test_each_caller_gets_the_status_of_the_table(app: App, callers: dict[str, Headers], entry: Endpoint) -> None:
    """Let in, 401 or 403; the refusals have the one error shape, and a 401 names the scheme."""
    path = {name: str(uuid4()) for name in re.findall(r"\{(\w+):guid\}", entry.route)}
    statuses: dict[str, int | str] = {}
    for caller, headers in callers.items():
        response, document = await app.call(entry.name, headers, **path)
        status = response.status_code
        statuses[caller] = status if status in {401, 403, 500} else LET_IN
        if status in {401, 403}:
            assert document["error"]["code"] == {401: "unauthenticated", 403: "forbidden"}[status]
            assert response.headers.get("www-authenticate") == {401: "Bearer", 403: None}[status]
    assert statuses == {caller: _expected(entry, caller) for caller in callers}


def test_every_route_has_its_roles_and_every_entry_its_route() -> None:
    """The access table and the app name the same routes."""
    assert {(entry.method, entry.route) for entry in ENDPOINTS} == set(ROUTES)


def test_every_http_function_goes_through_the_endpoint_decorator() -> None:
    """No function answers HTTP beside the decorator, save the one for unknown paths, which sorts last."""
    names = set(http_functions())
    assert names - {entry.name for entry in ENDPOINTS} == {"zz_unmatched_route"}
    assert max(names, key=str.lower) == "zz_unmatched_route"


async def _denials(app: App, request_id: str) -> list[dict[str, Any]]:
    _, document = await app.call(
        "list_audit_logs", app.token("admin"), params={"request_id": request_id, "action": "DENY"}
    )
    found: list[dict[str, Any]] = document["data"]
    return found


async def test_a_forbidden_attempt_is_in_the_audit_log(app: App) -> None:
    """Who, on what, why and from where; the entry is there when the answer is."""
    model, headers = str(uuid4()), {**app.token("curious"), "x-request-id": "denied", "user-agent": "curl"}
    _, me = await app.call("get_me", headers)
    response, _ = await app.call("archive_model", headers, {"reason": "x"}, model_id=model)
    (entry,) = await _denials(app, "denied")
    assert (response.status_code, entry["user_id"], entry["user_email"]) == (
        403,
        me["data"]["id"],
        "curious@example.com",
    )
    assert (entry["resource_type"], entry["resource_id"], entry["user_agent"]) == ("endpoint", model, "curl")
    assert entry["metadata"] == {"cause": "role", "function": "archive_model", "role": "analyst"}


async def test_a_deactivated_user_is_named_in_the_audit_log(app: App) -> None:
    """Although nobody got in."""
    headers = {**app.token("leaver"), "x-request-id": "left"}
    me = await app.change(app.token("admin"), headers, is_active=False)
    response, _ = await app.call("get_me", headers)
    (entry,) = await _denials(app, "left")
    assert (response.status_code, entry["user_id"], entry["metadata"]["cause"]) == (403, me["id"], "deactivated")


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"lifetime": timedelta(hours=-1)}, "token_expired"),
        ({"audience": "another-app"}, "token_audience"),
        ({"iss": "https://issuer.example"}, "token_issuer"),
    ],
    ids=["expired", "audience", "issuer"],
)
async def test_a_rejected_token_that_the_issuer_signed_names_its_subject(
    app: App, changes: dict[str, Any], cause: str
) -> None:
    """It proves who tried, though not that they may."""
    response, _ = await app.call("get_me", {**app.token("late", **changes), "x-request-id": cause})
    (entry,) = await _denials(app, cause)
    assert (response.status_code, entry["user_id"]) == (401, None)
    assert entry["metadata"] == {"cause": cause, "subject": "late"}


async def test_a_role_counts_from_the_next_request_on(app: App) -> None:
    """Given or taken, with a token that the app has verified and remembers."""
    admin, headers = app.token("admin"), app.token("second")
    statuses = []
    for patch in ({"role": "admin"}, {"role": "analyst"}, {"role": "admin"}, {"is_active": False}):
        await app.change(admin, headers, **patch)
        response, _ = await app.call("list_users", headers)
        statuses.append(response.status_code)
    assert statuses == [200, 403, 200, 403]


async def test_pages_follow_each_other_by_cursor(app: App) -> None:
    """Every entry once, newest first; the last page has no cursor, and a cursor made up is refused."""
    admin = app.token("admin")
    for number in range(5):
        await app.call("get_me", {**app.token(f"reader-{number}"), "x-request-id": "paged"})
    seen, cursor = [], None
    while True:
        params = {"request_id": "paged", "page_size": "2"} | ({} if cursor is None else {"cursor": cursor})
        _, document = await app.call("list_audit_logs", admin, params=params)
        seen += [entry["created_at"] for entry in document["data"]]
        cursor = document["meta"]["pagination"]["next_cursor"]
        if cursor is None:
            break
    assert (len(seen), seen) == (5, sorted(seen, reverse=True))
    response, document = await app.call("list_audit_logs", admin, params={"cursor": "made-up"})
    assert (response.status_code, document["error"]["target"]) == (422, "cursor")
