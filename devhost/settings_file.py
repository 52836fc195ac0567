"""`local.settings.json`: made from the sample, with this machine's addresses and secrets put in.

Values that a start decides (addresses, keys) are written each time; whatever else the user changed stays as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from devhost.azurite import new_account_key
from devhost.bootstrap import ROOT

SAMPLE = ROOT / "local.settings.sample.json"


def write_private(path: Path, text: str) -> None:
    """Write a file only its owner can read, in one step: readers see the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        handle.write(text)
    draft.replace(path)


@dataclass(frozen=True)
class LocalSecrets:
    """Secrets of one clone, made at its first start and kept with the local state."""

    azurite_key: str
    function_key: str

    @property
    def function_key_sha256(self) -> str:
        """What the app's settings hold of the machine key."""
        return hashlib.sha256(self.function_key.encode()).hexdigest()

    @property
    def webhook_signing_key(self) -> str:
        """What secrets of webhooks derive from; made of the machine key, so that older state needs no new secret."""
        return hashlib.sha256(f"webhooks:{self.function_key}".encode()).hexdigest()

    @classmethod
    def load(cls, path: Path) -> LocalSecrets:
        """Read them, making the file at the first use."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            made = cls(azurite_key=new_account_key(), function_key=secrets.token_urlsafe(32))
            write_private(path, json.dumps(asdict(made), indent=2))
            return made


def read_settings(path: Path) -> dict[str, Any]:
    """The whole settings file, or an empty one when there is none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_settings(path: Path, decided: Mapping[str, str], port: int, sample: Path = SAMPLE) -> dict[str, str]:
    """Bring the settings file up to date and return its values.

    decided: values of this start, which always win. port: where the app is served. New names of the sample are added,
    names and values that only the user's file has are kept.
    """
    fresh, present = read_settings(sample), read_settings(path)
    values = {**fresh["Values"], **present.get("Values", {}), **decided}
    whole = {**fresh, **present, "Values": values, "Host": {**present.get("Host", {}), "LocalHttpPort": port}}
    if whole != present:
        write_private(path, json.dumps(whole, indent=2) + "\n")
    return {name: str(value) for name, value in values.items()}
