"""Folders for work of a moment."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shared.platform.scratch import scratch_folder

ROOT = Path(__file__).parents[3]
_WORK = """
import sys, time
from shared.platform.scratch import scratch_folder
with scratch_folder("work") as folder:
    (folder / "large").write_bytes(b"x")
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for temporary files of this test's own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


def _left(temp: Path) -> list[str]:
    return [path.name for path in temp.glob("shadow-hubble-scratch-*/*")]


def _make_old(temp: Path) -> None:
    for path in temp.glob("shadow-hubble-scratch-*/*"):
        os.utime(path, (0, 0))


def test_a_folder_goes_away_with_its_work(temp: Path) -> None:
    """Also when the work fails; nobody else may enter it meanwhile."""
    with pytest.raises(ValueError, match="failed"), scratch_folder("work") as folder:  # noqa: PT012
        (folder / "file").write_text("x")
        assert folder.name.startswith("work-")
        assert folder.stat().st_mode & 0o777 == 0o700
        raise ValueError("failed")
    assert _left(temp) == []


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_uses_is_not(temp: Path) -> None:
    """However old the folder is: the lock tells, not the clock."""
    worker = subprocess.Popen([sys.executable, "-c", _WORK], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert worker.stdout is not None
        used = Path(worker.stdout.readline().strip())
        _make_old(temp)
        with scratch_folder("other"):
            assert (used / "large").exists()
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.communicate()
    assert used.exists()
    with scratch_folder("other"):
        assert not used.exists()
    assert _left(temp) == []


def test_a_folder_that_is_just_being_made_is_left_alone(temp: Path) -> None:
    """Its lock file is there a moment before the lock is held."""
    with scratch_folder("first") as folder:
        pass
    lock = folder.with_name(f"{folder.name}.lock")
    lock.touch()
    with scratch_folder("second"):
        assert lock.exists()
    _make_old(temp)
    with scratch_folder("third"):
        assert not lock.exists()
