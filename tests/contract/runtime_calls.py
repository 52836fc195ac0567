"""Load an app into the official Azure Functions Python runtime and call its functions.

Run by Python 3.13 with azure-functions-runtime installed, in a process of its own: it reads one JSON object from
standard input, `{"root": directory, "calls": [{"function", "inputs": {name: [type, value]}}]}`, and writes one to
standard output, `{"functions": {name: [raw binding, …]}, "results": [{"ok", "type", "value", "error"}]}`.

The runtime's own entry points are called: `worker_init_request` (which imports and indexes the app),
`functions_metadata_request`, and `invocation_request_native`, the entry that takes and returns the runtime's `Datum`
instead of protobuf. The messages around the first two are plain records: the .proto they belong to is in no package.
"""

from __future__ import annotations

import asyncio
import faulthandler
import json
import os
import sys
from types import SimpleNamespace
from typing import Any, TextIO
from uuid import uuid4


class Message(SimpleNamespace):
    """A message record; the numbers are those of FunctionRpc.proto."""

    Failure, Success, Cancelled = 0, 1, 2
    undefined, string, binary, stream = 0, 1, 2, 3
    out, inout = 1, 2


class Messages:
    """Stands for the generated protobuf module: every name is a message type."""

    def __getattr__(self, name: str) -> type[Message]:
        return Message


def to_datum(kind: str, value: Any) -> Any:
    """A runtime Datum; an HTTP request's parts are data of their own."""
    from azure_functions_runtime.bindings.datumdef import Datum

    if kind != "http":
        return Datum(value, kind)
    fields: dict[str, Any] = {name: Datum(value[name], "string") for name in ("method", "url")}
    for name in ("headers", "params", "query"):
        fields[name] = {key: Datum(text, "string") for key, text in value.get(name, {}).items()}
    fields["body"] = Datum(value.get("body", "").encode(), "bytes")
    return Datum(fields, "http")


def from_datum(datum: Any) -> Any:
    """A Datum's value as something JSON can hold."""
    value = datum.value
    if datum.type == "http":
        return {
            "status": value["status_code"].value,
            "headers": {name: text.value for name, text in value["headers"].items()},
            "body": value["body"].value.decode(),
        }
    return value.decode() if isinstance(value, bytes) else value


async def run(root: str, calls: list[dict[str, Any]]) -> dict[str, Any]:
    """Load the app, list its functions, make the calls in turn."""
    import azure_functions_runtime as runtime
    from azure_functions_runtime.native_invocation import invocation_request_native

    init = SimpleNamespace(capabilities={}, function_app_directory=root)
    request = SimpleNamespace(
        request=SimpleNamespace(worker_init_request=init), properties={"host": "127.0.0.1", "protos": Messages()}
    )
    started = await runtime.worker_init_request(request)
    if started.result.status != Message.Success:
        raise SystemExit(f"{started.result.exception.message}\n{started.result.exception.stack_trace}")
    metadata = (await runtime.functions_metadata_request(request)).function_metadata_results
    identifiers = {function.name: function.function_id for function in metadata}
    runtime.start_threadpool_executor()
    results = []
    for call in calls:
        inputs = [(name, to_datum(*parts)) for name, parts in call["inputs"].items()]
        ok, datum, _, error, trace = await invocation_request_native(
            str(uuid4()), identifiers[call["function"]], inputs, {}
        )
        result = {"ok": ok, "type": None, "value": None, "error": f"{error}\n{trace}" if error else None}
        if datum is not None and datum.type is not None:
            result |= {"type": datum.type, "value": from_datum(datum)}
        results.append(result)
    return {"functions": {function.name: list(function.raw_bindings) for function in metadata}, "results": results}


async def answer(request: dict[str, Any], output: TextIO) -> None:
    """Write the answer, and end the process there: the app's pools and exporters have nothing left to do."""
    json.dump(await run(request["root"], request["calls"]), output)
    output.flush()
    os._exit(0)


def main() -> None:
    """Read the request, write the answer; everything the app prints goes to standard error."""
    faulthandler.dump_traceback_later(120, exit=True)  # a call that hangs tells where
    request = json.load(sys.stdin)
    output, sys.stdout = sys.stdout, sys.stderr
    os.chdir(request["root"])
    sys.path.insert(0, request["root"])
    asyncio.run(answer(request, output))


if __name__ == "__main__":
    main()
