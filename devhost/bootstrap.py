"""Make `.venv` hold exactly the locked dependencies: `python3 -m devhost.bootstrap`.

Runs before anything is installed, so it uses the standard library alone and reads on Python 3.9 and newer, if only to
look for a supported interpreter elsewhere. A stamp holds the hash of the lock file; while it matches, a run costs some
milliseconds. An install that was cut short leaves its marker behind, and the next run starts from an empty environment.
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devhost.console import Failure, Step

ROOT = Path(__file__).resolve().parent.parent
OLDEST, NEWEST = (3, 11), (3, 13)
_PROBE = """
import sys, ssl, venv
print("%d %d" % sys.version_info[:2], getattr(sys, "_base_executable", "") or sys.executable)
"""


def tail(path: Path, lines: int = 20) -> str:
    """The last lines of a text file, or nothing when there is none."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file: two commands in one clone take turns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def probe(executable: str) -> tuple[tuple[int, int], str] | None:
    """Version and underlying executable of an interpreter, or None when it does not run or lacks ssl or venv."""
    try:
        done = subprocess.run([executable, "-c", _PROBE], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return None
    major, minor, base = done.stdout.split(maxsplit=2)
    return (int(major), int(minor)), base.strip()


def candidates() -> Iterator[str]:
    """Interpreters worth a look, best first: the one asked for, the running one, then those of the usual places."""
    if os.environ.get("SHADOW_HUBBLE_PYTHON"):
        yield os.environ["SHADOW_HUBBLE_PYTHON"]
        return
    yield sys.executable
    for minor in (13, 12, 11):
        yield f"python3.{minor}"
    yield "python3"
    home = os.path.expanduser("~")
    for pattern in (
        "/opt/homebrew/bin/python3.1[123]",
        "/usr/local/bin/python3.1[123]",
        "/usr/bin/python3.1[123]",
        "/Library/Frameworks/Python.framework/Versions/3.1[123]/bin/python3",
        f"{home}/.pyenv/versions/3.1[123]*/bin/python3",
        f"{home}/.local/share/uv/python/cpython-3.1[123]*/bin/python3",
    ):
        yield from sorted(glob.glob(pattern), reverse=True)


def find_python() -> str:
    """The interpreter to build the environment with.

    Raises Failure when no supported one is on the machine.
    """
    seen = []
    for name in candidates():
        found = probe(name)
        if found is None:
            continue
        version, base = found
        if OLDEST <= version <= NEWEST:
            return base
        seen.append("{} is {}.{}".format(name, *version))
    raise Failure(
        "no Python 3.11, 3.12 or 3.13 found" + (f" ({'; '.join(seen)})" if seen else ""),
        "install one of them (python.org, your package manager, pyenv, uv) and run this again; "
        "SHADOW_HUBBLE_PYTHON=/path/to/python names one that is not on the PATH",
    )


def create(venv: Path, python: str) -> None:
    """Create the virtual environment, borrowing the system's pip where ensurepip was split off."""
    made = subprocess.run([python, "-m", "venv", str(venv)], capture_output=True, text=True, check=False)
    if made.returncode == 0:
        return
    shutil.rmtree(venv, ignore_errors=True)
    bare = subprocess.run([python, "-m", "venv", "--without-pip", str(venv)], capture_output=True, check=False)
    command = [python, "-m", "pip", "--python", str(venv / "bin/python"), "install", "--quiet", "pip"]
    if bare.returncode == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0:
        return
    shutil.rmtree(venv, ignore_errors=True)
    raise Failure(
        f"{python} cannot make a virtual environment",
        "on Debian and Ubuntu: apt-get install python3-venv (or python3-pip); elsewhere: a full Python",
        log=made.stderr or made.stdout,
    )


def pip_install(python: Path, arguments: list[str], log: Path, step: Step, expected: int) -> None:
    """Run `pip install` with the user's own pip configuration, output into a log, and count what it does.

    Raises Failure with the end of the log when pip fails.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [str(python), "-m", "pip", "install", "--progress-bar", "off", "--no-input", *arguments]
    pipe = subprocess.PIPE
    with (
        open(log, "w") as record,
        subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True, errors="replace") as process,
    ):
        assert process.stdout is not None
        collected = 0
        for line in process.stdout:
            record.write(line)
            record.flush()
            if re.match(r"\s*(Collecting|Requirement already satisfied)", line):
                collected = min(collected + 1, expected)
                step.detail(f"{collected} of {expected} collected")
            elif line.startswith("Installing collected"):
                step.detail("unpacking")
    if process.returncode != 0:
        raise Failure(
            f"pip could not install the locked packages (whole log: {log})",
            "look at pip's last lines above: no network or proxy (pip config, HTTPS_PROXY), a package index that "
            "lacks a file, or a full disk; then run the same command again",
            log=tail(log),
        )


def requirements_of(lock: Path) -> int:
    """How many packages a lock file names."""
    return sum(1 for line in lock.read_text().splitlines() if re.match(r"[A-Za-z0-9]", line))


def stamp_is_fresh(stamp: Path, wanted: dict[str, str]) -> bool:
    """Whether the stamp says that what is wanted is what is there."""
    try:
        return bool(json.loads(stamp.read_text()) == wanted)
    except (OSError, ValueError):
        return False


def digest(*paths: Path) -> str:
    """SHA-256 over the contents of files."""
    whole = hashlib.sha256()
    for path in paths:
        whole.update(path.read_bytes())
    return whole.hexdigest()


def ensure_environment(root: Path = ROOT) -> Path:
    """Bring `.venv` in line with requirements-dev.txt and return its interpreter. Progress goes to standard error."""
    venv, lock = root / ".venv", root / "requirements-dev.txt"
    python, stamp, marker = venv / "bin/python", venv / "installed.json", venv / "installing"
    wanted = {"lock": digest(lock)}
    if stamp_is_fresh(stamp, wanted) and probe(str(python)) is not None:
        return python
    with exclusive(root / ".local/bootstrap.lock"):
        if stamp_is_fresh(stamp, wanted) and probe(str(python)) is not None:  # another command was faster
            return python
        found = probe(str(python)) if python.exists() else None
        usable = found is not None and OLDEST <= found[0] <= NEWEST and not marker.exists()
        if not usable:
            base = find_python()
            with Step("virtual environment", sys.stderr) as step:
                shutil.rmtree(venv, ignore_errors=True)
                create(venv, base)
                step.result = base
        stamp.unlink(missing_ok=True)
        marker.touch()
        with Step("Python packages", sys.stderr) as step:
            count = requirements_of(lock)
            pip_install(python, ["--require-hashes", "-r", str(lock)], root / ".local/logs/pip.log", step, count)
            step.result = f"{lock.name}, hashes checked"
        stamp.write_text(json.dumps(wanted))
        marker.unlink()
    return python


def main() -> int:
    """Entry point of `python3 -m devhost.bootstrap`."""
    try:
        ensure_environment()
    except Failure as failure:
        print(failure.render(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; the next run repairs the environment", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
