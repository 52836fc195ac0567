"""``python -m infra.checks.scan``: checkov over what production deploys, with a reason for each finding left.

checkov pins a hundred packages of its own, so it lives in an environment of its own under .local. Its Bicep reader
stops at typed arrays and other syntax of the last years; it reads the template that ``arm`` makes instead.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from infra.checks.__main__ import INFRA
from infra.checks.arm import template
from infra.checks.bicep import read_all
from infra.checks.deployed import deployed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.checks.bicep import File

CHECKOV: Final = "checkov==3.3.30"
ENVIRONMENT: Final = INFRA.parent / ".local/checkov"

# Findings that stay, each with its reason.
_NOT_WEB: Final = "app settings are a config resource too; this is about its sibling web"
ACCEPTED: Final = {
    "CKV_AZURE_13": "the app validates tokens itself; the platform's sign-in would redirect machines to a page",
    "CKV_AZURE_17": "callers prove themselves with a token or a key; their certificates are not asked for",
    "CKV_AZURE_36": "nothing of Microsoft's outside the network needs the accounts",
    "CKV_AZURE_41": "digests of keys do not expire; docs/operations.md has their rotation",
    "CKV_AZURE_43": "the names are computed in Azure, from letters and digits",
    "CKV_AZURE_63": _NOT_WEB,
    "CKV_AZURE_65": _NOT_WEB,
    "CKV_AZURE_66": _NOT_WEB,
    "CKV_AZURE_80": _NOT_WEB,
    "CKV_AZURE_88": _NOT_WEB,
    "CKV_AZURE_139": "a private registry needs the Premium tier; the image holds no secret, only the identity pulls it",
    "CKV_AZURE_163": "Defender scans registries by a plan of the subscription, not of the registry",
    "CKV_AZURE_166": "quarantine needs the Premium tier; the one image is built and run by the same deployment",
    "CKV_AZURE_206": "the host's account is zone-redundant; its state is worth nothing in another region",
    "CKV_AZURE_212": "Flex Consumption counts instances in functionAppConfig, which the check does not know",
    "CKV_AZURE_213": "Flex Consumption has no health check path; the availability test asks health/ready",
    "CKV_AZURE_222": "the API is public on purpose: through Front Door only, and nothing without an identity",
}


class Finding(NamedTuple):
    """A failed check: its id, its title, and the resource."""

    check: str
    title: str
    resource: str


def scan(files: Mapping[str, File], environment: str) -> tuple[int, list[Finding]]:
    """How many checks passed, and the findings."""
    with tempfile.TemporaryDirectory() as folder:
        text = json.dumps(template(deployed(files, environment), files), indent=1)
        Path(folder, "template.json").write_text(text)
        command = [str(ENVIRONMENT / "bin/checkov"), "-d", folder, "--framework", "arm", "--skip-download"]
        run = subprocess.run(  # noqa: S603
            [*command, "--output", "json", "--quiet"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "LOG_LEVEL": "ERROR"},
        )
    report = json.loads(run.stdout)
    if report["summary"]["parsing_errors"]:
        raise SystemExit("checkov could not read the templates")
    failed = report["results"]["failed_checks"]
    findings = {Finding(entry["check_id"], entry["check_name"], entry["resource"]) for entry in failed}
    return report["summary"]["passed"], sorted(findings)


def install() -> None:
    """Make checkov's environment unless it is there."""
    if not (ENVIRONMENT / "bin/checkov").exists():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)  # noqa: S603
        python = str(ENVIRONMENT / "bin/python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", CHECKOV], check=True)  # noqa: S603


def main() -> int:
    """Scan production; 1 when a finding has no reason or a reason no finding."""
    install()
    passed, findings = scan(read_all(INFRA), "prod.bicepparam")
    new = [finding for finding in findings if finding.check not in ACCEPTED]
    idle = sorted(ACCEPTED.keys() - {finding.check for finding in findings})
    for finding in new:
        print(f"{finding.check} {finding.resource}: {finding.title}")  # noqa: T201 - a command's output
    for check in idle:
        print(f"{check} is accepted and does not occur")  # noqa: T201
    print(f"checkov: {passed} passed, {len(findings) - len(new)} accepted with a reason, {len(new)} found")  # noqa: T201
    return 1 if new or idle else 0


if __name__ == "__main__":
    sys.exit(main())
