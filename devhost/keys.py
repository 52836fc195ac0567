"""Host keys: the master key, the default function key and the durable extension's system key, kept in a 0600 file."""

from __future__ import annotations

import hmac
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

FILE_NAME = "host-keys.json"


@dataclass(frozen=True, slots=True)
class HostKeys:
    """Keys as random URL-safe text."""

    master: str
    function: str
    durable: str

    def allows(self, level: str, given: str | None) -> bool:
        """Whether a key opens a function of this level (anonymous, function or admin, in any case)."""
        if level == "anonymous":
            return True
        if not given:
            return False
        if hmac.compare_digest(given.encode(), self.master.encode()):
            return True
        return level == "function" and hmac.compare_digest(given.encode(), self.function.encode())


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, replacing an older one in one step."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load_keys(state_dir: Path) -> HostKeys:
    """Read the keys of a state directory, making them at the first start."""
    path = state_dir / FILE_NAME
    if path.exists():
        return HostKeys(**json.loads(path.read_text("utf-8")))
    keys = HostKeys(*(secrets.token_urlsafe(32) for _ in range(3)))
    write_private(path, json.dumps(asdict(keys), indent=1).encode())
    return keys
