"""Readiness on a real database and a real blob store."""

from collections.abc import AsyncIterator
from typing import Any

import azure.functions as func
import pytest

from functions.composition import Services
from functions.endpoint import Call
from functions.http.health import check_readiness
from shared.audit.model import Origin
from shared.platform.blobs import BlobStore
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
