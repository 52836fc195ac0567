"""Signing messages as Standard Webhooks 1.0 does (https://www.standardwebhooks.com), with secrets that are not stored.

A webhook's secret is derived from the app's signing key, the webhook's id and the version of the secret; so the
database, its backups and its readers hold none.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID


def derive_secret(signing_key: str, webhook_id: UUID, version: int) -> bytes:
    """The 32 bytes that sign what this webhook is sent: HMAC-SHA256 of id and version under the app's key."""
    return hmac.digest(signing_key.encode(), f"webhook:{webhook_id}:{version}".encode(), hashlib.sha256)


def shown_secret(secret: bytes) -> str:
    """The secret as receivers' libraries take it."""
    return f"whsec_{base64.b64encode(secret).decode()}"


def headers(delivery_id: UUID, at: datetime, body: bytes, secrets: Iterable[bytes]) -> dict[str, str]:
    """``webhook-id``, which is the same for each attempt, ``webhook-timestamp`` and ``webhook-signature``: one
    ``v1,`` and base64 of HMAC-SHA256 over id, timestamp and body for each secret."""
    timestamp = str(int(at.timestamp()))
    signed = b".".join([str(delivery_id).encode(), timestamp.encode(), body])
    signatures = [base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode() for secret in secrets]
    return {
        "webhook-id": str(delivery_id),
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
