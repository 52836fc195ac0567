"""Background processes that outlive the command that started them, each with a pid file that cannot lie.

A pid file holds the process id together with the start time the kernel gives it, so a recycled id is never mistaken for
ours.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devhost.bootstrap import tail
from devhost.console import Failure


def start_time(pid: int) -> str | None:
    """The kernel's start time of a process as an opaque text, or None when it is gone (or a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    except OSError:
        return None
    else:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return None if fields[0] == "Z" else f"{boot}/{fields[19]}"
    shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip() or None


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(host: str = "127.0.0.1") -> int:
    """A port nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something answers on the port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0


_children: set[int] = set()  # ids of those that this very process started and has not collected


@dataclass(frozen=True)
class Daemon:
    """A detached process: where its pid file and its log are."""

    name: str
    directory: Path

    @property
    def pid_file(self) -> Path:
        """Where id and start time are kept."""
        return self.directory / "run" / f"{self.name}.json"

    @property
    def log(self) -> Path:
        """Standard output and error of the process."""
        return self.directory / "logs" / f"{self.name}.log"

    def pid(self) -> int | None:
        """The id of the running process, or None when it does not run."""
        try:
            kept = json.loads(self.pid_file.read_text())
            pid, started = int(kept["pid"]), str(kept["started"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return pid if start_time(pid) == started else None

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self.pid() is not None

    def spawn(self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None) -> int:
        """Start the process in a session of its own, so that closing the terminal does not end it."""
        for path in (self.pid_file, self.log):
            path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as log:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=dict(os.environ if env is None else env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        _children.add(process.pid)
        process.returncode = 0  # it outlives this object, which shall not complain about that
        started = start_time(process.pid) or ""
        draft = self.pid_file.with_suffix(".tmp")
        draft.write_text(json.dumps({"pid": process.pid, "started": started, "command": list(command)}))
        draft.replace(self.pid_file)
        return process.pid

    def wait_until(self, ready: Callable[[], bool], seconds: float, advice: str = "") -> None:
        """Wait for real readiness.

        Raises Failure with the end of the log when the process ends first or the time is over.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            if self.pid() is None:
                _reap()
                raise Failure(f"{self.name} ended while starting (log: {self.log})", advice, tail(self.log))
            if time.monotonic() > deadline:
                message = f"{self.name} is not ready after {seconds:.0f} s (log: {self.log})"
                raise Failure(message, advice, tail(self.log))
            time.sleep(0.05)

    def stop(self, seconds: float = 15.0) -> bool:
        """End the process and its children: SIGTERM, then SIGKILL. Returns whether there was one to end."""
        pid = self.pid()
        if pid is None:
            self.pid_file.unlink(missing_ok=True)
            return False
        _signal(pid, signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while self.pid() is not None:
            if time.monotonic() > deadline:
                _signal(pid, signal.SIGKILL)
                time.sleep(0.1)
                break
            _reap()
            time.sleep(0.05)
        _reap()
        self.pid_file.unlink(missing_ok=True)
        return True


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return


def _reap() -> None:
    """Collect our own children that ended, which would otherwise stay as zombies."""
    for pid in list(_children):
        try:
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                continue
        except ChildProcessError:
            pass
        _children.discard(pid)
