"""``xgboost`` without what it drags in.

``import xgboost`` imports scikit-learn, and with it pandas, pyarrow and scipy.stats, only so that its estimator
classes (``XGBClassifier`` and so on) can inherit from scikit-learn's. The app uses the native interface alone.
Importing through
:func:`load_xgboost` makes scikit-learn look absent for exactly that one import, a case that xgboost itself supports;
measured on one machine, 1.0 s and 187 MB become 0.2 s and 59 MB.

OpenMP's threads are told to sleep rather than spin while they wait (unless ``OMP_WAIT_POLICY`` says otherwise). Where
other processes want the same processors, as on small instances, spinning makes boosting many times slower.

Nothing else changes: the refusal holds for the importing thread and ends with the import, nothing is left in
``sys.modules``, and a later ``import sklearn`` or ``import shap`` in the same process works. The estimator classes of
xgboost are then no scikit-learn estimators, which is why nothing here uses them.
"""

import os
import sys
import threading
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_OPTIONAL = "sklearn"
_lock = threading.Lock()


class _Absent(MetaPathFinder):
    """Reports scikit-learn as not installed to the thread that made this finder."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == _OPTIONAL and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"{_OPTIONAL} is not wanted here", name=_OPTIONAL)
        return None


def load_xgboost() -> ModuleType:
    """The ``xgboost`` module, imported without scikit-learn the first time; later calls cost a dictionary look-up."""
    loaded = sys.modules.get("xgboost")
    if loaded is not None and getattr(loaded, "train", None) is not None:
        return loaded
    with _lock:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        guard = _Absent()
        sys.meta_path.insert(0, guard)
        try:
            import xgboost
        finally:
            sys.meta_path.remove(guard)
    return xgboost
