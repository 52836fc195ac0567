"""The environment's bootstrap: it finds a fit interpreter, checks stamps, and says what to do when it cannot go on."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from devhost import bootstrap
from devhost.console import Failure, Step


def _fake_python(folder: Path, name: str, version: str) -> Path:
    """A program that answers the bootstrap's probe like an interpreter of some version."""
    program = folder / name
    program.write_text(f'#!/bin/sh\necho "{version} {program}"\n')
    program.chmod(0o755)
    return program


def test_running_interpreter_is_fit() -> None:
    """The interpreter of these tests is one the bootstrap would take."""
    found = bootstrap.probe(sys.executable)
    assert found is not None
    assert found[0] == sys.version_info[:2]
    assert Path(found[1]).exists()


@pytest.mark.parametrize(("version", "fits"), [("3 10", False), ("3 11", True), ("3 13", True), ("3 14", False)])
def test_only_supported_versions_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, fits: bool
) -> None:
    """Python 3.11 to 3.13 is taken, anything else is refused with its version named."""
    program = _fake_python(tmp_path, "python-of-the-user", version)
    monkeypatch.setenv("SHADOW_HUBBLE_PYTHON", str(program))
    if fits:
        assert bootstrap.find_python() == str(program)
        return
    with pytest.raises(Failure, match=version.replace(" ", r"\.")) as failure:
        bootstrap.find_python()
    assert "SHADOW_HUBBLE_PYTHON" in failure.value.render()


def test_broken_interpreter_is_passed_over(tmp_path: Path) -> None:
    """A program that fails or does not exist is no interpreter."""
    broken = tmp_path / "python3"
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    assert bootstrap.probe(str(broken)) is None
    assert bootstrap.probe(str(tmp_path / "missing")) is None


def test_stamp_is_fresh_only_for_the_same_lock(tmp_path: Path) -> None:
    """A changed lock file, a broken stamp and a missing one all mean: install."""
    lock, stamp = tmp_path / "lock.txt", tmp_path / "stamp.json"
    lock.write_text("a==1\n")
    wanted = {"lock": bootstrap.digest(lock)}
    assert not bootstrap.stamp_is_fresh(stamp, wanted)
    stamp.write_text("{")
    assert not bootstrap.stamp_is_fresh(stamp, wanted)
    stamp.write_text(json.dumps(wanted))
    assert bootstrap.stamp_is_fresh(stamp, wanted)
    lock.write_text("a==2\n")
    assert not bootstrap.stamp_is_fresh(stamp, {"lock": bootstrap.digest(lock)})


def test_failed_install_shows_what_pip_said_and_what_to_do(tmp_path: Path) -> None:
    """A lock whose hash does not fit ends in a Failure with pip's own lines and an advice."""
    wheel = tmp_path / "nothing-1.0-py3-none-any.whl"
    wheel.write_bytes(b"not a wheel")
    lock = tmp_path / "requirements.txt"
    lock.write_text(f"nothing @ {wheel.as_uri()} --hash=sha256:{'0' * 64}\n")
    step = Step("packages", open(os.devnull, "w"))  # noqa: SIM115 - written to by the step
    with step._stream, pytest.raises(Failure) as failure:
        bootstrap.pip_install(
            Path(sys.executable),
            ["--no-index", "--target", str(tmp_path / "out"), "--require-hashes", "-r", str(lock)],
            tmp_path / "pip.log",
            step,
            expected=1,
        )
    shown = failure.value.render()
    assert "HASH" in shown.upper()
    assert "what to do: " in shown


def test_second_bootstrap_is_instant_and_silent() -> None:
    """In a prepared clone the bootstrap prints nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "devhost.bootstrap"], cwd=bootstrap.ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_bootstrap_needs_nothing_but_the_standard_library() -> None:
    """Its imports work in an interpreter without site-packages."""
    command = [sys.executable, "-S", "-c", "import devhost.bootstrap, sys; print('numpy' in sys.modules)"]
    done = subprocess.run(command, cwd=bootstrap.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", ["bootstrap.py", "console.py", "__init__.py"])
def test_bootstrap_reads_on_old_interpreters(name: str) -> None:
    """Its files parse as Python 3.9, so that an old `python3` can go and look for a newer one."""
    ast.parse((bootstrap.ROOT / "devhost" / name).read_text(), feature_version=(3, 9))
