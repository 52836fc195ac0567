"""`local.settings.json`: private, complete, and careful with what the user changed."""

from __future__ import annotations

import json
from pathlib import Path

from devhost.settings_file import SAMPLE, LocalSecrets, read_settings, write_settings
from shared.platform.settings import Settings


def test_new_file_holds_the_sample_and_the_decided_values(tmp_path: Path) -> None:
    """Everything of the sample is there, decided values replace its placeholders."""
    path = tmp_path / "local.settings.json"
    values = write_settings(path, {"DATABASE_URL": "postgresql://here"}, port=7099)
    written = json.loads(path.read_text())
    assert written["Values"] == values
    assert values["DATABASE_URL"] == "postgresql://here"
    assert set(values) >= set(json.loads(SAMPLE.read_text())["Values"])
    assert written["Host"]["LocalHttpPort"] == 7099


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    """The file holds passwords, so its mode is 0600 whatever the umask."""
    path = tmp_path / "local.settings.json"
    write_settings(path, {}, port=7071)
    LocalSecrets.load(tmp_path / "secrets.json")
    assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_values_of_the_user_survive(tmp_path: Path) -> None:
    """What the user added or changed stays, save what a start decides."""
    path = tmp_path / "local.settings.json"
    write_settings(path, {"OIDC_ISSUER": "http://a"}, port=7071)
    content = read_settings(path)
    content["Values"] |= {"LOG_LEVEL": "DEBUG", "MY_OWN": "1"}
    path.write_text(json.dumps(content))
    values = write_settings(path, {"OIDC_ISSUER": "http://b"}, port=7071)
    assert (values["LOG_LEVEL"], values["MY_OWN"], values["OIDC_ISSUER"]) == ("DEBUG", "1", "http://b")


def test_sample_settings_are_valid() -> None:
    """The sample as it is makes a Settings object, and every value is text, as Core Tools demand."""
    values = json.loads(SAMPLE.read_text())["Values"]
    assert all(isinstance(value, str) for value in values.values())
    settings = Settings(
        **{name.lower(): value for name, value in values.items() if name.lower() in Settings.model_fields}
    )
    assert settings.bootstrap_admins == {"local-admin"}


def test_secrets_are_made_once(tmp_path: Path) -> None:
    """The same clone keeps its keys, another one has others."""
    first = LocalSecrets.load(tmp_path / "secrets.json")
    assert LocalSecrets.load(tmp_path / "secrets.json") == first
    assert LocalSecrets.load(tmp_path / "other.json") != first
    assert len(first.function_key_sha256) == 64
