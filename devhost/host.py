"""The development host as a process: `python -m devhost.host --root . --state .local/host --port 7071`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import uvicorn

from devhost.app_loader import AppError, LoadedApp, load_app, load_local_settings
from devhost.asgi import Handler, HostApplication, Request, Response
from devhost.invocation import Invoker
from devhost.keys import load_keys
from devhost.logs import configure_logging

log = logging.getLogger("devhost")
DRAIN_SECONDS = 10
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


async def _serve(root: Path, state_dir: Path, port: int) -> None:
    listener = _listen(port)
    origin = f"http://{HOST}:{listener.getsockname()[1]}"
    keys = load_keys(state_dir)
    app = load_app(root)
    invoker = Invoker(str(app.root))
    system: dict[str, Handler] = {}

    async def status(request: Request) -> Response:
        return Response(200, json.dumps({"state": "Running"}).encode(), [(b"content-type", b"application/json")])

    system["admin/host/status"] = status
    application = HostApplication(app, invoker, keys, system)
    config = uvicorn.Config(
        application,
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    server = _Server(config)

    def stop() -> None:
        server.force_exit = server.should_exit  # a second signal does not wait
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    _announce(app, origin)
    log.info("host started", extra={"url": origin, "functions": len(app.functions), "state": str(state_dir)})
    try:
        await server.serve(sockets=[listener])
    finally:
        invoker.close()
        log.info("host stopped")


def run_host(root: Path, state_dir: Path, port: int) -> None:
    """Run the app in root until SIGTERM or SIGINT, with state (keys, journal, timers, issuer key) in state_dir.

    In-flight requests get 10 seconds to end. Settings come from local.settings.json where the environment lacks them.

    Raises:
        AppError: the app cannot be loaded, or the port is in use.
    """
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    load_local_settings(root)
    configure_logging(os.environ.get("LOG_LEVEL", "INFO"))
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(root, state_dir.resolve(), port))


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m devhost.host", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(), help="directory that holds function_app.py")
    parser.add_argument("--state", type=Path, default=Path(".local/host"), help="directory for the host's state")
    parser.add_argument("--port", type=int, default=7071, help="loopback port; 0 chooses a free one")
    options = parser.parse_args(arguments)
    try:
        run_host(options.root, options.state, options.port)
    except AppError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
