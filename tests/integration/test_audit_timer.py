"""The timer that writes the head of the audit log down."""

import logging

import pytest

from functions import composition
from functions.timers.audit import AUDIT_HEAD, note_audit_head
from shared.audit.model import Origin
from shared.audit.service import AuditService
from shared.platform.blobs import BlobStore
from shared.platform.clock import utc_now
from shared.platform.database import Database
from shared.platform.settings import Settings
from shared.platform.telemetry import configure_logging
from tests.fixtures.audit import write_entries


@pytest.fixture
def services(
    database: Database, database_url: str, blob_connection_string: str, monkeypatch: pytest.MonkeyPatch
) -> composition.Services:
    """The app's own composition on the test's database."""
    settings = Settings(
        database_url=database_url,
        blob_connection_string=blob_connection_string,
        oidc_issuer="https://issuer.example",
        oidc_audience="shadow-hubble",
    )
    made = composition.Services(settings)
    made.__dict__["database"] = database
    monkeypatch.setattr(composition, "_services", made)
    configure_logging("INFO")
    return made


async def _run() -> None:
    await note_audit_head._function.get_user_function()(None)  # type: ignore[attr-defined]


def _heads(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.head for record in caplog.records if record.getMessage() == AUDIT_HEAD]  # type: ignore[attr-defined]


async def test_the_newest_seal_is_logged(
    services: composition.Services,
    database: Database,
    audit: AuditService,
    origin: Origin,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Under the name that is searched for, in the form that the verifying command takes; an empty log has none."""
    with caplog.at_level(logging.INFO):
        await _run()
        assert _heads(caplog) == []
        await write_entries(database, origin, 3)
        await _run()
    head = await audit.head()
    assert head is not None
    assert _heads(caplog) == [str(head)]
    assert str(head).startswith("3:")


async def test_the_head_is_kept_where_no_owner_of_the_database_can_change_it(
    services: composition.Services, database: Database, blobs: BlobStore, audit: AuditService, origin: Origin
) -> None:
    """Where a container for heads is configured, the hour's blob says what the log said."""
    services.__dict__["audit_heads"] = blobs
    await write_entries(database, origin, 1)
    now = utc_now()
    await _run()
    kept = (await blobs.read_bytes(f"{now:%Y/%m/%d/%H}.txt")).decode()
    assert kept == f"{await audit.head()}\n"
