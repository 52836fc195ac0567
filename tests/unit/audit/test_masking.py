"""What the audit log must not keep."""

import pytest

from shared.audit.masking import MASK, is_masked, masked


@pytest.mark.parametrize(
    "name",
    [
        "password", "new_password", "client_secret", "clientSecret", "access_token", "refreshToken", "Authorization",
        "api_key", "apiKey", "API-Key", "x-functions-key", "connection_string", "BLOB_CONNECTION_STRING", "sas",
        "email", "user_email", "e_mail", "displayName", "first_name", "phone", "card_number", "iban", "ip_address",
    ],
)  # fmt: skip
def test_secret_and_personal_fields_are_masked(name: str) -> None:
    """However their name is written."""
    assert is_masked(name)


@pytest.mark.parametrize(
    "name",
    [
        "name", "status", "role", "metric", "threshold", "version", "row_count", "feature_set_id", "plan_of", "key",
        "tokens_per_batch", "keyboard", "compass", "resolution_notes", "first_seen", "display", "panel", "secretary",
    ],
)  # fmt: skip
def test_other_fields_are_kept(name: str) -> None:
    """A word must be there as a word, not as a part of another."""
    assert not is_masked(name)


def test_masking_reaches_every_depth() -> None:
    """Objects in lists in objects, and a masked object as a whole; None stays, for it says that nothing was there."""
    before = {
        "role": "admin",
        "users": [{"email": "ann@example.com", "is_active": True}],
        "credentials": {"user": "ann", "password": "x"},
        "phone": None,
    }
    assert masked(before) == {
        "role": "admin",
        "users": [{"email": MASK, "is_active": True}],
        "credentials": MASK,
        "phone": None,
    }
    assert before["users"] == [{"email": "ann@example.com", "is_active": True}]
