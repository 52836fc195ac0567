"""`make lint`, `make format` and `make test`: what a change must pass, one command after the other."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from devhost.bootstrap import ROOT

LINTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ruff check", ("-m", "ruff", "check", ".")),
    ("ruff format", ("-m", "ruff", "format", "--check", ".")),
    ("mypy", ("-m", "mypy")),
    ("import contracts", ("-c", "from importlinter.cli import lint_imports_command as run; run()")),
)
WORKERS = "2"


def lint() -> int:
    """Run every check, even after one that fails; returns how many failed."""
    failed = 0
    for title, arguments in LINTS:
        begun = time.monotonic()
        done = _python(arguments, capture=True)
        mark = "ok  " if done.returncode == 0 else "FAIL"
        print(f"  {mark} {title:<28} {time.monotonic() - begun:6.1f} s", flush=True)
        if done.returncode != 0:
            failed += 1
            print(done.stdout + done.stderr, flush=True)
    return failed


def reformat() -> int:
    """Let ruff rewrite what it can."""
    first = _python(("-m", "ruff", "check", "--fix", "."))
    second = _python(("-m", "ruff", "format", "."))
    return first.returncode or second.returncode


def test(arguments: Sequence[str]) -> int:
    """Lint, then the tests; returns 0 when both pass. Arguments go to pytest and leave the lints out."""
    print("Checks", flush=True)
    failed = 0 if arguments else lint()
    print("Tests", flush=True)
    command = ["-m", "pytest", "-n", WORKERS, "--dist", "loadfile", *arguments]
    code = _python(command).returncode
    if failed:
        print(f"{failed} of {len(LINTS)} checks failed, see above", file=sys.stderr)
    return code or min(failed, 1)


def _python(arguments: Sequence[str], capture: bool = False, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=capture, text=True, env=os.environ, check=False
    )
