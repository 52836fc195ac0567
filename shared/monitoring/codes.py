"""One byte a value: the codes that every monitored column shares."""

from typing import Final

MAX_CELLS: Final = 128
MISSING_CODE: Final = 255
UNSEEN_CODE: Final = 254  # of a category or group that the reference does not know
