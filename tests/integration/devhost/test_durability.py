"""What survives kill -9: the host is killed as a process and started again over the same state directory."""

from __future__ import annotations

import time

import pytest

from tests.fixtures.devhost import HostProcess

pytestmark = pytest.mark.slow


def wait_for_call(host: HostProcess, line: str) -> None:
    """Wait until an activity has noted a line."""
    deadline = time.monotonic() + 20
    while line not in host.calls():
        assert time.monotonic() < deadline, host.log.read_text()
        time.sleep(0.01)


def test_killed_orchestration_goes_on(own_host: HostProcess) -> None:
    """Killed in a chain, in a fan-out and in a timer, an orchestration still ends, and no finished step runs twice."""
    own_host.start()
    own_host.begin("slow_steps", "killed")
    wait_for_call(own_host, "begin killed-1")
    own_host.restart_after_kill()
    wait_for_call(own_host, "begin killed-p4")
    time.sleep(0.2)
    own_host.restart_after_kill()
    wait_for_call(own_host, "end killed-p5")
    time.sleep(0.3)
    own_host.restart_after_kill()
    own_host.client("raise_event", "killed", "Finish", "well")
    status = own_host.wait("killed")
    assert status["output"] == [
        ["killed-0", "killed-1"],
        [f"killed-p{number}" for number in range(6)],
        '"well"',
    ]
    calls = own_host.calls()
    assert calls.count("begin killed-0") == calls.count("end killed-0") == 1
    assert calls.count("begin killed-1") == 2
    assert calls.count("end killed-1") == 1


def test_event_acknowledged_is_never_lost(own_host: HostProcess) -> None:
    """An event is on disk before its 202: killed right after, the host still delivers it."""
    own_host.start()
    for round_ in range(5):
        instance = f"acked-{round_}"
        urls = own_host.begin("wait_event", instance)
        own_host.http.post(urls["sendEventPostUri"].replace("{eventName}", "Approval"), json=round_)
        own_host.restart_after_kill()
        assert own_host.wait(instance)["output"] == round_


def test_start_acknowledged_is_never_lost(own_host: HostProcess) -> None:
    """An instance whose start was answered exists after a kill."""
    own_host.start()
    for round_ in range(3):
        own_host.begin("fan_out", f"begun-{round_}", 3)
        own_host.restart_after_kill()
    for round_ in range(3):
        assert own_host.wait(f"begun-{round_}")["output"] == 5


def test_timer_fires_after_a_restart_past_its_time(own_host: HostProcess) -> None:
    """A timer whose time passed while the host was down fires at the start."""
    own_host.start()
    own_host.begin("wait_timer", "overdue", 1000)
    own_host.wait("overdue", ("Running",))
    own_host.stop(9)
    time.sleep(1.2)
    own_host.start()
    assert own_host.wait("overdue")["output"] >= 1.0


def test_ended_instances_and_entities_are_still_there(own_host: HostProcess) -> None:
    """Outputs, custom status and entity state are kept, also through compaction at several starts."""
    own_host.start()
    own_host.run("use_entity", "kept")
    own_host.begin("wait_event", "kept-2")
    own_host.client("raise_event", "kept-2", "Approval", 1)
    ended = own_host.wait("kept-2")
    for _ in range(2):
        own_host.stop()
        own_host.start()
    assert own_host.status("kept-2") == ended
    assert own_host.client("read_entity", "kept", "counter") == {"exists": True, "state": 7}


def test_suspension_outlives_a_restart(own_host: HostProcess) -> None:
    """A suspended instance stays so over a kill, with the event it got meanwhile."""
    own_host.start()
    own_host.begin("wait_event", "asleep")
    own_host.client("suspend", "asleep", "night")
    own_host.client("raise_event", "asleep", "Approval", "morning")
    own_host.restart_after_kill()
    time.sleep(0.2)
    assert own_host.status("asleep")["runtimeStatus"] == "Suspended"
    own_host.client("resume", "asleep", "day")
    assert own_host.wait("asleep")["output"] == '"morning"'


def test_children_report_after_a_restart(own_host: HostProcess) -> None:
    """A parent killed while its children run gets their results."""
    own_host.start()
    own_host.begin("parent_of_long", "long-family")
    wait_for_call(own_host, "begin long-family-child")
    own_host.restart_after_kill()
    assert own_host.wait("long-family")["output"] == "long-family-child"


def test_sigterm_lets_an_activity_end(own_host: HostProcess) -> None:
    """A running activity may end during the drain, and does not run again after the restart."""
    own_host.start()
    own_host.begin("take_long", "drained", 1)
    wait_for_call(own_host, "begin drained")
    assert own_host.stop() == 0
    assert own_host.calls().count("end drained") == 1
    own_host.start()
    assert own_host.wait("drained")["output"] == "drained"
    assert own_host.calls().count("begin drained") == 1


def test_sigterm_leaves_a_long_activity_to_the_next_start(own_host: HostProcess) -> None:
    """An activity that outlasts the drain is cut off and runs again."""
    own_host.options = ["--drain", "1.5"]
    own_host.start()
    own_host.begin("take_long", "long", 4)
    wait_for_call(own_host, "begin long")
    before = time.monotonic()
    assert own_host.stop() == 0
    assert 1 < time.monotonic() - before < 3.5
    own_host.start()
    wait_for_call(own_host, "begin long")
    assert own_host.wait("long")["output"] == "long"
    assert own_host.calls().count("begin long") == 2


def test_torn_last_record_is_dropped(own_host: HostProcess) -> None:
    """A journal that ends in half a record, as a crash leaves it, is read up to there."""
    own_host.start()
    own_host.run("fan_out", "before-the-tear", 3)
    own_host.stop(9)
    with (own_host.state / "durable.jsonl").open("ab") as journal:
        journal.write(b'deadbeef {"kind":"create","id":"half')
    own_host.start()
    assert own_host.status("before-the-tear")["output"] == 5
    assert own_host.run("fan_out", "after-the-tear", 2)["output"] == 1


def test_two_hosts_cannot_share_a_journal(own_host: HostProcess) -> None:
    """A second host over the same state directory says so and ends."""
    own_host.start()
    first, url = own_host.process, own_host.url
    with pytest.raises(AssertionError, match="another host uses"):
        own_host.start()
    own_host.process, own_host.url = first, url
    assert own_host.run("fan_out", "undisturbed", 2)["output"] == 1
