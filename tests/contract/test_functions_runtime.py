"""The app in the official Azure Functions runtime: it loads and is indexed, and functions answer there as they do here.

Needs a Python 3.13 (PATH, pyenv or uv), since the runtime is published for that and newer only. Its environment is kept
in `.local/runtime-3.13` and renewed when a lock file changes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from devhost import bootstrap
from devhost.console import Step
from tests.fixtures.devhost import PROJECT, SAMPLE_APP

pytestmark = pytest.mark.slow

VENV = PROJECT / ".local" / "runtime-3.13"
LOCKS = (PROJECT / "requirements.txt", PROJECT / "devhost" / "requirements-runtime.txt")
AT = "2026-01-01T00:00:00.000000Z"


def find_python() -> str | None:
    """A Python 3.13 of this machine, or None."""
    versions = Path.home() / ".pyenv" / "versions"
    uv = Path.home() / ".local" / "share" / "uv" / "python"
    found = [*sorted(versions.glob("3.13*/bin/python")), *sorted(uv.glob("cpython-3.13*/bin/python"))]
    for candidate in (shutil.which("python3.13"), *map(str, found)):
        answer = bootstrap.probe(candidate) if candidate else None
        if answer is not None and answer[0] == (3, 13):
            return answer[1]
    return None


@pytest.fixture(scope="session")
def runtime_python() -> Path:
    """The interpreter of an environment that holds the locked dependencies and the runtime."""
    python, stamp = VENV / "bin" / "python", VENV / "installed.json"
    wanted = {"locks": bootstrap.digest(*LOCKS)}
    with bootstrap.exclusive(VENV.with_suffix(".lock")):
        if bootstrap.stamp_is_fresh(stamp, wanted) and bootstrap.probe(str(python)) is not None:
            return python
        base = find_python()
        if base is None:
            pytest.skip("no Python 3.13 on this machine, which azure-functions-runtime needs")
        shutil.rmtree(VENV, ignore_errors=True)
        bootstrap.create(VENV, base)
        arguments = ["--require-hashes", *(part for lock in LOCKS for part in ("-r", str(lock)))]
        log = PROJECT / ".local" / "logs" / "runtime-pip.log"
        with Step("packages of the Functions runtime", sys.stderr) as step:
            bootstrap.pip_install(python, arguments, log, step, sum(map(bootstrap.requirements_of, LOCKS)))
        stamp.write_text(json.dumps(wanted))
    return python


def call_runtime(python: Path, root: Path, calls: list[dict[str, Any]], environment: dict[str, str]) -> dict[str, Any]:
    """Run the calls in a new process; see runtime_calls."""
    done = subprocess.run(
        [str(python), str(PROJECT / "tests" / "contract" / "runtime_calls.py")],
        input=json.dumps({"root": str(root), "calls": calls}),
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def http_get(path: str) -> dict[str, Any]:
    """The input of an HTTP function."""
    return {
        "req": ["http", {"method": "GET", "url": f"http://localhost/api/v1/{path}", "headers": {"host": "localhost"}}]
    }


def timer_input() -> dict[str, Any]:
    """The input of a timer."""
    return {
        "timer": ["json", json.dumps({"Schedule": {"AdjustForDST": True}, "ScheduleStatus": None, "IsPastDue": True})]
    }


def orchestrator_input(value: Any, events: list[dict[str, Any]]) -> dict[str, Any]:
    """An orchestrator's input: its beginning, its value as the client would send it, and further events."""
    started = [
        {"EventType": 12, "EventId": -1, "IsPlayed": False, "Timestamp": AT},
        {"EventType": 0, "EventId": -1, "IsPlayed": False, "Timestamp": AT, "Name": "x", "Input": None, "Version": ""},
    ]
    payload = {
        "history": [*started, *({"EventId": -1, "IsPlayed": False, "Timestamp": AT, **event} for event in events)],
        "input": json.dumps(value),
        "instanceId": "contract",
        "isReplaying": False,
        "parentInstanceId": None,
        "upperSchemaVersion": 1,
        "upperSchemaVersionNew": 2,
        "longRunningTimerIntervalDuration": "3.00:00:00",
        "maximumShortTimerDuration": "6.00:00:00",
    }
    return {"context": ["json", json.dumps(payload)]}


@pytest.fixture(scope="module")
def sample_answers(runtime_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The sample app's answers in the runtime."""
    output = tmp_path_factory.mktemp("runtime")
    scheduled = [
        {"EventType": 4, "EventId": 0, "Name": "greet"},
        {"EventType": 13},
        {"EventType": 12},
        {"EventType": 5, "TaskScheduledId": 0, "Result": '"Hello x!"'},
    ]
    calls = [
        {"function": "check_live", "inputs": http_get("health/live")},
        {"function": "report_thread", "inputs": http_get("thread")},
        {"function": "run_yearly", "inputs": timer_input()},
        {"function": "chain", "inputs": orchestrator_input(["x"], [])},
        {"function": "chain", "inputs": orchestrator_input(["x"], scheduled)},
        {"function": "greet", "inputs": {"payload": ["json", '"x"']}},
    ]
    answer = call_runtime(
        runtime_python, SAMPLE_APP, calls, {"SAMPLE_OUTPUT": str(output), "EVERY_SECOND": "0 * * * * *"}
    )
    return {**answer, "timer_runs": (output / "timer-runs.jsonl").read_text()}


def test_runtime_answers_as_the_development_host(sample_answers: dict[str, Any]) -> None:
    """HTTP, timer, orchestrator and activity of the sample app give in the runtime what the host's tests expect."""
    live, thread, timer, begun, ended, greeting = sample_answers["results"]
    assert [result["error"] for result in sample_answers["results"]] == [None] * 6
    assert live["value"] == {
        "status": "200", "headers": {"content-type": "application/json"}, "body": '{"status": "ok"}',
    }  # fmt: skip
    assert json.loads(thread["value"]["body"])["marker"] == "unset"
    assert timer["value"] is None
    assert json.loads(sample_answers["timer_runs"])["past_due"] is True
    first = json.loads(begun["value"])
    assert first["isDone"] is False
    assert [action["functionName"] for action in first["actions"][0]] == ["greet"]
    assert json.loads(ended["value"])["output"] == ["Hello x!"]
    assert greeting["value"] == '"Hello x!"'


def test_app_is_indexed_alike_by_runtime_and_host(runtime_python: Path, database_url: str, tmp_path: Path) -> None:
    """function_app.py loads in the runtime with the same functions and bindings as in the development host, and its
    liveness route, its timer and its training orchestrator run there."""
    environment = {**sample_settings(), "DATABASE_URL": database_url}
    job = "00000000-0000-0000-0000-000000000001"
    calls = [
        {"function": "check_liveness", "inputs": http_get("health/live")},
        {"function": "make_partitions", "inputs": timer_input()},
        {"function": "train_model", "inputs": orchestrator_input({"job_id": job}, [])},
    ]
    answer = call_runtime(runtime_python, PROJECT, calls, environment)
    assert answer["functions"] == indexed_here(environment)
    liveness, partitions, training = answer["results"]
    assert liveness["value"]["status"] == "200", liveness
    assert json.loads(liveness["value"]["body"])["data"] == {"status": "alive"}
    assert partitions["ok"], partitions["error"]
    state = json.loads(training["value"])
    assert state["isDone"] is False
    activities = [name for name, bindings in answer["functions"].items() if '"activityTrigger"' in "".join(bindings)]
    assert first_function(state["actions"][0][0]) in activities


def first_function(action: dict[str, Any]) -> str:
    """The function an action calls; a call with retry arrives inside a compound action."""
    inner = action.get("compoundActions")
    return first_function(inner[0]) if inner else str(action["functionName"])


def sample_settings() -> dict[str, str]:
    """The settings a newcomer starts with."""
    path = PROJECT / "local.settings.sample.json"
    values: dict[str, str] = json.loads(path.read_text("utf-8"))["Values"]
    return values


def indexed_here(environment: dict[str, str]) -> dict[str, list[str]]:
    """The functions and raw bindings as this interpreter's SDK gives them, in a process of its own."""
    script = (
        "import json, function_app\n"
        "print(json.dumps({f.get_function_name(): f.get_raw_bindings() for f in function_app.app.get_functions()}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PROJECT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    functions: dict[str, list[str]] = json.loads(done.stdout)
    return functions
