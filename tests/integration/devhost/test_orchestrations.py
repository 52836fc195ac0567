"""Orchestrations through the running host and the app's own durable client."""

from __future__ import annotations

import time

import pytest

from tests.fixtures.devhost import HostProcess


def test_chain_passes_results_along_in_order(host: HostProcess) -> None:
    """A chain of activities returns their results in the order of the calls."""
    status = host.run("chain", "chain-1")
    assert status["output"] == ["Hello Tokyo!", "Hello Seattle!", "Hello London!"]
    assert status["runtimeStatus"] == "Completed"
    assert [host.calls().count(f"greet {name}") for name in ("Tokyo", "Seattle", "London")] == [1, 1, 1]


@pytest.mark.parametrize("count", [1, 20, 200])
def test_fan_out_collects_every_result(host: HostProcess, count: int) -> None:
    """A fan-out of any width ends with all results, in the order of the tasks."""
    status = host.run("fan_out", f"fan-{count}", count, seconds=60)
    assert status["output"] == sum(number * number for number in range(count))


def test_activity_concurrency_follows_host_json(host: HostProcess) -> None:
    """Never more activities run at once than maxConcurrentActivityFunctions, and as many as it allows."""
    assert host.run("crowd", "crowd-1")["output"] == 4


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_retry_succeeds_within_its_attempts(host: HostProcess, attempt: int) -> None:
    """A call with retry ends with the first success."""
    status = host.run("retry", f"retry-{attempt}", {"key": f"retry-{attempt}", "attempt": attempt})
    assert status["output"] == attempt
    assert host.calls().count(f"fail_until retry-{attempt}") == attempt


def test_retry_gives_up_after_its_attempts(host: HostProcess) -> None:
    """A call whose attempts are used up fails the orchestration with the activity's error."""
    status = host.run("retry", "retry-never", {"key": "retry-never", "attempt": 9})
    assert status["runtimeStatus"] == "Failed"
    assert "attempt 3 of retry-never" in status["output"]
    assert host.calls().count("fail_until retry-never") == 3


def test_parallel_retries_keep_task_ids_in_step(host: HostProcess) -> None:
    """Retries that interleave neither confuse each other nor the step that follows."""
    assert host.run("retry_in_parallel", "together")["output"] == [1, 2, 3, "failed", 25]


def test_caught_failure_carries_the_message(host: HostProcess) -> None:
    """An orchestrator can catch an activity's failure, reads its message, and goes on."""
    greeting, error = host.run("catch_failure", "caught")["output"]
    assert greeting == "Hello rescued!"
    assert "ValueError: attempt 1 of caught" in error
    assert "fail_until" in error


def test_failing_orchestrator_ends_failed(host: HostProcess) -> None:
    """An exception in the orchestrator is the instance's output."""
    status = host.run("fail", "failing")
    assert status["runtimeStatus"] == "Failed"
    assert "the orchestrator's own failure" in status["output"]


@pytest.mark.parametrize(
    ("name", "message"), [("call_unknown", "'no_such_activity' doesn't exist"), ("bad_result", "json serializable")]
)
def test_impossible_calls_fail_the_orchestration(host: HostProcess, name: str, message: str) -> None:
    """A missing activity and a result that is not JSON end the orchestration with a message that says so."""
    status = host.run(name, name)
    assert status["runtimeStatus"] == "Failed"
    assert message in status["output"]


def test_timer_waits_its_time(host: HostProcess) -> None:
    """A durable timer fires at its time by the orchestration's clock."""
    waited = host.run("wait_timer", "timer-1", 300)["output"]
    assert 0.3 <= waited < 2


def test_event_wakes_the_orchestration(host: HostProcess) -> None:
    """An external event's value reaches the orchestrator, and the custom status shows where it stands."""
    urls = host.begin("wait_event", "event-1")
    host.wait("event-1", ("Running",))
    while host.status("event-1")["customStatus"] != "waiting":
        time.sleep(0.02)
    response = host.http.post(urls["sendEventPostUri"].replace("{eventName}", "Approval"), json={"by": "me"})
    assert response.status_code == 202
    status = host.wait("event-1")
    assert status["output"] == {"by": "me"}
    assert status["customStatus"] == {"got": "it"}


def test_event_through_the_client_arrives_as_text(host: HostProcess) -> None:
    """The SDK encodes an event's value twice, so the orchestrator sees text: the trap is kept."""
    host.begin("wait_event", "event-2")
    assert host.client("raise_event", "event-2", "Approval", {"by": "me"}) is None
    assert host.wait("event-2")["output"] == '{"by": "me"}'


def test_events_may_come_out_of_order(host: HostProcess) -> None:
    """An event raised before the orchestrator waits for it is kept until then."""
    host.begin("wait_two_events", "event-3")
    host.client("raise_event", "event-3", "Second", 2)
    time.sleep(0.1)
    host.client("raise_event", "event-3", "First", 1)
    assert host.wait("event-3")["output"] == ["1", "2"]


def test_timeout_wins_without_event(host: HostProcess) -> None:
    """The timer of an any-of wins when no event comes."""
    assert host.run("event_or_timeout", "timeout-1", 200)["output"] == "timed out"


def test_event_beats_timeout(host: HostProcess) -> None:
    """With the event in time the cancelled timer no longer holds the orchestration up."""
    host.begin("event_or_timeout", "timeout-2", 60_000)
    host.client("raise_event", "timeout-2", "Approval", "yes")
    assert host.wait("timeout-2")["output"] == ['"yes"', "Hello in time!"]


def test_sub_orchestrations_return_their_output(host: HostProcess) -> None:
    """Children run in parallel or one by one, under generated or given ids."""
    status = host.run("parent", "family")
    assert status["output"] == [[["Hello a!"], ["Hello b!"]], ["Hello c!"]]
    assert host.status("family-child")["output"] == ["Hello c!"]


def test_failed_sub_orchestration_is_retried_then_raised(host: HostProcess) -> None:
    """A failing child is tried as often as its retry options say; then the parent sees its error."""
    status = host.run("parent_of_failure", "sad-family")
    assert "the orchestrator's own failure" in status["output"]
    children = host.status("sad-family", showHistory="true")["historyEvents"]
    assert [item["EventType"] for item in children].count("SubOrchestrationInstanceFailed") == 3


def test_continue_as_new_starts_over_with_new_input(host: HostProcess) -> None:
    """A loop by continue_as_new ends, its history no longer than one round."""
    status = host.run("count_down", "loop", 5)
    assert status["output"] == "done"
    assert len(host.status("loop", showHistory="true")["historyEvents"]) == 2


def test_entity_keeps_state_between_calls(host: HostProcess) -> None:
    """Signals and calls reach an entity in order; its failure reaches the caller."""
    value, error = host.run("use_entity", "ent-1")["output"]
    assert value == 7
    assert "no such thing" in error
    assert host.client("read_entity", "ent-1", "counter") == {"exists": True, "state": 7}


def test_entity_from_a_client(host: HostProcess) -> None:
    """The durable client signals entities and reads their state; a destructed one is gone."""
    assert host.client("read_entity", "ent-2", "counter") == {"exists": False, "state": None}
    host.client("signal_entity", "ent-2", "counter", "add", 4)
    deadline = time.monotonic() + 10
    while host.client("read_entity", "ent-2", "counter")["state"] != 4:
        assert time.monotonic() < deadline
    host.client("signal_entity", "ent-2", "counter", "reset")
    while host.client("read_entity", "ent-2", "counter")["exists"]:
        assert time.monotonic() < deadline


def test_signals_between_other_work(host: HostProcess) -> None:
    """Signals take a task id of their own and are sent once, however often the orchestrator is replayed."""
    assert host.run("signal_then_work", "sig-1")["output"] == 9
    deadline = time.monotonic() + 10
    while host.client("read_entity", "sig-1", "counter")["state"] != 2:
        assert time.monotonic() < deadline
    assert host.log.read_text().count("a line that must appear once") == 1


def test_durable_http_call_returns_the_answer(host: HostProcess) -> None:
    """call_http yields status, headers and content."""
    answer = host.run("call_over_http", "http-1", f"{host.url}/api/v1/health/live")["output"]
    assert answer["statusCode"] == 200
    assert answer["content"] == '{"status": "ok"}'


def test_durable_http_call_polls_a_202(host: HostProcess) -> None:
    """A 202 with Location is asked again after its Retry-After until it ends."""
    answer = host.run("call_over_http", "http-2", f"{host.url}/api/v1/poll/x")["output"]
    assert answer["statusCode"] == 200
    assert answer["content"] == '{"asked": "twice"}'
