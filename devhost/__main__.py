"""The development commands: `python -m devhost start`, or `make start`, which sets up Python first."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from devhost.console import Failure
from devhost.services import LocalServices

Command = Callable[[argparse.Namespace], int]


def start(options: argparse.Namespace) -> int:
    """Start everything; train and promote a first model when there is none; score a transaction."""
    begun = time.monotonic()
    services = LocalServices.of_environment()
    print("Starting", flush=True)
    services.start(services_only=options.services_only)
    if options.services_only:
        print(f"\nready for func start: {services.settings.name} points to all of these; then make token gives tokens")
        return 0
    print(_demonstrate(services, demo=not options.no_demo))
    print(f"\nready in {time.monotonic() - begun:.1f} s: {services.url}/api/v1")
    return 0


def _demonstrate(services: LocalServices, demo: bool) -> str:
    from devhost import closing
    from devhost import demo as scenario
    from devhost.client import ApiClient
    from devhost.tokens import token

    key = services.secrets.function_key
    with ApiClient(services.url, token(services, "scientist")) as client:
        model = scenario.production_model(client)
        if model is None and demo:
            print("First model (everything below goes over HTTP)", flush=True)
            model = scenario.train_and_promote(client)
        if model is None or model["name"] != scenario.MODEL:
            return "\n" + closing.commands(services.url, key)
        strange, answer, usual, usual_answer, stored = scenario.score(client)
    parts = [
        "",
        closing.scored(strange, answer, stored, model),
        closing.compared(usual, usual_answer),
        "",
        closing.commands(services.url, key, strange, answer["prediction_id"], model["id"]),
    ]
    return "\n".join(parts)


def stop(options: argparse.Namespace) -> int:
    """Stop what runs; data stays."""
    stopped = LocalServices.of_environment().stop()
    print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")
    return 0


def reset(options: argparse.Namespace) -> int:
    """Stop everything and delete all local data."""
    LocalServices.of_environment().reset()
    print("local data, keys and settings are deleted; make start begins anew")
    return 0


def status(options: argparse.Namespace) -> int:
    """Say what runs and where; exit code 3 when something does not."""
    found = LocalServices.of_environment().status()
    for service in found:
        print(
            f"  {service.name:<10} {'running' if service.running else 'stopped':<8} {service.address:<32} {service.log}"
        )
    return 0 if all(service.running for service in found) else 3


def token(options: argparse.Namespace) -> int:
    """Print a bearer token and nothing else."""
    from devhost.tokens import token as make_token

    print(make_token(LocalServices.of_environment(), options.role))
    return 0


def logs(options: argparse.Namespace) -> int:
    """Follow the logs of all services until interrupted."""
    files = [str(service.log) for service in LocalServices.of_environment().status() if service.log.exists()]
    if not files:
        raise Failure("there are no logs yet", "make start")
    follow = [] if options.no_follow else ["-F"]
    return subprocess.run(["tail", "-n", str(options.lines), *follow, *files], check=False).returncode


def lint(options: argparse.Namespace) -> int:
    """Ruff, mypy and the import contracts."""
    from devhost import checks

    return min(checks.lint(), 1)


def reformat(options: argparse.Namespace) -> int:
    """Let ruff rewrite what it can."""
    from devhost import checks

    return checks.reformat()


def test(options: argparse.Namespace) -> int:
    """Lint and all tests; arguments go to pytest and leave the lints out."""
    from devhost import checks

    return checks.test(options.arguments)


def lock(options: argparse.Namespace) -> int:
    """Resolve the dependencies and write the lock files."""
    from devhost import locks

    locks.lock(upgrade=options.upgrade)
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(prog="python -m devhost", description=__doc__)
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: Command) -> argparse.ArgumentParser:
        summary = (run.__doc__ or "").splitlines()[0]
        command = commands.add_parser(name, help=summary, description=summary)
        command.set_defaults(run=run)
        return command

    starting = add("start", start)
    starting.add_argument(
        "--services-only", action="store_true", help="PostgreSQL, Azurite and the token issuer, not the host"
    )
    starting.add_argument("--no-demo", action="store_true", help="do not train a first model")
    add("stop", stop)
    add("reset", reset)
    add("status", status)
    add("token", token).add_argument("role", metavar="ROLE", help="admin, scientist or analyst")
    following = add("logs", logs)
    following.add_argument("--lines", type=int, default=20)
    following.add_argument("--no-follow", action="store_true", help="print the last lines and end")
    add("lint", lint)
    add("format", reformat)
    add("test", test).add_argument("arguments", nargs="*", metavar="PYTEST_ARGUMENT")
    add("lock", lock).add_argument("--upgrade", action="store_true", help="newest versions instead of the locked ones")
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; failures are printed without a traceback."""
    options = parser().parse_args(arguments)
    run: Command = options.run
    try:
        return run(options)
    except Failure as failure:
        print(failure.render(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


if __name__ == "__main__":
    sys.exit(main())
