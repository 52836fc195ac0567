"""Where messages may be sent, and what is signed."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from shared.alerts.sending import check_url, is_public, post
from shared.alerts.signing import derive_secret, headers, shown_secret
from shared.alerts.webhooks import RETRIES, hidden, next_attempt
from shared.platform.errors import InvalidContent

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("168.63.129.16", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
    ],
)
def test_addresses_that_are_not_public_are_known(address: str, public: bool) -> None:
    """Private, local, shared and wrapped ones."""
    assert is_public(address) is public


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://example.com/hook", "must begin with https://"),
        ("ftp://example.com", "must begin with https://"),
        ("https:///hook", "names no host"),
        ("https://user:pass@example.com", "must not carry a user name or password"),
        ("https://127.0.0.1/hook", "names an address that is not public"),
        ("https://[::1]/hook", "names an address that is not public"),
        ("https://localhost./hook", "names an address that is not public"),
        ("https://example.com:port", "is not a URL"),
        ("no url", "must begin with https://"),
    ],
)
def test_urls_that_messages_must_not_go_to_are_refused(url: str, reason: str) -> None:
    """With the field and the reason."""
    with pytest.raises(InvalidContent) as refused:
        check_url(url, allow_private=False)
    assert (refused.value.details[0].field, refused.value.details[0].message) == ("url", reason)


@pytest.mark.parametrize("url", ["http://10.0.0.1:8080/hook", "https://localhost/hook"])
def test_private_receivers_may_be_allowed(url: str) -> None:
    """Plain http with them."""
    check_url(url, allow_private=True)


async def test_a_name_that_resolves_to_a_private_address_is_not_connected_to() -> None:
    """Looked at when the connection is made, not when the webhook was named."""
    outcome = await post("https://localhost.localdomain/hook", b"{}", {}, allow_private=False)
    assert outcome.status is None
    assert outcome.error in {
        "the host resolves to an address that is not public",
        "could not be reached (ClientConnectorDNSError)",
    }


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """HMAC-SHA256 of id, timestamp and body in base64, one for each secret."""
    delivery, body = UUID(int=7), b'{"type":"alert.opened"}'
    secrets = [derive_secret("k" * 32, UUID(int=1), version) for version in (2, 1)]
    sent = headers(delivery, NOW, body, secrets)
    assert sent["webhook-id"] == str(delivery)
    signed = f"{delivery}.{sent['webhook-timestamp']}.".encode() + body
    expected = [
        base64.b64encode(
            hmac.new(base64.b64decode(shown_secret(secret).removeprefix("whsec_")), signed, hashlib.sha256).digest()
        ).decode()
        for secret in secrets
    ]
    assert sent["webhook-signature"] == f"v1,{expected[0]} v1,{expected[1]}"


def test_each_webhook_and_version_has_a_secret_of_its_own() -> None:
    """And so has each signing key."""
    made = {derive_secret(key, UUID(int=n), version) for key in ("a", "b") for n in (1, 2) for version in (1, 2)}
    assert len(made) == 8


def test_attempts_come_later_and_later_and_end() -> None:
    """After the first at half a minute, after the last never."""
    assert next_attempt(1, NOW) == NOW + timedelta(seconds=30)
    assert list(RETRIES) == sorted(RETRIES)
    assert next_attempt(len(RETRIES), NOW) == NOW + RETRIES[-1]
    assert next_attempt(len(RETRIES) + 1, NOW) is None


def test_the_path_of_a_url_is_hidden() -> None:
    """It may be a secret."""
    assert hidden("https://hooks.example.com/services/T0/B0/secret?key=1") == "https://hooks.example.com/…"
