"""The first five minutes: `make start` trains a model and scores a transaction, and what it prints can be copied."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from devhost.bootstrap import ROOT
from devhost.daemons import free_port
from devhost.ports import PREFERRED_PORTS
from devhost.services import LocalServices
from devhost.settings_file import read_settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
DEVHOST = [sys.executable, "-m", "devhost"]
UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


class Clone:
    """A local run of its own, driven by the commands a user types."""

    def __init__(self, folder: Path) -> None:
        self.services = LocalServices(state=folder)
        self.services.ports.keep({name: free_port() for name in PREFERRED_PORTS})
        self.environment = {**os.environ, "SHADOW_HUBBLE_LOCAL": str(folder)}

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the clone's folder, whatever its exit code."""
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=600, check=False
        )

    def prediction_count(self) -> int:
        """Rows of the predictions table."""
        address = read_settings(self.services.settings)["Values"]["DATABASE_URL"]
        with psycopg.connect(address) as connection:
            row = connection.execute("SELECT count(*) FROM predictions").fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """A clone without data; everything it started is stopped and deleted at the end."""
    made = Clone(tmp_path_factory.mktemp("clone"))
    yield made
    made.services.reset()


@pytest.fixture(scope="module")
def first_start(clone: Clone) -> str:
    """What the first start printed."""
    done = clone.run(*DEVHOST, "start")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def commands_in(screen: str) -> list[str]:
    """The curl commands on the screen, each as a user would paste it."""
    joined = screen.replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip().startswith("curl ")]


def test_first_start_ends_with_a_scored_transaction(clone: Clone, first_start: str) -> None:
    """The screen shows score, decision, three reasons and ids; the prediction is in the database."""
    found = re.search(r"fraud score\s+(\d\.\d+), (FRAUD|genuine)", first_start)
    assert found is not None
    assert found[2] == "FRAUD"
    assert re.search(rf"prediction\s+{UUID}", first_start)
    assert re.search(r"reasons\s+1\. .+\n\s+2\. .+\n\s+3\. .+\n", first_start)
    assert re.search(r"an ordinary .*\n\s+score \d\.\d+, genuine", first_start)
    assert clone.services.url in first_start
    assert clone.prediction_count() == 2


def test_printed_commands_work(clone: Clone, first_start: str) -> None:
    """Every curl command, pasted into a shell in the clone's folder, answers with data, or writes the report."""
    commands = commands_in(first_start)
    assert len(commands) >= 4
    for command in commands:
        shell_command = command.replace("make -s token", f"{sys.executable} -m devhost token").replace("ROLE=", "")
        done = clone.run("bash", "-c", shell_command)
        if " -o " in command:
            written = ROOT / command.rpartition(" -o ")[2]
            assert written.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
            continue
        answer: dict[str, Any] = json.loads(done.stdout)
        assert "data" in answer, (command, answer)


def test_second_start_is_quick_and_scores_again(clone: Clone, first_start: str) -> None:
    """A start of what runs already takes seconds, trains nothing, and scores with the same model."""
    before = clone.prediction_count()
    done = clone.run(*DEVHOST, "start")
    assert done.returncode == 0, done.stdout + done.stderr
    seconds = re.search(r"ready in ([\d.]+) s", done.stdout)
    assert seconds is not None
    assert float(seconds[1]) < 15
    assert "training" not in done.stdout
    model = re.search(r"  model  .+\)", first_start)
    assert model is not None
    assert model[0] in done.stdout
    assert clone.prediction_count() == before + 2


@pytest.mark.parametrize("role", ["admin", "scientist", "analyst"])
def test_token_prints_a_token_and_nothing_else(clone: Clone, first_start: str, role: str) -> None:
    """Standard output is one JSON Web Token, whose user has the role in the app."""
    done = clone.run(*DEVHOST, "token", role)
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", done.stdout)
    header = f"Authorization: Bearer {done.stdout.strip()}"
    answer = clone.run("curl", "-s", f"{clone.services.url}/api/v1/users/me", "-H", header)
    assert json.loads(answer.stdout)["data"]["role"] == role


def test_unknown_role_is_refused_with_the_known_ones(clone: Clone, first_start: str) -> None:
    """A wrong role ends in one line that names the right ones, not in a traceback."""
    done = clone.run(*DEVHOST, "token", "root")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "admin, scientist, analyst" in done.stderr
    assert "Traceback" not in done.stderr


def test_stop_and_start_again_keep_the_model(clone: Clone, first_start: str) -> None:
    """After a stop nothing runs; the next start is ready in under 15 seconds with the model it had."""
    assert clone.run(*DEVHOST, "stop").stdout == "stopped: host, azurite, postgres\n"
    assert clone.run(*DEVHOST, "status").returncode == 3
    done = clone.run(*DEVHOST, "start")
    seconds = re.search(r"ready in ([\d.]+) s", done.stdout)
    assert seconds is not None, done.stdout + done.stderr
    assert float(seconds[1]) < 15
    assert "training" not in done.stdout
