"""`make start`'s services for real: PostgreSQL and Azurite come up, are found again, move from busy ports, and stop."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient

from devhost.bootstrap import ROOT
from devhost.client import ApiClient
from devhost.console import Failure
from devhost.daemons import Daemon, free_port
from devhost.ports import PREFERRED_PORTS
from devhost.services import LocalServices
from devhost.settings_file import read_settings
from devhost.tokens import token

WELL_KNOWN_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

pytestmark = pytest.mark.slow
NewServices = Callable[[str], LocalServices]


@pytest.fixture(scope="module")
def new_services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewServices]:
    """Services of a made-up clone, on ports away from those a developer uses; removed at the end."""
    made: list[LocalServices] = []

    def make(name: str) -> LocalServices:
        folder = tmp_path_factory.mktemp(name)
        services = LocalServices(state=folder / ".local", settings=folder / "local.settings.json")
        services.ports.keep({port: free_port() for port in PREFERRED_PORTS})
        made.append(services)
        return services

    yield make
    for services in made:
        services.reset()


@pytest.fixture(scope="module")
def running(new_services: NewServices) -> LocalServices:
    """A clone whose services run; tests that use it leave them running."""
    services = new_services("clone")
    services.start(services_only=True)
    return services


def _values(services: LocalServices) -> dict[str, str]:
    return dict(read_settings(services.settings)["Values"])


def _running(services: LocalServices) -> set[str]:
    return {service.name for service in services.status() if service.running}


def test_start_stop_and_start_again_keep_the_data(running: LocalServices) -> None:
    """What the first start wrote to the database and to Blob is there after a stop and a quick second start."""
    services = running
    assert _running(services) == {"postgres", "azurite", "issuer"}
    values = _values(services)
    with psycopg.connect(values["DATABASE_URL"]) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE tablename = 'ml_models'").fetchone()
        assert tables == (1,)
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    with BlobServiceClient.from_connection_string(values["BLOB_CONNECTION_STRING"]) as blobs:
        blobs.create_container("kept").upload_blob("a", b"bytes")

    assert services.stop() == ["issuer", "azurite", "postgres"]
    assert _running(services) == set()
    begun = time.monotonic()
    services.start(services_only=True)
    assert time.monotonic() - begun < 15
    with psycopg.connect(_values(services)["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT one FROM kept").fetchone() == (1,)
    with BlobServiceClient.from_connection_string(_values(services)["BLOB_CONNECTION_STRING"]) as blobs:
        assert blobs.get_blob_client("kept", "a").download_blob().readall() == b"bytes"


def test_start_of_what_runs_changes_nothing(running: LocalServices) -> None:
    """A second start leaves processes, ports and settings as they are."""
    services = running
    before = services.azurite.pid(), _values(services), services.ports.all()
    services.start(services_only=True)
    assert (services.azurite.pid(), _values(services), services.ports.all()) == before


def test_busy_ports_are_left_to_their_owners(new_services: NewServices, capsys: pytest.CaptureFixture[str]) -> None:
    """With every port taken the services come up on others, which are printed and written to the settings."""
    services = new_services("busy")
    usual = services.ports.all()
    owners = []
    for port in usual.values():
        owner = socket.socket()
        owner.bind(("127.0.0.1", port))
        owner.listen()
        owners.append(owner)
    try:
        services.start(services_only=True)
    finally:
        for owner in owners:
            owner.close()
    chosen = services.ports.all()
    assert not {chosen[name] for name in ("postgres", "azurite_blob")} & set(usual.values())
    assert f"port {usual['postgres']} is taken" in capsys.readouterr().out
    assert f":{chosen['postgres']}/" in _values(services)["DATABASE_URL"]
    assert f":{chosen['azurite_blob']}/" in _values(services)["BLOB_CONNECTION_STRING"]


def test_two_clones_run_side_by_side(new_services: NewServices) -> None:
    """Two clones that want the same ports both run, each with its own database."""
    one, two = new_services("one"), new_services("two")
    two.ports.keep(one.ports.all())
    one.start(services_only=True)
    two.start(services_only=True)
    assert _running(one) == _running(two) == {"postgres", "azurite", "issuer"}
    assert set(one.ports.all().values()).isdisjoint(two.ports[name] for name in ("postgres", "azurite_blob"))
    assert _values(one)["DATABASE_URL"] != _values(two)["DATABASE_URL"]


def test_tokens_open_the_app_under_another_host(running: LocalServices, tmp_path: Path) -> None:
    """The app, served as `func start` would by a host that knows nothing of the issuer, takes `make token`'s tokens."""
    services = running
    folder, daemon = tmp_path / "host", Daemon("other-host", tmp_path)
    command = [sys.executable, "-m", "devhost.host", "--root", str(ROOT), "--state", str(folder)]
    environment = {**os.environ, **_values(services)}
    daemon.spawn([*command, "--port", str(services.ports["host"])], cwd=ROOT, env=environment)
    try:
        daemon.wait_until(services.app_is_ready, 60)
        for role in ("scientist", "analyst"):
            with ApiClient(services.url, token(services, role)) as client:
                assert client.get("users/me")["role"] == role
    finally:
        daemon.stop()
    with pytest.raises(Failure, match="does not answer"):
        token(services, "scientist")


def test_the_issuer_answers_nothing_but_its_own_paths(running: LocalServices) -> None:
    """Elsewhere it is a 404, and under a name that is not the loopback's a 403."""
    base = running.issuer.removesuffix("/devhost/issuer")
    with httpx.Client(base_url=base, trust_env=False) as client:
        assert client.get("/api/v1/users/me").status_code == 404
        discovery = "/devhost/issuer/.well-known/openid-configuration"
        assert client.get(discovery).json()["issuer"] == running.issuer
        assert client.get(discovery, headers={"Host": "evil.example"}).status_code == 403
        assert client.post("/devhost/issuer/token", data={"sub": "local-admin"}).json()["token_type"] == "Bearer"


def test_emulator_refuses_the_well_known_key(running: LocalServices) -> None:
    """Only this clone's own account key opens its blobs."""
    own = _values(running)["BLOB_CONNECTION_STRING"]
    foreign = own.replace(running.secrets.azurite_key, WELL_KNOWN_KEY)
    with (
        BlobServiceClient.from_connection_string(foreign) as blobs,
        pytest.raises(HttpResponseError, match="AuthorizationFailure"),
    ):
        blobs.create_container("intruder")


def test_reset_leaves_nothing_behind(new_services: NewServices) -> None:
    """After a reset nothing runs, and data, keys and settings are gone."""
    services = new_services("reset")
    services.start(services_only=True)
    key = services.secrets.function_key
    home = services._postgres_home()
    services.reset()
    assert _running(services) == set()
    assert not services.settings.exists()
    assert not (home / "data").exists()
    assert not (services.state / "azurite-data").exists()
    assert services.secrets.function_key != key
