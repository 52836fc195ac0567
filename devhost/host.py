"""The development host as a process: `python -m devhost.host --root . --state .local/host --port 7071`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import math
import os
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import uvicorn

from devhost.admin import Admin
from devhost.app_loader import AppError, LoadedApp, load_app, load_local_settings
from devhost.asgi import Handler, HostApplication
from devhost.constraints import UnknownConstraint
from devhost.durable.binding import client_binding
from devhost.durable.engine import Engine
from devhost.durable.journal import JournalError
from devhost.durable.management import Management
from devhost.invocation import Invoker
from devhost.issuer import ISSUER_PATH, Issuer
from devhost.keys import load_keys
from devhost.logs import configure_logging
from devhost.schedule import InvalidSchedule
from devhost.templates import InvalidTemplate
from devhost.timers import Timers

log = logging.getLogger("devhost")
DRAIN_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 130  # Kestrel's; longer than any client of the app keeps an idle connection
HOST = "127.0.0.1"


class _Server(uvicorn.Server):
    """uvicorn without its signal handling: the host stops its parts in order itself."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def _listen(port: int) -> socket.socket:
    """Bind the loopback address; port 0 lets the system choose.

    Raises:
        AppError: the port is in use.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise AppError(f"port {port} on {HOST} is in use") from error
    return listener


def _announce(app: LoadedApp, origin: str) -> None:
    prefix = app.settings.route_prefix.strip("/")
    for function in app.functions:
        fields: dict[str, Any] = {"function": function.name, "trigger": function.kind}
        if function.disabled:
            fields["disabled"] = True
        if function.kind == "httpTrigger":
            route = str(function.trigger.get("route") or function.name)
            fields["methods"] = list(function.methods) or ["*"]
            fields["url"] = "/".join(part for part in (origin, prefix, route) if part)
        elif function.kind == "timerTrigger":
            fields["schedule"] = function.trigger["schedule"]
        log.info("function", extra=fields)


class Host:
    """One app, served. `stop` may be called from a signal handler; a second call does not wait for anything."""

    def __init__(self, root: Path, state_dir: Path, listener: socket.socket, drain_seconds: float) -> None:
        self.origin = f"http://{HOST}:{listener.getsockname()[1]}"
        self._listener = listener
        self._state_dir = state_dir
        self._drain_seconds = drain_seconds
        keys = load_keys(state_dir)
        self.app = load_app(root)
        self._invoker = Invoker(str(self.app.root), client_binding(self.app.settings, self.origin, keys.durable))
        self._engine = Engine(self.app, self._invoker, state_dir)
        self._timers = Timers(self.app, self._invoker, state_dir)
        system: dict[str, Handler] = {
            **Management(self._engine, keys, self.origin).handlers,
            **Admin(self.app, keys, self._timers).handlers,
            **Issuer(state_dir, f"{self.origin}{ISSUER_PATH}").handlers,
        }
        config = uvicorn.Config(
            HostApplication(self.app, self._invoker, keys, system),
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level="warning",
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=math.ceil(drain_seconds),
        )
        self._server = _Server(config)
        self._stopping_since: float | None = None

    def stop(self) -> None:
        """End: no new requests; those in flight get the drain time."""
        self._server.force_exit = self._server.should_exit
        self._server.should_exit = True
        self._stopping_since = time.monotonic()

    async def serve(self) -> None:
        """Run until `stop`: then drain requests, end timers, let activities end within the same time."""
        self._listener.listen(2048)  # from here on the app's own calls to the host wait instead of being refused
        await self._engine.start()
        self._timers.start()
        _announce(self.app, self.origin)
        fields = {"url": self.origin, "functions": len(self.app.functions), "state": str(self._state_dir)}
        log.info("host started", extra=fields)
        try:
            await self._server.serve(sockets=[self._listener])
        finally:
            await self._timers.stop()
            since = self._stopping_since or time.monotonic()
            await self._engine.stop(max(0.0, since + self._drain_seconds - time.monotonic()))
            self._invoker.close()
            log.info("host stopped")


async def _run(root: Path, state_dir: Path, port: int, drain_seconds: float) -> None:
    loop = asyncio.get_running_loop()
    to_thread = ThreadPoolExecutor(thread_name_prefix="to_thread")
    loop.set_default_executor(to_thread)
    host = Host(root, state_dir, _listen(port), drain_seconds)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, host.stop)
    await host.serve()
    to_thread.shutdown(wait=False, cancel_futures=True)
    _leave_busy_threads()


def _leave_busy_threads() -> None:
    """Python waits for pool threads at exit; one that computes on must not keep the host from ending."""
    deadline = time.monotonic() + 1
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                log.warning("a function still runs in a thread; leaving it", extra={"worker": thread.name})
                logging.shutdown()
                os._exit(0)


def run_host(root: Path, state_dir: Path, port: int, drain_seconds: float = DRAIN_SECONDS) -> None:
    """Run the app in root until SIGTERM or SIGINT, with state (keys, journal, timers, issuer key) in state_dir.

    Running requests and activities get drain_seconds to end. Settings that the environment lacks come from
    local.settings.json.

    Raises:
        AppError: the app cannot be loaded, or the port is in use.
        JournalError: the journal is damaged, or another host uses the state directory.
        ValueError: a route template or a timer's schedule is malformed.
    """
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    load_local_settings(root)
    configure_logging(os.environ.get("LOG_LEVEL", "INFO"))
    warnings.filterwarnings("ignore", "Potential duplicate Task completion")  # the SDK on an event that came early
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_run(root, state_dir.resolve(), port, drain_seconds))


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m devhost.host", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(), help="directory that holds function_app.py")
    parser.add_argument("--state", type=Path, default=Path(".local/host"), help="directory for the host's state")
    parser.add_argument("--port", type=int, default=7071, help="loopback port; 0 chooses a free one")
    parser.add_argument("--drain", type=float, default=DRAIN_SECONDS, help="seconds that running work gets at SIGTERM")
    options = parser.parse_args(arguments)
    try:
        run_host(options.root, options.state, options.port, options.drain)
    except (AppError, InvalidSchedule, InvalidTemplate, JournalError, UnknownConstraint) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
