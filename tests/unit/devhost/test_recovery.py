"""The engine started over every possible remainder of a journal: a crash after any record changes no outcome."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Any

import azure.durable_functions as df
import azure.functions as func
import pytest

from devhost.app_loader import HostSettings, LoadedApp, index_functions
from devhost.durable.engine import FILE_NAME, Engine
from devhost.durable.journal import read_records
from devhost.durable.state import Instance
from devhost.invocation import Invoker

pytestmark = [
    pytest.mark.filterwarnings("ignore:Potential duplicate Task completion"),
    pytest.mark.filterwarnings("ignore:azure.functions df_loads was called without expected_type:DeprecationWarning"),
]

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
calls: list[str] = []
_calls_lock = threading.Lock()
Context = df.DurableOrchestrationContext


@app.activity_trigger(input_name="payload")
async def double(payload: int) -> int:
    calls.append(f"double {payload}")
    return payload * 2


@app.activity_trigger(input_name="payload")
def fail_at_first(payload: str) -> str:
    """Fail once in a process's life: a restart in between does not forget what the journal holds."""
    with _calls_lock:
        calls.append(f"fail_at_first {payload}")
        if calls.count(f"fail_at_first {payload}") == 1:
            raise ValueError("the first time")
    return payload


@app.orchestration_trigger(context_name="context")
def child(context: Context) -> Generator[Any, Any, Any]:
    return (yield context.call_activity("double", context.get_input()))


@app.entity_trigger(context_name="context")
def tally(context: df.DurableEntityContext) -> None:
    total = context.get_state(lambda: 0) + context.get_input()
    context.set_state(total)
    context.set_result(total)


@app.orchestration_trigger(context_name="context")
def everything(context: Context) -> Generator[Any, Any, Any]:
    """A chain, a fan-out, a child, a retry, a timer, an entity, a raced event and a second life."""
    order = context.get_input()
    doubled = yield context.task_all([context.call_activity("double", number) for number in range(3)])
    from_child = yield context.call_sub_orchestrator("child", 21)
    retried = yield context.call_activity_with_retry("fail_at_first", df.RetryOptions(1, 3), f"round {order['round']}")
    tally_id = df.EntityId("tally", context.instance_id)
    context.signal_entity(tally_id, "add", 10)
    total = yield context.call_entity(tally_id, "add", 1)
    yield context.create_timer(context.current_utc_datetime + timedelta(milliseconds=1))
    event = context.wait_for_external_event("Go")
    deadline = context.create_timer(context.current_utc_datetime + timedelta(hours=1))
    yield context.task_any([event, deadline])
    deadline.cancel()
    outcome = [*order["so_far"], [doubled, from_child, retried, total, event.result]]
    if order["round"] == 0:
        context.continue_as_new({"round": 1, "so_far": outcome})
        return None
    return outcome


FUNCTIONS = index_functions(app)  # once: the SDK takes a second look for duplicate names
EXPECTED = [
    [[0, 2, 4], 42, "round 0", 11, "go 0"],
    [[0, 2, 4], 42, "round 1", 22, "go 1"],
]


def make_engine(directory: Path) -> tuple[Engine, Invoker]:
    """An engine over the functions above."""
    loaded = LoadedApp(directory, FUNCTIONS, HostSettings(max_activities=4, max_orchestrators=4))
    invoker = Invoker(str(directory))
    return Engine(loaded, invoker, directory), invoker


async def finish(engine: Engine) -> Instance:
    """Give the instance its events when it asks for them, and wait for its end."""
    async with asyncio.timeout(20):
        while True:
            instance = engine.state.instances.get("all")
            if instance is None:
                engine.create("everything", "all", '{"round": 0, "so_far": []}')
                continue
            if not instance.is_running:
                await engine.sync()
                return instance
            raised = sum(item["EventType"] == 15 and item["Name"] == "Go" for item in instance.history + instance.inbox)
            waiting = any(item["FireAt"] > engine.now() for item in instance.timers.values())
            if waiting and not raised:
                round_ = 1 if "so_far" in (instance.input or "") and "go 0" in (instance.input or "") else 0
                engine.raise_event("all", "Go", f'"go {round_}"')
            await asyncio.sleep(0.002)


async def run_once(directory: Path) -> Instance:
    """Start an engine over a directory, run to the end, stop."""
    engine, invoker = make_engine(directory)
    await engine.start()
    try:
        return await finish(engine)
    finally:
        await engine.stop(5)
        invoker.close()


async def test_crash_after_any_record_changes_no_outcome(tmp_path: Path) -> None:
    """Whatever prefix of the journal a crash leaves, the orchestration ends with the same output, the entity counts
    each operation once, and activities whose result was recorded do not run again."""
    calls.clear()
    (tmp_path / "whole").mkdir()
    instance = await run_once(tmp_path / "whole")
    assert (instance.status, instance.output and json.loads(instance.output)) == ("Completed", EXPECTED)
    records, _ = read_records(tmp_path / "whole" / FILE_NAME)
    lines = (tmp_path / "whole" / FILE_NAME).read_bytes().splitlines(keepends=True)
    assert len(records) > 40
    for kept in range(1, len(lines)):
        directory = tmp_path / f"cut-{kept}"
        directory.mkdir()
        (directory / FILE_NAME).write_bytes(b"".join(lines[:kept]) + lines[kept][: len(lines[kept]) // 2])
        ended = sum(
            record["kind"] == "message" and record["event"].get("Result") == "0" and record["event"]["EventType"] == 5
            for record in records[:kept]
        )
        calls.clear()
        calls.extend(["fail_at_first round 0", "fail_at_first round 1"])
        instance = await run_once(directory)
        assert instance.output is not None
        assert json.loads(instance.output) == EXPECTED, f"after {kept} records"
        assert calls.count("double 0") == 2 - ended, f"after {kept} records"
