"""Background processes: found by id and start time, stopped with their children, never mistaken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from devhost.console import Failure
from devhost.daemons import Daemon, start_time

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
]


def _is_gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while start_time(pid) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_spawned_process_runs_and_stops(tmp_path: Path) -> None:
    """A spawned process is found by another object with the same folder, and is gone after stop."""
    pid = Daemon("sleeper", tmp_path).spawn(SLEEPER, cwd=tmp_path)
    found = Daemon("sleeper", tmp_path)
    assert found.pid() == pid
    assert found.stop()
    assert _is_gone(pid)
    assert not found.running
    assert not found.stop()


def test_process_has_a_session_of_its_own(tmp_path: Path) -> None:
    """Closing the terminal or pressing Ctrl-C there does not reach the process."""
    daemon = Daemon("sleeper", tmp_path)
    pid = daemon.spawn(SLEEPER, cwd=tmp_path)
    try:
        assert os.getsid(pid) == pid != os.getsid(0)
    finally:
        daemon.stop()


def test_recycled_id_is_never_stopped(tmp_path: Path) -> None:
    """A pid file whose id now belongs to a process that started at another time counts as stopped."""
    with subprocess.Popen(SLEEPER) as stranger:
        daemon = Daemon("sleeper", tmp_path)
        daemon.pid_file.parent.mkdir(parents=True)
        daemon.pid_file.write_text(json.dumps({"pid": stranger.pid, "started": "some other boot/1", "command": []}))
        assert daemon.pid() is None
        assert not daemon.stop()
        assert stranger.poll() is None
        stranger.kill()


def test_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """After the patience is over the process ends all the same."""
    daemon = Daemon("stubborn", tmp_path)
    pid = daemon.spawn(STUBBORN, cwd=tmp_path)
    daemon.wait_until(lambda: "up" in daemon.log.read_text(), 20)
    assert daemon.stop(seconds=0.3)
    assert _is_gone(pid)


def test_process_that_ends_early_shows_its_log(tmp_path: Path) -> None:
    """Waiting for a process that dies raises at once, with what it wrote last."""
    daemon = Daemon("broken", tmp_path)
    daemon.spawn([sys.executable, "-c", "raise SystemExit('no such database')"], cwd=tmp_path)
    with pytest.raises(Failure) as failure:
        daemon.wait_until(lambda: False, seconds=30)
    assert "broken ended while starting" in failure.value.message
    assert "no such database" in failure.value.render()


def test_process_that_never_gets_ready_is_told(tmp_path: Path) -> None:
    """Waiting ends with the time given."""
    daemon = Daemon("sleeper", tmp_path)
    daemon.spawn(SLEEPER, cwd=tmp_path)
    try:
        with pytest.raises(Failure, match="not ready after"):
            daemon.wait_until(lambda: False, seconds=0.2)
    finally:
        daemon.stop()


def test_damaged_pid_file_counts_as_stopped(tmp_path: Path) -> None:
    """Half a file is no process."""
    daemon = Daemon("sleeper", tmp_path)
    daemon.pid_file.parent.mkdir(parents=True)
    daemon.pid_file.write_text('{"pid": 1')
    assert daemon.pid() is None
