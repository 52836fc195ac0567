"""Asks a deployed API whether it stands: ``python infra/smoke.py https://HOST/api/v1``. Standard library only.

Nothing is written and no identity is needed: it lives, its database and blobs answer, its document is there, and a
stranger is refused.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, Final

PATIENCE_SECONDS: Final = 300.0  # a cold start with the first download of the package
PAUSE_SECONDS: Final = 5.0


def ask(url: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
    """Status and JSON of one request; status 0 when nobody answers."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - the address is the operator's
            return response.status, json.loads(response.read() or b"{}")
    except urllib.error.HTTPError as error:
        try:
            return error.code, json.loads(error.read() or b"{}")
        except ValueError:
            return error.code, {}
    except (OSError, ValueError) as error:
        return 0, {"error": str(error)}


def checks(base: str) -> list[tuple[str, Callable[[], bool]]]:
    """What must hold, in the order in which it becomes true after a deployment."""
    return [
        ("it lives", lambda: ask(f"{base}/health/live")[0] == 200),
        ("its database and blobs answer", lambda: ask(f"{base}/health/ready")[0] == 200),
        ("its document is there", lambda: "paths" in ask(f"{base}/openapi.json")[1]),
        ("a stranger is refused", lambda: ask(f"{base}/predict", {"transaction": {}})[0] == 401),
        ("an unknown path is the app's 404", lambda: "error" in ask(f"{base}/no/such/path")[1]),
    ]


def main(arguments: list[str], patience: float = PATIENCE_SECONDS) -> int:
    """Try each check until it holds or patience is over; 1 when one does not."""
    [base] = arguments
    deadline = time.monotonic() + patience
    for name, holds in checks(base.rstrip("/")):
        while not holds():
            if time.monotonic() > deadline:
                print(f"no: {name}")  # noqa: T201 - a command's output
                return 1
            time.sleep(min(PAUSE_SECONDS, max(0.0, deadline - time.monotonic())))
        print(f"ok: {name}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
