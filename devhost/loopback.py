"""Whether a Host header names this machine's loopback: what is for local use only refuses every other name.

The listener is bound to loopback already; the check closes the door to a web page that makes a browser call it under
another name.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def names_loopback(host: str) -> bool:
    """Whether a Host header's value is localhost or a loopback address, with or without port."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
