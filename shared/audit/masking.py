"""What the audit log must not keep: the values of fields whose name says that they are secret or personal."""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

MASK: Final = "***"

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_WORDS: Final = frozenset(
    {
        # secrets
        "password", "passwd", "passphrase", "pwd", "secret", "secrets", "token", "authorization", "credential",
        "credentials", "cookie", "sas", "apikey",
        # persons
        "email", "phone", "telephone", "mobile", "birthday", "birthdate", "dob", "ssn", "passport", "iban", "pan",
        "cvv",
    }
)  # fmt: skip
_PAIRS: Final = frozenset(
    {
        ("api", "key"), ("access", "key"), ("account", "key"), ("function", "key"), ("functions", "key"),
        ("private", "key"), ("shared", "key"), ("connection", "string"), ("upload", "url"),
        ("e", "mail"), ("display", "name"), ("first", "name"), ("last", "name"), ("full", "name"), ("family", "name"),
        ("given", "name"), ("card", "number"), ("account", "number"), ("birth", "date"), ("street", "address"),
        ("postal", "address"), ("ip", "address"),
    }
)  # fmt: skip


def is_masked(name: str) -> bool:
    """Whether a field of this name is kept from the log.

    The name is read word by word, however it is written: ``api_key``, ``apiKey`` and ``API-Key`` are the same.
    """
    words = [word.lower() for word in _WORD.findall(name)]
    return not _WORDS.isdisjoint(words) or not _PAIRS.isdisjoint(pairwise(words))


def masked(values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` with ``***`` for each field that is to be masked, at any depth; None stays None."""
    return {name: MASK if value is not None and is_masked(name) else _inside(value) for name, value in values.items()}


def _inside(value: Any) -> Any:
    if isinstance(value, Mapping):
        return masked(value)
    if isinstance(value, list | tuple):
        return [_inside(item) for item in value]
    return value
