"""Timers that fail."""

import pytest

from functions import composition
from functions.timers import webhooks
from functions.timers.watched import watched
from shared.alerts.model import Alert, AlertFilter, AlertStatus
from shared.platform.database import Database
from shared.platform.settings import Settings


@pytest.fixture
async def services(
    database: Database, database_url: str, blob_connection_string: str, monkeypatch: pytest.MonkeyPatch
) -> composition.Services:
    settings = Settings(
        database_url=database_url,
        blob_connection_string=blob_connection_string,
        oidc_issuer="https://issuer.example",
        oidc_audience="shadow-hubble",
    )
    made = composition.Services(settings)
    made.__dict__["database"] = database
    monkeypatch.setattr(composition, "_services", made)
    return made


async def _alerts(services: composition.Services, status: AlertStatus) -> list[Alert]:
    found, _ = await services.alerts.list_page(AlertFilter(status=status))
    return found


async def test_a_timer_that_fails_is_an_alert_until_it_succeeds(services: composition.Services) -> None:
    """The failure still reaches the host."""
    failing = True

    @watched("sweep")
    async def sweep() -> None:
        if failing:
            raise ValueError("the broom broke")

    for _ in range(2):
        with pytest.raises(ValueError, match="broom"):
            await sweep()
    (alert,) = await _alerts(services, AlertStatus.ACTIVE)
    assert (alert.title, alert.occurrences) == ("The timer sweep fails", 2)
    assert "broom" not in str(alert.model_dump())
    failing = False
    await sweep()
    assert await _alerts(services, AlertStatus.ACTIVE) == []
    assert len(await _alerts(services, AlertStatus.RESOLVED)) == 1


async def test_without_a_signing_key_nothing_is_sent(services: composition.Services) -> None:
    """The timer has nothing to do."""
    function = webhooks.deliver_webhooks
    await function._function.get_user_function()(None)  # type: ignore[attr-defined]
    assert await _alerts(services, AlertStatus.ACTIVE) == []
