"""Settings: read from the environment, complete in the sample file and in the docs, refused when inconsistent."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.platform.settings import Settings

ROOT = Path(__file__).parents[3]
NAMES = sorted(name.upper() for name in Settings.model_fields)
GOOD = {
    "DATABASE_URL": "postgresql://app:secret@localhost/app",
    "BLOB_CONNECTION_STRING": "UseDevelopmentStorage=true",
    "OIDC_ISSUER": "https://issuer.example",
    "OIDC_AUDIENCE": "app",
}


def _read(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> Settings:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return Settings()


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_in_the_sample(name: str) -> None:
    """Whoever copies local.settings.sample.json sees every setting there is."""
    assert name in json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_documented(name: str) -> None:
    """docs/settings.md has a row for each setting."""
    assert f"| `{name}` |" in (ROOT / "docs" / "settings.md").read_text()


def test_the_specifications_pool_figures_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """20 connections, 10 more in a burst, replaced after an hour."""
    settings = _read(monkeypatch, GOOD)
    assert (settings.database_pool_size, settings.database_max_overflow) == (20, 10)
    assert settings.database_pool_recycle_seconds == 3600


def test_comma_separated_settings_become_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blanks around the commas and empty entries do not count."""
    settings = _read(monkeypatch, {**GOOD, "BOOTSTRAP_ADMINS": " one, two,,", "FUNCTION_KEY_SHA256S": "A" * 64})
    assert settings.bootstrap_admins == {"one", "two"}
    assert settings.function_key_sha256s == {"a" * 64}


@pytest.mark.parametrize(
    "changes",
    [
        {"DATABASE_URL": "mysql://localhost/app"},
        {"BLOB_CONNECTION_STRING": ""},
        {"FUNCTION_KEY_SHA256S": "a plain key"},
        {"DATABASE_POOL_SIZE": "0"},
        {"LOG_LEVEL": "LOUD"},
        {"DRIFT_WINDOW_HOURS": "1,0"},
        {"DRIFT_LIMITS": '{"psy": [0.1, 0.2]}'},
        {"DRIFT_LIMITS": '{"psi": [0.3, 0.2]}'},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_bad_settings_are_refused(monkeypatch: pytest.MonkeyPatch, changes: dict[str, str]) -> None:
    """A worker with wrong settings does not start, and what it logs does not repeat them: they may be secrets."""
    with pytest.raises(ValidationError) as refused:
        _read(monkeypatch, {**GOOD, **changes})
    assert "input_value" not in str(refused.value)


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Printing the settings prints no password and no key."""
    shown = repr(_read(monkeypatch, GOOD))
    assert "secret@" not in shown
    assert "UseDevelopmentStorage" not in shown
