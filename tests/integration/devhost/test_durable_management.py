"""Controlling instances: through the app's durable client and through the webhook URLs."""

from __future__ import annotations

import time

import httpx
import pytest

from tests.fixtures.devhost import HostProcess


def wait_for_custom_status(host: HostProcess, instance: str, value: object) -> None:
    """Wait until the orchestrator has got so far."""
    deadline = time.monotonic() + 10
    while host.status(instance)["customStatus"] != value:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_running_id_cannot_be_started_again(host: HostProcess) -> None:
    """A second start under a running id is refused with 409, and the client raises."""
    host.begin("wait_event", "twice")
    rpc = host.http.post(f"{host.url}/durabletask/orchestrators/wait_event/twice", json=None)
    assert rpc.status_code == 409
    refused = host.api("POST", "start/wait_event/twice")
    assert refused.status_code == 500
    assert "already exists" in host.log.read_text()
    host.client("terminate", "twice", "end of test")


def test_ended_id_may_be_used_again(host: HostProcess) -> None:
    """A finished instance is replaced by a new start under its id."""
    assert host.run("fan_out", "again", 2)["output"] == 1
    assert host.run("fan_out", "again", 3)["output"] == 5


def test_unknown_orchestrator_is_refused(host: HostProcess) -> None:
    """Starting what does not exist is 400 with the extension's message."""
    response = host.http.post(f"{host.url}/durabletask/orchestrators/nothing_like_it", json=None)
    assert response.status_code == 400
    assert "doesn't exist" in response.json()["ExceptionMessage"]


def test_terminate_ends_at_once(host: HostProcess) -> None:
    """A terminated instance has the reason as output; its event comes too late."""
    urls = host.begin("wait_event", "ended")
    assert host.http.post(urls["terminatePostUri"].replace("{text}", "enough")).status_code == 202
    status = host.wait("ended")
    assert (status["runtimeStatus"], status["output"]) == ("Terminated", "enough")
    assert host.http.post(urls["sendEventPostUri"].replace("{eventName}", "Approval"), json=1).status_code == 410
    assert "gone" in host.client("raise_event", "ended", "Approval", 1)["error"]


def test_suspended_instance_waits_for_resume(host: HostProcess) -> None:
    """Events that come while an instance is suspended take effect when it is resumed."""
    host.begin("wait_event", "paused")
    wait_for_custom_status(host, "paused", "waiting")
    host.client("suspend", "paused", "a break")
    host.wait("paused", ("Suspended",))
    host.client("raise_event", "paused", "Approval", "go")
    time.sleep(0.2)
    assert host.status("paused")["runtimeStatus"] == "Suspended"
    host.client("resume", "paused", "on")
    assert host.wait("paused")["output"] == '"go"'


def test_rewind_runs_the_failed_part_again(host: HostProcess) -> None:
    """Rewinding a failed instance keeps what had succeeded and repeats what had failed."""
    assert host.run("fail_once", "rewound")["runtimeStatus"] == "Failed"
    before = host.calls().count("greet before")
    assert host.client("rewind", "rewound", "fixed") is None
    status = host.wait("rewound", ("Completed",))
    assert status["output"] == ["Hello before!", 2]
    assert host.calls().count("greet before") == before


def test_rewind_reaches_into_failed_children(host: HostProcess) -> None:
    """A parent whose child failed is rewound together with the child."""
    assert host.run("parent_of_fail_once", "rewound-parent")["runtimeStatus"] == "Failed"
    host.client("rewind", "rewound-parent", "fixed")
    assert host.wait("rewound-parent", ("Completed",))["output"] == ["Hello before!", 2]


def test_rewind_refuses_what_it_cannot_do(host: HostProcess) -> None:
    """Instances that have not failed, and failures that went through retry timers, are not rewound."""
    host.run("fan_out", "healthy", 1)
    assert "only supported on failed" in host.client("rewind", "healthy", "why")["error"]
    host.run("retry", "worn-out", {"key": "worn-out", "attempt": 9})
    assert "durable timer" in host.client("rewind", "worn-out", "why")["error"]
    assert host.status("worn-out")["runtimeStatus"] == "Failed"


@pytest.mark.parametrize("same", [True, False])
def test_restart_uses_the_original_input(host: HostProcess, same: bool) -> None:
    """A restarted instance runs with its first input, under its own or a new id."""
    instance = f"restarted-{same}"
    host.run("fan_out", instance, 4)
    started = host.client("restart", instance, not same)
    assert (started == instance) is same
    assert host.wait(started)["output"] == 14


def test_purge_forgets_ended_instances_only(host: HostProcess) -> None:
    """Purging removes an ended instance and leaves a running one."""
    host.run("fan_out", "purged", 1)
    assert host.client("purge", "purged") == 1
    assert host.client("purge", "purged") == 0
    assert host.client("get_status", "purged").get("instanceId") is None
    host.begin("wait_event", "kept")
    assert host.client("purge", "kept") == 0
    assert host.status("kept")["runtimeStatus"] in ("Pending", "Running")
    host.client("terminate", "kept", "end of test")


def test_status_codes_tell_running_from_ended(host: HostProcess) -> None:
    """202 with Location while running, 200 when ended, 404 for an unknown id, 500 for a failure on request."""
    urls = host.begin("wait_event", "coded")
    running = host.http.get(urls["statusQueryGetUri"])
    assert (running.status_code, running.headers["location"]) == (202, urls["statusQueryGetUri"])
    host.client("raise_event", "coded", "Approval", 1)
    host.wait("coded")
    assert host.http.get(urls["statusQueryGetUri"]).status_code == 200
    assert host.http.get(urls["statusQueryGetUri"].replace("coded", "unheard-of")).status_code == 404
    host.run("fail", "coded-failure")
    failed = urls["statusQueryGetUri"].replace("coded", "coded-failure") + "&returnInternalServerErrorOnFailure=true"
    assert host.http.get(failed).status_code == 500


def test_list_filters_by_prefix_status_and_time(host: HostProcess) -> None:
    """The list takes prefix, status and creation time, and pages by a continuation token."""
    for number in range(3):
        host.run("fan_out", f"listed-{number}", number + 1)
    host.run("fail", "listed-failed")
    base = f"{host.url}/runtime/webhooks/durabletask/instances"
    code = host.keys()["durable"]

    def ids(headers: dict[str, str] | None = None, **query: str) -> tuple[list[str], httpx.Headers]:
        response = host.http.get(base, params={"code": code, "instanceIdPrefix": "listed-", **query}, headers=headers)
        return [status["instanceId"] for status in response.json()], response.headers

    assert ids()[0] == ["listed-0", "listed-1", "listed-2", "listed-failed"]
    assert ids(runtimeStatus="Failed")[0] == ["listed-failed"]
    assert ids(createdTimeFrom="2999-01-01T00:00:00Z")[0] == []
    assert len(ids(createdTimeTo="2999-01-01T00:00:00Z")[0]) == 4
    first, headers = ids(top="3")
    assert first == ["listed-0", "listed-1", "listed-2"]
    assert ids({"x-ms-continuation-token": headers["x-ms-continuation-token"]}, top="3")[0] == ["listed-failed"]
    assert host.client("statuses", "listed-")[:2] == ["listed-0", "listed-1"]


def test_history_shows_what_ran(host: HostProcess) -> None:
    """showHistory lists the ended tasks with their function, showHistoryOutput their results."""
    host.run("chain", "shown", ["x"])
    plain = host.status("shown", showHistory="true")["historyEvents"]
    assert [item["EventType"] for item in plain] == ["ExecutionStarted", "TaskCompleted", "ExecutionCompleted"]
    assert plain[1]["FunctionName"] == "greet"
    assert "Result" not in plain[1]
    assert (
        host.status("shown", showHistory="true", showHistoryOutput="true")["historyEvents"][1]["Result"] == "Hello x!"
    )
    assert host.status("shown")["historyEvents"] is None


def test_webhooks_need_the_key(host: HostProcess) -> None:
    """Management URLs without the system key are 401; the master key opens them, the function key does not."""
    base = f"{host.url}/runtime/webhooks/durabletask/instances"
    keys = host.keys()
    assert host.http.get(base).status_code == 401
    assert host.http.get(base, params={"code": keys["function"]}).status_code == 401
    assert host.http.get(base, headers={"x-functions-key": keys["master"]}).status_code == 200


def test_rpc_refuses_foreign_host_names(host: HostProcess) -> None:
    """The keyless RPC endpoints answer only under a loopback name."""
    response = host.http.get(f"{host.url}/durabletask/instances", headers={"host": "example.com"})
    assert response.status_code == 403


def test_malformed_bodies_are_400(host: HostProcess) -> None:
    """Input and events must be JSON."""
    base = f"{host.url}/durabletask"
    assert host.http.post(f"{base}/orchestrators/chain", content=b"{").status_code == 400
    host.begin("wait_event", "malformed")
    event = f"{base}/instances/malformed/raiseEvent/Approval"
    assert host.http.post(event, content=b"{", headers={"content-type": "application/json"}).status_code == 400
    assert host.http.post(event, content=b"1", headers={"content-type": "text/plain"}).status_code == 400
    host.client("terminate", "malformed", "end of test")
