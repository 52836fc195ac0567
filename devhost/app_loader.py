"""Load `function_app.py` as it is and index its functions the way the Azure host does."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devhost.signatures import check_signature

TRIGGERS = frozenset({"httpTrigger", "timerTrigger", "orchestrationTrigger", "activityTrigger", "entityTrigger"})
CLIENTS = frozenset({"durableClient", "orchestrationClient"})
_OUTPUTS = frozenset({"http"})


class AppError(Exception):
    """The app cannot be run: it fails to import, or a function uses something the development host does not run."""


@dataclass(frozen=True, slots=True)
class IndexedFunction:
    """One function with what its trigger says.

    `parameter` is the trigger's argument name, `client_parameters` the arguments that take a durable client,
    `trigger` the binding as in function.json.
    """

    name: str
    call: Callable[..., Any]
    kind: str
    parameter: str
    trigger: Mapping[str, Any]
    client_parameters: tuple[str, ...]
    wants_context: bool
    is_async: bool
    disabled: bool

    @property
    def methods(self) -> tuple[str, ...]:
        """HTTP methods in upper case; empty means all."""
        return tuple(str(method).upper() for method in self.trigger.get("methods") or ())

    @property
    def durable_name(self) -> str:
        """The name by which orchestrations call this function (the trigger may rename it)."""
        given = self.trigger.get("orchestration") or self.trigger.get("activity") or self.trigger.get("entityName")
        return str(given or self.name)


@dataclass(frozen=True, slots=True)
class HostSettings:
    """What the development host reads of host.json; the defaults are the Azure host's."""

    route_prefix: str = "api"
    max_outstanding_requests: int = -1
    hub_name: str = "TestHubName"
    max_activities: int = 10
    max_orchestrators: int = 10
    override_any_state: bool = False
    http_sleep_milliseconds: int = 30_000
    raw: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LoadedApp:
    """The indexed app: functions sorted by name without regard to case."""

    root: Path
    functions: tuple[IndexedFunction, ...]
    settings: HostSettings

    def of_kind(self, kind: str) -> list[IndexedFunction]:
        """The enabled functions with this trigger type."""
        return [function for function in self.functions if function.kind == kind and not function.disabled]


def load_local_settings(root: Path) -> list[str]:
    """Put local.settings.json's "Values" into the environment where a name is not set; return the names set."""
    path = root / "local.settings.json"
    if not path.exists():
        return []
    values = json.loads(path.read_text("utf-8")).get("Values", {})
    added = [name for name in values if name not in os.environ]
    os.environ.update({name: str(values[name]) for name in added})
    return added


def read_host_settings(root: Path) -> HostSettings:
    """Read host.json; a missing file means the defaults.

    Raises:
        AppError: the file is not valid JSON.
    """
    path = root / "host.json"
    try:
        raw = json.loads(path.read_text("utf-8")) if path.exists() else {}
    except ValueError as error:
        raise AppError(f"{path} is not valid JSON: {error}") from error
    extensions = raw.get("extensions", {})
    http, durable = extensions.get("http", {}), extensions.get("durableTask", {})
    cores = os.cpu_count() or 1
    polling = durable.get("httpSettings", {})
    states = durable.get("overridableExistingInstanceStates", "NonRunningStates")
    return HostSettings(
        route_prefix=http.get("routePrefix", "api"),
        max_outstanding_requests=int(http.get("maxOutstandingRequests", -1)),
        hub_name=_expand(durable.get("hubName", "TestHubName")),
        max_activities=int(durable.get("maxConcurrentActivityFunctions", 10 * cores)),
        max_orchestrators=int(durable.get("maxConcurrentOrchestratorFunctions", 10 * cores)),
        override_any_state=states == "AnyState",
        http_sleep_milliseconds=int(polling.get("defaultAsyncRequestSleepTimeMilliseconds", 30_000)),
        raw=raw,
    )


def load_app(root: Path) -> LoadedApp:
    """Import `function_app` from root and index it.

    Raises:
        AppError: the module has no FunctionApp, or a function has a trigger or binding that is not run here.
    """
    root = root.resolve()
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    if not (root / "function_app.py").exists():
        raise AppError(f"{root} holds no function_app.py")
    module = importlib.import_module("function_app")
    from azure.functions.decorators.function_app import FunctionRegister

    apps = [value for value in vars(module).values() if isinstance(value, FunctionRegister)]
    if len(apps) != 1:
        raise AppError(f"function_app.py must define exactly one FunctionApp, it has {len(apps)}")
    return LoadedApp(root, index_functions(apps[0]), read_host_settings(root))


def index_functions(app: Any) -> tuple[IndexedFunction, ...]:
    """Index a FunctionApp's functions, sorted by name without regard to case.

    Raises:
        AppError: a function has a trigger or binding that is not run here, or the worker would not load it.
    """
    functions = [_index(function) for function in app.get_functions()]
    return tuple(sorted(functions, key=lambda function: (function.name.casefold(), function.name)))


def _expand(text: str) -> str:
    """Replace %NAME% by the app setting NAME, as binding expressions do."""
    return re.sub(r"%(\w+)%", lambda found: os.environ.get(found[1], found[0]), text)


def _index(function: Any) -> IndexedFunction:
    name = str(function.get_function_name())
    bindings = [json.loads(raw) for raw in function.get_raw_bindings()]
    triggers = [binding for binding in bindings if binding["type"].endswith("Trigger")]
    if len(triggers) != 1 or triggers[0]["type"] not in TRIGGERS:
        raise AppError(f"function {name}: the development host runs no {[b['type'] for b in triggers]} trigger")
    for binding in bindings:
        if binding is not triggers[0] and binding["type"] not in CLIENTS | _OUTPUTS:
            raise AppError(f"function {name}: the development host has no {binding['type']} binding")
    trigger = {key: _expand(value) if isinstance(value, str) else value for key, value in triggers[0].items()}
    call = function.get_user_function()
    outputs = frozenset(binding["name"] for binding in bindings if binding.get("direction") == "OUT")
    objection = check_signature(call, {binding["name"]: binding["type"] for binding in bindings}, outputs)
    if objection is not None:
        raise AppError(f"function {name} would not load in Azure: {objection}")
    return IndexedFunction(
        name=name,
        call=call,
        kind=trigger["type"],
        parameter=trigger["name"],
        trigger=trigger,
        client_parameters=tuple(binding["name"] for binding in bindings if binding["type"] in CLIENTS),
        wants_context="context" in inspect.signature(call).parameters and trigger["name"] != "context",
        is_async=inspect.iscoroutinefunction(call),
        disabled=_is_disabled(name),
    )


def _is_disabled(name: str) -> bool:
    """An app setting switches a function off; the underscore form is for shells that refuse dots."""
    values = (os.environ.get(f"AzureWebJobs.{name}.Disabled"), os.environ.get(f"AzureWebJobs_{name}_Disabled"))
    return any(value is not None and value.strip().lower() in ("true", "1") for value in values)
