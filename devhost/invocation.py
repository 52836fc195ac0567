"""Calling a function as the Python worker does: `async def` on the event loop, plain `def` on a thread pool."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from uuid import uuid4

import azure.functions as func

from devhost.app_loader import IndexedFunction


class InvocationContext(func.Context):
    """The `context` argument of a function. Trace and retry contexts are not provided."""

    __slots__ = ("_directory", "_invocation_id", "_name", "_storage")

    def __init__(self, name: str, directory: str, storage: threading.local) -> None:
        self._name = name
        self._directory = directory
        self._invocation_id = str(uuid4())
        self._storage = storage

    @property
    def invocation_id(self) -> str:
        """A new UUID for each call."""
        return self._invocation_id

    @property
    def thread_local_storage(self) -> Any:
        """Where a worker thread keeps the invocation id for its logger."""
        return self._storage

    @property
    def function_name(self) -> str:
        """The function's name."""
        return self._name

    @property
    def function_directory(self) -> str:
        """The app's root directory."""
        return self._directory

    @property
    def trace_context(self) -> Any:
        """Not provided."""
        return None

    @property
    def retry_context(self) -> Any:
        """Not provided."""
        return None


class Invoker:
    """Runs functions. Context variables do not cross into the thread pool, as in the worker."""

    def __init__(self, directory: str, client_json: str = "") -> None:
        workers = int(os.environ.get("PYTHON_THREADPOOL_THREAD_COUNT") or min(32, (os.cpu_count() or 1) + 4))
        self.executor = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="function")
        self.client_json = client_json
        self._directory = directory
        self._storage = threading.local()

    def context_for(self, function: IndexedFunction) -> InvocationContext:
        """A fresh `context` argument."""
        return InvocationContext(function.name, self._directory, self._storage)

    async def invoke(self, function: IndexedFunction, argument: Any) -> Any:
        """Call a function with its trigger's value; its exception is passed on."""
        arguments: dict[str, Any] = {function.parameter: argument}
        for name in function.client_parameters:
            arguments[name] = self.client_json
        if function.wants_context:
            arguments["context"] = self.context_for(function)
        if function.is_async:
            return await function.call(**arguments)
        return await asyncio.get_running_loop().run_in_executor(self.executor, partial(function.call, **arguments))

    def close(self) -> None:
        """Stop accepting plain functions; threads that still run are left to end by themselves."""
        self.executor.shutdown(wait=False, cancel_futures=True)
