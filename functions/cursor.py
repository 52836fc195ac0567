"""Cursors of lists that are too long to count: the time and id of a page's last row, opaque to callers."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from shared.platform.errors import invalid_field

Position = tuple[datetime, UUID]

# Before every row of a list that begins with the newest.
NEWEST: Final[Position] = (datetime(9999, 1, 1, tzinfo=UTC), UUID(int=2**128 - 1))


def write_cursor(position: Position | None) -> str | None:
    """The cursor that continues after ``position``."""
    if position is None:
        return None
    at, identifier = position
    return base64.urlsafe_b64encode(f"{at.isoformat()}|{identifier}".encode()).decode()


def read_cursor(cursor: str) -> Position:
    """Where a cursor points to.

    :raises InvalidContent: no list gave this one out.
    """
    try:
        at, _, identifier = base64.urlsafe_b64decode(cursor.encode()).decode().partition("|")
        position = datetime.fromisoformat(at), UUID(identifier)
        if position[0].tzinfo is None:
            raise ValueError("a cursor's time has a time zone")
    except (ValueError, binascii.Error) as error:
        raise invalid_field("cursor", "is not one that this list gave out") from error
    return position
