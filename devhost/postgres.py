"""A private PostgreSQL server on the loopback interface, with the durability settings of production.

``make start`` keeps one under ``.local``; the tests start one of their own. Everything the server owns lies in one
folder: ``<home>/data`` (its files and its log), ``<home>/password`` and ``<home>/socket``.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from devhost.postgres_binaries import (
    Account,
    PostgresBinaries,
    PostgresUnavailable,
    find_binaries,
    install_wheel,
    server_account,
)

__all__ = ["PostgresBinaries", "PostgresServer", "PostgresUnavailable", "find_binaries", "free_port", "install_wheel"]

USER = "postgres"
MAINTENANCE_DATABASE = "postgres"
LONGEST_SOCKET_PATH = 100  # sockaddr_un holds 104 bytes on macOS, 108 on Linux
START_SECONDS = 60
PORT_LINE, STATUS_LINE = 3, 7  # of postmaster.pid, counted from zero
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": "200",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "max_wal_size": "2GB",
}


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PostgresServer:
    """One cluster in ``data_dir``, served on ``port``. Every method may be repeated safely.

    Run as root, the server's processes take an unprivileged account and ``data_dir`` must be reachable for it
    (``reachable`` gives such a folder).
    """

    def __init__(
        self, binaries: PostgresBinaries, data_dir: Path, port: int, *, database: str = "shadow_hubble"
    ) -> None:
        self.binaries = binaries
        self.data_dir = data_dir.resolve()
        self.port = port
        self.database = database
        self._account = server_account()
        self._password_file = self.data_dir.parent / "password"
        self._socket_dir = self.data_dir.parent / "socket"
        self._pid_file = self.data_dir / "postmaster.pid"

    @staticmethod
    def reachable(folder: Path) -> Path:
        """``folder`` itself, or its substitute under /var/tmp where the server's account cannot enter it."""
        account = server_account()
        if account is None or account.can_enter(folder):
            return folder
        name = str(folder.resolve()).strip("/").replace("/", "-")
        substitute = Path("/var/tmp") / f"shadow-hubble-{name}"  # noqa: S108 - its owner is checked
        substitute.mkdir(mode=0o755, exist_ok=True)
        if substitute.stat().st_uid != os.geteuid():
            message = f"{substitute} belongs to somebody else; remove it"
            raise PostgresUnavailable(message)
        return substitute

    @property
    def url(self) -> str:
        """The address of the application's database, password included."""
        return self.url_of(self.database)

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self.data_dir / "server.log"

    def url_of(self, database: str) -> str:
        """The address of any database of this server."""
        password = self._password_file.read_text(encoding="ascii")
        return f"postgresql://{USER}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def initialise(self) -> None:
        """Create the cluster unless it exists. Raises PostgresUnavailable for another version's data directory."""
        if (self.data_dir / "PG_VERSION").is_file():
            self._refuse_other_version()
            return
        self._check_reachable()
        # A folder of its own, renamed when complete: an interrupted initdb never looks like a cluster.
        unfinished = self.data_dir.with_name(f"{self.data_dir.name}.initialising")
        shutil.rmtree(unfinished, ignore_errors=True)
        self._own_folder(unfinished)
        password = secrets.token_urlsafe(24)
        self._write_password(password)
        handover = unfinished.with_name(f"{unfinished.name}.password")
        _write_private(handover, password, self._account)
        try:
            self._run(
                "initdb",
                *("--pgdata", str(unfinished), "--username", USER, "--pwfile", str(handover)),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"),
            )
        finally:
            handover.unlink()
        with (unfinished / "postgresql.conf").open("a", encoding="utf-8") as configuration:
            configuration.write("\ninclude 'shadow_hubble.conf'\n")
        if self.data_dir.is_dir():
            self.data_dir.rmdir()
        unfinished.rename(self.data_dir)

    def start(self) -> None:
        """Start the server and create the application's database; a server already running is taken as it is.

        The port of a running server becomes ``port``. Raises PostgresUnavailable, naming the port when it is busy.
        """
        self.initialise()
        if self.running:
            self._await_running()
        else:
            self._refuse_busy_port()
            shutil.rmtree(self._socket_dir, ignore_errors=True)  # a killed server leaves its lock file
            self._own_folder(self._socket_dir)
            self._write_settings()
            self._disown_stale_pid_file()
            self._run(
                "pg_ctl", "start", "--pgdata", str(self.data_dir), "--log", str(self.log), "--wait",
                "--timeout", str(START_SECONDS), "--silent",
            )  # fmt: skip
        self.create_database(self.database)

    def stop(self) -> None:
        """Stop the server, ending its sessions; nothing happens when it is not running."""
        if self.running:
            self._run("pg_ctl", "stop", "--pgdata", str(self.data_dir), "--mode", "fast", "--wait", "--silent")

    @property
    def running(self) -> bool:
        """Whether a postmaster serves this data directory."""
        lines = self._pid_file_lines()
        return bool(lines) and _is_postgres(int(lines[0]))

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Create the database unless it exists, as a copy of ``template``; returns its address."""
        with psycopg.connect(self.url_of(MAINTENANCE_DATABASE), autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
            if known is None:
                statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
                connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return self.url_of(name)

    def drop_database(self, name: str) -> None:
        """Drop the database with its sessions; nothing happens when there is none."""
        with psycopg.connect(self.url_of(MAINTENANCE_DATABASE), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _check_reachable(self) -> None:
        if self._account is not None and not self._account.can_enter(self.data_dir):
            message = f"PostgreSQL runs as {self._account.name!r} here, who cannot enter {self.data_dir}"
            raise PostgresUnavailable(message)

    def _refuse_other_version(self) -> None:
        major = (self.data_dir / "PG_VERSION").read_text(encoding="ascii").strip()
        if major != str(self.binaries.major):
            message = (
                f"{self.data_dir} was made by PostgreSQL {major}, this is {self.binaries.version}: "
                f"install PostgreSQL {major} again, or remove the folder (its data is lost)"
            )
            raise PostgresUnavailable(message)

    def _refuse_busy_port(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError as error:
                message = f"port {self.port} on 127.0.0.1 is taken by another program; PostgreSQL cannot listen there"
                raise PostgresUnavailable(message) from error

    def _pid_file_lines(self) -> list[str]:
        try:
            return self._pid_file.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []

    def _await_running(self) -> None:
        """Wait until the server that somebody else started takes connections, and take over its port."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            lines = self._pid_file_lines()
            if len(lines) > STATUS_LINE and lines[STATUS_LINE].strip() == "ready":
                self.port = int(lines[PORT_LINE])
                return
            time.sleep(0.1)
        message = f"PostgreSQL in {self.data_dir} runs but takes no connections; see {self.log}"
        raise PostgresUnavailable(message)

    def _disown_stale_pid_file(self) -> None:
        """Let a killed server be started although its process id is somebody else's by now.

        PostgreSQL refuses to start while the recorded process exists. The file is kept, with the id of a process that
        has ended: PostgreSQL then still checks that no orphan of the old server uses the shared memory it names.
        """
        lines = self._pid_file_lines()
        if lines and not _is_postgres(int(lines[0])):
            ended = subprocess.Popen(["true"])
            ended.wait()
            self._pid_file.write_text("\n".join([str(ended.pid), *lines[1:], ""]), encoding="utf-8")

    def _own_folder(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        if self._account is not None:
            os.chown(folder, self._account.uid, self._account.gid)

    def _write_password(self, password: str) -> None:
        _write_private(self._password_file, password, None)

    def _write_settings(self) -> None:
        socket_path = str(self._socket_dir)
        socket_folder = socket_path if len(f"{socket_path}/.s.PGSQL.65535") <= LONGEST_SOCKET_PATH else ""
        settings = SETTINGS | {"port": str(self.port), "unix_socket_directories": socket_folder}
        quoted = {name: value.replace("'", "''") for name, value in settings.items()}
        path = self.data_dir / "shadow_hubble.conf"
        path.write_text("".join(f"{name} = '{value}'\n" for name, value in quoted.items()), encoding="utf-8")
        if self._account is not None:
            os.chown(path, self._account.uid, self._account.gid)

    def _run(self, program: str, *arguments: str) -> None:
        outcome = self._execute([self.binaries.program(program), *arguments])
        if outcome.returncode != 0:
            log = self.log.read_text(encoding="utf-8", errors="replace")[-2000:] if self.log.exists() else ""
            message = f"{program} failed ({outcome.returncode}): {outcome.stderr.strip()}\n{log}".rstrip()
            raise PostgresUnavailable(message)

    def _execute(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        environment |= {"LC_ALL": "C", "TZ": "UTC"}
        if self._account is None:
            return subprocess.run(
                command, cwd="/", env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
        return subprocess.run(
            command, cwd="/", env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            user=self._account.uid, group=self._account.gid, extra_groups=[],
        )  # fmt: skip


def _write_private(path: Path, text: str, account: Account | None) -> None:
    """Write ``text`` so that nobody but the owner reads it, not even for a moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
    if account is not None:
        os.chown(path, account.uid, account.gid)


def _is_postgres(pid: int) -> bool:
    """Whether the process is a running PostgreSQL server: not ended, not a zombie, not another program."""
    if Path("/proc/self/stat").exists():
        try:
            status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
        name, _, rest = status.partition("(")[2].rpartition(")")
        return name.startswith("postgres") and rest.split()[0] not in ("Z", "X")
    listed = subprocess.run(["ps", "-o", "stat=,comm=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, command = listed.stdout.strip().partition(" ")
    return not state.startswith("Z") and Path(command.strip()).name.startswith("postgres")
