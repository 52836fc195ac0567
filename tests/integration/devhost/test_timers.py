"""Timers of the running host: start, schedule, by hand, and past due after a stop."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.fixtures.devhost import HostProcess


def runs(host: HostProcess, timer: str) -> list[dict[str, Any]]:
    """The runs of one timer as the sample app noted them."""
    path = host.output / "timer-runs.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [run for run in map(json.loads, lines) if run["timer"] == timer]


def wait_for_runs(host: HostProcess, timer: str, count: int) -> list[dict[str, Any]]:
    """Wait until a timer has run so often."""
    deadline = time.monotonic() + 10
    while len(found := runs(host, timer)) < count:
        assert time.monotonic() < deadline, host.log.read_text()
        time.sleep(0.05)
    return found


def test_run_on_startup_runs_once_at_start(own_host: HostProcess) -> None:
    """A timer with run_on_startup runs when the host starts, not past due; the others wait."""
    own_host.start()
    assert wait_for_runs(own_host, "run_at_start", 1)[0]["past_due"] is False
    time.sleep(0.3)
    assert len(runs(own_host, "run_at_start")) == 1
    assert runs(own_host, "run_yearly") == []


def test_six_field_schedule_counts_seconds(own_host: HostProcess) -> None:
    """A timer on every second runs every second; its schedule comes from an app setting."""
    own_host.environment["EVERY_SECOND"] = "* * * * * *"
    own_host.start()
    before = time.monotonic()
    wait_for_runs(own_host, "run_every_second", 3)
    assert 1.5 < time.monotonic() - before < 4.5


def test_timer_runs_by_hand(own_host: HostProcess) -> None:
    """POST /admin/functions/NAME with the master key runs a timer now: 202, and it receives the timer's input."""
    own_host.start()
    url = f"{own_host.url}/admin/functions/run_yearly"
    assert own_host.http.post(url).status_code == 401
    key = {"x-functions-key": own_host.keys()["master"]}
    assert own_host.http.post(url, headers=key, json={}).status_code == 202
    run = wait_for_runs(own_host, "run_yearly", 1)[0]
    assert run["schedule"] == {"AdjustForDST": True}
    assert sorted(run["status"]) == ["Last", "LastUpdated", "Next"]
    assert own_host.http.post(f"{own_host.url}/admin/functions/no_such", headers=key).status_code == 404


def test_missed_run_is_made_up_once(own_host: HostProcess) -> None:
    """A monitored timer whose time passed while the host was down runs at start, past due, and only then."""
    own_host.start()
    own_host.stop()
    path = own_host.state / "timers.json"
    status = json.loads(path.read_text())
    assert list(status) == ["run_yearly"]
    status["run_yearly"]["Next"] = "2020-01-01T03:00:00.000000Z"
    path.write_text(json.dumps(status))
    own_host.start()
    assert wait_for_runs(own_host, "run_yearly", 1)[0]["past_due"] is True
    own_host.stop()
    own_host.start()
    wait_for_runs(own_host, "run_at_start", 3)
    assert len(runs(own_host, "run_yearly")) == 1


def test_bad_schedule_stops_the_start(own_host: HostProcess) -> None:
    """A malformed schedule is reported at the start."""
    own_host.environment["EVERY_SECOND"] = "every second"
    with pytest.raises(AssertionError, match="'every second' is neither"):
        own_host.start()
