"""Readiness on a real database and a real blob store."""

from collections.abc import AsyncIterator
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import azure.functions as func
import pytest

from devhost.daemons import free_port
from functions.composition import Services
from functions.endpoint import Call
from functions.http.health import check_readiness
from shared.audit.model import Origin
from shared.platform.blobs import BlobStore
from shared.platform.database import Database
from shared.platform.settings import Settings
from shared.users.model import Caller


@pytest.fixture
async def services(
    database_url: str, blobs: BlobStore, blob_connection_string: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Services]:
    """The app's own composition on the test's database and container."""
    environment = {
        "DATABASE_URL": database_url,
        "BLOB_CONNECTION_STRING": blob_connection_string,
        "BLOB_CONTAINER": blobs.container_name,
        "OIDC_ISSUER": "https://issuer.example",
        "OIDC_AUDIENCE": "shadow-hubble",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    services = Services(Settings())
    await services.database.open()
    yield services
    await services.database.close()
    await services.blobs.close()


async def _readiness(services: Services, caller: Caller, origin: Origin) -> tuple[int | None, dict[str, Any]]:
    request = func.HttpRequest(method="GET", url="/api/v1/health/ready", body=b"")
    reply = await check_readiness(Call(services, caller, origin, request))
    return reply.status, reply.data["checks"]


async def test_an_app_without_a_model_is_ready(services: Services, origin: Origin, system: Caller) -> None:
    """Models are trained by the app itself."""
    status, checks = await _readiness(services, system, origin)
    assert status == 200
    assert {name: check["status"] for name, check in checks.items()} == dict.fromkeys(checks, "ok")


async def test_it_is_told_which_dependency_is_away_and_nothing_else(
    services: Services, origin: Origin, system: Caller, database_url: str
) -> None:
    """Within seconds, by its name, without addresses, accounts or what the driver said."""
    await services.database.close()
    away = urlsplit(database_url)
    secret = f"postgresql://{away.username}:{away.password}@127.0.0.1:{free_port()}/{away.path[1:]}"
    services.__dict__["database"] = Database(secret, timeout_seconds=1)
    for name in ("registry", "alerts", "scoring"):
        services.__dict__.pop(name, None)
    await services.database.open()
    begun = perf_counter()
    status, checks = await _readiness(services, system, origin)
    assert perf_counter() - begun < 4
    assert status == 503
    assert checks["database"] == {"status": "failed", "reason": "the database is not reachable"}
    assert checks["blob"] == {"status": "ok"}
    told = str(checks)
    assert not any(word in told for word in (str(away.password), str(away.username), "127.0.0.1", "refused"))


async def test_blob_storage_that_is_away_is_told_and_the_app_stays_ready(
    services: Services, origin: Origin, system: Caller
) -> None:
    """The loaded model goes on scoring without it."""
    await services.blobs.close()
    account = f"BlobEndpoint=http://127.0.0.1:{free_port()}/devstoreaccount1"
    connection = f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=bm90IGEga2V5;{account};"
    services.__dict__["blobs"] = BlobStore(container="away", connection_string=connection, retries=0)
    status, checks = await _readiness(services, system, origin)
    assert status == 200
    assert checks["blob"] == {"status": "failed", "reason": "blob storage is not reachable"}
    assert checks["database"] == {"status": "ok"}


async def test_a_model_that_cannot_be_read_is_told_and_the_app_stays_ready(
    services: Services, origin: Origin, system: Caller
) -> None:
    """Whatever is wrong with it: the other routes work, and taking the worker away would repair nothing."""
    async with services.database.connection() as conn:
        await conn.execute(
            "INSERT INTO ml_models (name, version, algorithm, hyperparameters, storage_path, metrics, status) "
            "VALUES ('fraud', '1.0', 'xgboost', '{}', 'models/x/', '[]', 'PRODUCTION')"
        )
    status, checks = await _readiness(services, system, origin)
    assert status == 200
    assert (checks["database"]["status"], checks["model"]["status"]) == ("ok", "failed")
    assert "metrics" not in checks["model"]["reason"]
