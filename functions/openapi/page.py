"""The documentation page: one HTML document with its own script and style, and a policy that allows nothing else."""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent / "page"


def _part(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    """How a Content-Security-Policy names an inline script or style."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


@cache
def page() -> bytes:
    """The page; it reads ``openapi.json`` beside it."""
    text = _part("page.html").replace("/*style*/", _part("page.css")).replace("/*script*/", _part("page.js"))
    return text.encode()


@cache
def content_security_policy() -> str:
    """Its own script and style by their hashes, requests to this host alone, and no frame around it."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_source(_part('page.js'))}",
            f"style-src {_source(_part('page.css'))}",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
