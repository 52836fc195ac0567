"""What the journal's records mean: instances, entities and their inboxes.

`State.apply` is the only place that changes state, live and when the journal is read at start, so a restart arrives at
exactly the state that was left. Each record is applied whole: the record of one orchestrator turn holds its new
history, its children, its entity messages and its answer to the parent, so none of them can be lost or doubled.

Kinds of record: create, message, turn, terminate, suspend, resume, rewind, purge, signal, entity (one batch of
operations), and instance / entity_state (whole, written by compaction).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from devhost.durable.events import Event, EventType, event
from devhost.durable.journal import Record
from devhost.durable.rewind import rewound

RUNNING = frozenset({"Pending", "Running", "Suspended", "ContinuedAsNew"})
_CARRIED = frozenset({EventType.EVENT_RAISED, EventType.SUSPENDED, EventType.RESUMED})
_TASK_ENDS = frozenset({EventType.TASK_COMPLETED, EventType.TASK_FAILED})
_CHILD_ENDS = frozenset({EventType.CHILD_COMPLETED, EventType.CHILD_FAILED})


@dataclass(slots=True)
class Instance:
    """One orchestration instance. `input`, `output` and `custom` are JSON text; moments are ISO text in UTC.

    `activities`, `timers` and `children` hold what was scheduled and has not ended, by task id: the scheduling event.
    """

    id: str
    name: str
    execution: str
    created: str
    updated: str
    input: str | None = None
    version: str = ""
    parent: dict[str, Any] | None = None
    status: str = "Pending"
    suspended: bool = False
    output: str | None = None
    custom: str | None = None
    history: list[Event] = field(default_factory=list)
    inbox: list[Event] = field(default_factory=list)
    activities: dict[int, Event] = field(default_factory=dict)
    timers: dict[int, Event] = field(default_factory=dict)
    children: dict[int, Event] = field(default_factory=dict)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.status in RUNNING

    @property
    def is_ready(self) -> bool:
        """Whether its orchestrator has something new to see."""
        return bool(self.inbox) and self.is_running and not self.suspended


@dataclass(slots=True)
class Entity:
    """One entity; `state` is JSON text. Each inbox item: op, input (JSON text), signal, id, sender, execution."""

    id: str
    exists: bool = False
    state: str | None = None
    updated: str = ""
    inbox: list[dict[str, Any]] = field(default_factory=list)


class State:
    """All instances and entities. `touched` collects the ids whose work changed since it was last cleared."""

    def __init__(self) -> None:
        self.instances: dict[str, Instance] = {}
        self.entities: dict[str, Entity] = {}
        self.touched: set[str] = set()
        self._kinds: dict[str, Callable[[Record], None]] = {
            "create": self._create,
            "message": self._message,
            "turn": self._turn,
            "terminate": self._terminate,
            "suspend": self._suspend,
            "resume": self._resume,
            "rewind": self._rewind,
            "purge": self._purge,
            "signal": self._signal,
            "entity": self._entity_batch,
            "instance": self._restore_instance,
            "entity_state": self._restore_entity,
        }

    def apply(self, record: Record) -> None:
        """Change the state by one record."""
        self._kinds[record["kind"]](record)

    def snapshot(self) -> Iterator[Record]:
        """The shortest list of records that leads to this state."""
        for instance in self.instances.values():
            yield {"kind": "instance", **_listed(asdict(instance))}
        for entity in self.entities.values():
            yield {"kind": "entity_state", **asdict(entity)}

    def live(self, instance_id: str, execution: str | None) -> Instance | None:
        """The running instance with this id and, unless None, this execution."""
        instance = self.instances.get(instance_id)
        if instance is None or not instance.is_running or execution not in (None, instance.execution):
            return None
        return instance

    def _create(self, record: Record) -> None:
        at = record["at"]
        instance = Instance(
            record["id"],
            record["name"],
            record["execution"],
            at,
            at,
            record["input"],
            record["version"],
            record["parent"],
        )
        instance.inbox.append(_started(instance, at))
        self.instances[instance.id] = instance
        self.touched.add(instance.id)

    def _message(self, record: Record) -> None:
        instance = self.live(record["id"], record["execution"])
        if instance is not None:
            self._deliver(instance, record["event"])

    def _deliver(self, instance: Instance, item: Event) -> None:
        """Put an event in the inbox, unless the task it ends has ended before."""
        kind = item["EventType"]
        if kind in _TASK_ENDS and instance.activities.pop(item["TaskScheduledId"], None) is None:
            return
        if kind in _CHILD_ENDS and instance.children.pop(item["TaskScheduledId"], None) is None:
            return
        if kind == EventType.TIMER_FIRED and instance.timers.pop(item["TimerId"], None) is None:
            return
        instance.inbox.append(item)
        self.touched.add(instance.id)

    def _turn(self, record: Record) -> None:
        instance = self.instances[record["id"]]
        at, new, taken = record["at"], record["new"], record["taken"]
        seen = [event(EventType.ORCHESTRATOR_STARTED, at), *instance.inbox[:taken], *new]
        instance.inbox = instance.inbox[taken:]
        for item in seen:
            item["IsPlayed"] = True
        instance.history += seen
        instance.custom = record["custom"]
        instance.updated = at
        instance.status = "Suspended" if instance.suspended else "Running"
        for timer in record["cancelled"]:
            instance.timers.pop(timer, None)
        for item in new:
            self._start(instance, item, at)
        if record["end"] is not None:
            self._end(instance, record["end"]["status"], record["end"]["output"], at, record["end"]["reason"])
        elif record["again"] is not None:
            self._continue_as_new(instance, record["again"], at)
        else:
            instance.history.append(event(EventType.ORCHESTRATOR_COMPLETED, at) | {"IsPlayed": True})
        self.touched.add(instance.id)

    def _start(self, instance: Instance, item: Event, at: str) -> None:
        task = item["EventId"]
        match item["EventType"]:
            case EventType.TASK_SCHEDULED:
                instance.activities[task] = item
            case EventType.TIMER_CREATED:
                instance.timers[task] = item
            case EventType.CHILD_CREATED:
                instance.children[task] = item
                self._create_child(instance, item, at)
            case EventType.EVENT_SENT:
                message = json.loads(item["Input"])
                message |= {"sender": instance.id, "execution": instance.execution}
                self._entity(item["InstanceId"]).inbox.append(message)

    def _create_child(self, parent: Instance, item: Event, at: str) -> None:
        existing = self.instances.get(item["InstanceId"])
        if existing is not None and existing.is_running:
            reason = f"An Orchestration instance with the status {existing.status} already exists."
            failed = event(EventType.CHILD_FAILED, at, TaskScheduledId=item["EventId"], Reason=reason, Details="")
            self._deliver(parent, failed)
            return
        link = {"id": parent.id, "execution": parent.execution, "task": item["EventId"]}
        execution = f"{parent.execution}.{item['EventId']}"
        self._create(
            {
                "id": item["InstanceId"], "name": item["Name"], "execution": execution, "input": item["Input"],
                "version": item["Version"], "parent": link, "at": at,
            }
        )  # fmt: skip

    def _continue_as_new(self, instance: Instance, again: dict[str, Any], at: str) -> None:
        instance.execution, instance.input = again["execution"], again["input"]
        carried = [item for item in instance.inbox if item["EventType"] in _CARRIED]
        instance.inbox = [_started(instance, at), *carried]
        for item in carried:
            item["IsPlayed"] = False
        instance.history = []
        instance.activities, instance.timers, instance.children = {}, {}, {}

    def _end(self, instance: Instance, status: str, output: str | None, at: str, reason: str | None) -> None:
        instance.status, instance.output, instance.updated = status, output, at
        instance.suspended = False
        kind = EventType.EXECUTION_TERMINATED if status == "Terminated" else EventType.EXECUTION_COMPLETED
        last = event(kind, at, OrchestrationStatus=status, Result=output)
        instance.history.append(last | {"IsPlayed": True})
        instance.inbox = []
        instance.activities, instance.timers, instance.children = {}, {}, {}
        self.touched.add(instance.id)
        if instance.parent is None:
            return
        parent = self.live(instance.parent["id"], instance.parent["execution"])
        if parent is None:
            return
        task = instance.parent["task"]
        if status == "Completed":
            ended = event(EventType.CHILD_COMPLETED, at, TaskScheduledId=task, Result=output)
        else:
            ended = event(EventType.CHILD_FAILED, at, TaskScheduledId=task, Reason=reason or output, Details="")
        self._deliver(parent, ended)

    def _terminate(self, record: Record) -> None:
        instance = self.live(record["id"], None)
        if instance is not None:
            output = json.dumps(record["reason"])
            self._end(instance, "Terminated", output, record["at"], record["reason"])

    def _suspend(self, record: Record) -> None:
        instance = self.live(record["id"], None)
        if instance is not None and not instance.suspended:
            instance.inbox.append(event(EventType.SUSPENDED, record["at"], Reason=record["reason"]))
            instance.suspended, instance.status, instance.updated = True, "Suspended", record["at"]

    def _resume(self, record: Record) -> None:
        instance = self.live(record["id"], None)
        if instance is not None and instance.suspended:
            instance.inbox.append(event(EventType.RESUMED, record["at"], Reason=record["reason"]))
            instance.suspended, instance.status, instance.updated = False, "Running", record["at"]
            self.touched.add(instance.id)

    def _rewind(self, record: Record) -> None:
        """Take back the failures that ended an instance, and those of its failed children, and run them again."""
        instance = self.instances[record["id"]]
        history = rewound(instance.history)
        assert history is not None, "the engine checks before it writes a rewind record"
        instance.history = history
        instance.status, instance.output, instance.updated = "Running", None, record["at"]
        ended = {item["TaskScheduledId"] for item in history if item["EventType"] in _TASK_ENDS | _CHILD_ENDS}
        fired = {item["TimerId"] for item in history if item["EventType"] == EventType.TIMER_FIRED}
        for item in history:
            task = item["EventId"]
            if item["EventType"] == EventType.TASK_SCHEDULED and task not in ended:
                instance.activities[task] = item
            elif item["EventType"] == EventType.TIMER_CREATED and task not in fired:
                instance.timers[task] = item
            elif item["EventType"] == EventType.CHILD_CREATED and task not in ended:
                instance.children[task] = item
                child = self.instances.get(item["InstanceId"])
                if child is not None and child.status == "Failed" and rewound(child.history) is not None:
                    self._rewind({**record, "id": child.id})
                else:
                    self._create_child(instance, item, record["at"])
        instance.inbox.append(event(EventType.GENERIC, record["at"], Data=f"Rewound: {record['reason']}"))
        self.touched.add(instance.id)

    def _purge(self, record: Record) -> None:
        self.instances.pop(record["id"], None)

    def _entity(self, entity_id: str) -> Entity:
        self.touched.add(entity_id)
        return self.entities.setdefault(entity_id, Entity(entity_id))

    def _signal(self, record: Record) -> None:
        message = {"op": record["op"], "input": record["input"], "signal": True, "id": record["message"]}
        self._entity(record["id"]).inbox.append(message)

    def _entity_batch(self, record: Record) -> None:
        entity = self._entity(record["id"])
        del entity.inbox[: record["taken"]]
        entity.exists, entity.state, entity.updated = record["exists"], record["state"], record["at"]
        for reply in record["replies"]:
            self._message(reply)

    def _restore_instance(self, record: Record) -> None:
        fields = {key: value for key, value in record.items() if key != "kind"}
        for key in ("activities", "timers", "children"):
            fields[key] = {item["EventId"]: item for item in fields[key]}
        instance = Instance(**fields)
        self.instances[instance.id] = instance
        self.touched.add(instance.id)

    def _restore_entity(self, record: Record) -> None:
        entity = Entity(**{key: value for key, value in record.items() if key != "kind"})
        self.entities[entity.id] = entity
        self.touched.add(entity.id)


def _started(instance: Instance, at: str) -> Event:
    return event(EventType.EXECUTION_STARTED, at, Name=instance.name, Input=instance.input, Version=instance.version)


def _listed(fields: dict[str, Any]) -> dict[str, Any]:
    """JSON has no integer keys: the open tasks are written as lists of their events."""
    return fields | {key: list(fields[key].values()) for key in ("activities", "timers", "children")}
