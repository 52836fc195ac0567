"""checkov finds nothing without a reason, and what is planted."""

import pytest

from infra.checks.__main__ import INFRA
from infra.checks.bicep import read, read_all
from infra.checks.scan import ACCEPTED, ENVIRONMENT, scan

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ENVIRONMENT / "bin/checkov").exists(), reason="make check-infra installs checkov"),
]


def test_every_finding_has_a_reason_and_every_reason_a_finding() -> None:
    """A finding that is gone leaves the list, so that it is new when it comes back."""
    passed, findings = scan(read_all(INFRA), "prod.bicepparam")
    assert passed > 40
    assert {finding.check for finding in findings} == set(ACCEPTED)


def test_a_planted_mistake_is_found() -> None:
    """TLS of the last century."""
    files, name = read_all(INFRA), "modules/storage.bicep"
    source = files[name].source.replace("minimumTlsVersion: 'TLS1_2'", "minimumTlsVersion: 'TLS1_0'")
    _, findings = scan({**files, name: read(name, source)}, "prod.bicepparam")
    assert {finding.check for finding in findings} > set(ACCEPTED)
