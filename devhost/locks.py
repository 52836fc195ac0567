"""`make lock`: resolve the dependencies anew and write every lock file, hashes included and no registry named."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from devhost import azurite
from devhost.bootstrap import ROOT, pip_install
from devhost.console import Failure, Step

_UV_VERSION = "0.13"
_OPTIONS = (
    *("--universal", "--python-version", "3.11", "--fork-strategy", "requires-python"),
    *("--generate-hashes", "--no-emit-index-url", "--no-annotate", "--custom-compile-command", "make lock", "--quiet"),
)


def lock(upgrade: bool) -> None:
    """Write requirements.txt, requirements-dev.txt, the wheels' locks and the npm lock.

    Raises Failure when a resolver finds no solution or the network is away.
    """
    uv, more = _uv(), ["--upgrade"] if upgrade else []
    runs: list[tuple[str, list[str]]] = [
        ("requirements.txt", ["pyproject.toml"]),
        ("requirements-dev.txt", ["pyproject.toml", "--group", "dev", "-c", "requirements.txt"]),
    ]
    for output, arguments in runs:
        with Step(output):
            _run([uv, "pip", "compile", *arguments, *_OPTIONS, *more, "-o", output])
    for output in ("devhost/requirements-node.txt", "devhost/requirements-postgres.txt"):
        with Step(output):
            _relock(uv, ROOT / output)
    with Step("devhost/package-lock.json"):
        node = azurite.system_node() or azurite.wheel_node(ROOT / ".local")
        log = ROOT / ".local/logs/npm-lock.log"
        options = ["--package-lock-only", "--ignore-scripts", "--omit-lockfile-registry-resolved"]
        if node.run_npm("install", *options, cwd=ROOT / "devhost", log=log) != 0:
            raise Failure(f"npm could not resolve devhost/package.json (log: {log})", log=log.read_text())


def _relock(uv: str, path: Path) -> None:
    """Write a lock of one pinned wheel anew: same version, hashes of every platform, its comment lines kept."""
    lines = path.read_text().splitlines()
    comments = [line for line in lines if line.startswith("#")]
    pins = [line.split()[0] for line in lines if line and line[0].isalpha()]
    command = [uv, "pip", "compile", "-", *_OPTIONS, "--no-header", "--no-deps"]  # only their programs are used
    done = subprocess.run(command, cwd=ROOT, input="\n".join(pins), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failure(f"uv could not lock {path.name}", log=done.stderr)
    path.write_text("\n".join([*comments, done.stdout]))


def _uv() -> str:
    """uv from the PATH, else installed under .local."""
    found = shutil.which("uv")
    target = ROOT / ".local/uv"
    own = target / "bin/uv"
    if found is not None:
        return found
    if not own.exists():
        with Step("uv") as step:
            arguments = ["--target", str(target), f"uv~={_UV_VERSION}"]
            pip_install(Path(sys.executable), arguments, ROOT / ".local/logs/pip-uv.log", step, expected=1)
    return str(own)


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failure(f"{' '.join(command[1:4])} failed", "read the resolver's explanation above", log=done.stderr)
