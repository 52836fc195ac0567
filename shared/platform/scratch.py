"""Folders for work of a moment, which go away with it: at its end, or when somebody finds that its process has died.

Each folder has a lock file beside it that its process holds as long as it lives, however it dies. Whoever needs a
folder first removes those whose lock is free.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import time
from typing import IO, Final

_YOUNG_SECONDS: Final = 60  # between making a lock file and holding the lock; nobody needs that long
_SUFFIX: Final = ".lock"


@contextmanager
def scratch_folder(purpose: str) -> Iterator[Path]:
    """An empty folder that only this user can enter.

    :param purpose: begins its name.
    :raises PermissionError: the place for such folders belongs to another user.
    """
    root = _root()
    sweep(root)
    descriptor, lock = tempfile.mkstemp(prefix=f"{purpose}-", suffix=_SUFFIX, dir=root)
    with os.fdopen(descriptor, "wb") as held:
        _try_lock(held)
        folder = Path(lock).with_suffix("")
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            Path(lock).unlink(missing_ok=True)


def sweep(root: Path) -> list[str]:
    """Remove the folders in ``root`` whose processes are gone; returns their names."""
    swept = []
    for lock in root.glob(f"*{_SUFFIX}"):
        with suppress(OSError):  # it has gone meanwhile
            if time() - lock.stat().st_mtime < _YOUNG_SECONDS:
                continue
            with lock.open("rb") as free:
                if _try_lock(free):
                    shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                    lock.unlink()
                    swept.append(lock.stem)
    return swept


def _root() -> Path:
    user = getattr(os, "getuid", lambda: "user")()
    root = Path(tempfile.gettempdir(), f"shadow-hubble-scratch-{user}")
    root.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and root.stat().st_uid != os.getuid():
        raise PermissionError(f"{root} belongs to another user")
    return root


def _try_lock(file: IO[bytes]) -> bool:
    """Whether nobody else held the lock; always taken as held where the system has no such locks."""
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
