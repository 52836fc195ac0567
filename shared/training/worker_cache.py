"""What a worker keeps between slices: feature tables on local disk, prepared matrices in memory.

Both can be lost at any time and are made again; neither is ever the only copy of anything.
"""

import errno
import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from shared.platform.errors import Unavailable
from shared.training.training_set import TABLE_FORMAT, FeatureTable, build_table

_TABLES_KEPT: Final = 3
_ABANDONED_SECONDS: Final = 3600
_NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # the disk's, the user's, the process's limit


class TableCache:
    """Feature tables in a folder that only this user can read, shared by the worker processes of one machine."""

    def __init__(self, root: Path | None = None) -> None:
        self._root = root

    def find(self, feature_set_id: UUID, feature_names: Sequence[str]) -> FeatureTable | None:
        """The table, if it has been built here."""
        folder = self._folder(feature_set_id, feature_names)
        try:
            table = FeatureTable.open(folder)
        except FileNotFoundError:
            return None
        folder.touch()
        return table

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder beside the tables, for what is needed for a moment. A worker that is killed leaves it to be swept
        by a later one.

        :raises Unavailable: while it was used, the disk had no room.
        """
        root = self._safe_root()
        try:
            with tempfile.TemporaryDirectory(prefix="building-", dir=root) as folder:
                yield Path(folder)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            raise Unavailable(f"no room left on the disk of {root}", target="disk") from error

    def build(self, feature_set_id: UUID, feature_names: Sequence[str], parquet: Path) -> FeatureTable:
        """Build the table from a local Parquet file; it appears whole or not at all.

        :raises UntrainableData, Unavailable: as :func:`build_table`.
        """
        folder = self._folder(feature_set_id, feature_names)
        with self.scratch() as scratch:
            building = scratch / "table"
            building.mkdir()
            build_table(parquet, feature_names, building)
            try:
                building.rename(folder)
            except OSError:  # another worker was quicker
                if not folder.is_dir():
                    raise
        self._evict()
        return FeatureTable.open(folder)

    def _safe_root(self) -> Path:
        if self._root is None:
            user = getattr(os, "getuid", lambda: "user")()
            self._root = Path(tempfile.gettempdir(), f"shadow-hubble-training-{user}")
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid") and self._root.stat().st_uid != os.getuid():
            raise PermissionError(f"{self._root} belongs to another user")
        return self._root

    def _folder(self, feature_set_id: UUID, feature_names: Sequence[str]) -> Path:
        digest = hashlib.sha256("\x00".join((str(TABLE_FORMAT), *feature_names)).encode()).hexdigest()
        return self._safe_root() / f"table-{feature_set_id}-{digest[:16]}"

    def _evict(self) -> None:
        """Keep the tables used last. Files that someone has mapped stay readable to them."""
        root = self._safe_root()
        tables = sorted(root.glob("table-*"), key=_modified, reverse=True)
        old = time.time() - _ABANDONED_SECONDS
        abandoned = [folder for folder in root.glob("building-*") if _modified(folder) < old]
        for folder in tables[_TABLES_KEPT:] + abandoned:
            shutil.rmtree(folder, ignore_errors=True)


class PreparedCache:
    """Matrices by key, the least recently used making room. Two askers of one key build it once."""

    def __init__(self, capacity: int = 2) -> None:
        self._capacity = capacity
        self._held: OrderedDict[Hashable, Any] = OrderedDict()
        self._building: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, build: Callable[[], Any]) -> Any:
        """The value of ``key``, from ``build`` if need be."""
        with self._lock:
            building = self._building.setdefault(key, threading.Lock())
        with building:
            with self._lock:
                if key in self._held:
                    self._held.move_to_end(key)
                    return self._held[key]
                while len(self._held) >= self._capacity:  # before building: the two must not be held at once
                    self._held.popitem(last=False)
            value = build()
            with self._lock:
                self._held[key] = value
                self._building.pop(key, None)
            return value


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
