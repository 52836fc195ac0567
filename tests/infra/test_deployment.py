"""The workflows, azd's file and the migration image fit the templates, and hold no secret."""

import re
import subprocess
from datetime import date
from pathlib import Path
from uuid import uuid4

import pytest

from infra import smoke
from infra.checks.__main__ import INFRA
from infra.checks.bicep import File, read_all
from infra.checks.deployed import deployed
from infra.checks.policy import OPTIONS
from shared.archiving.model import Archive
from shared.datasets.model import upload_path
from tests.fixtures.app import RunningApp

ROOT = INFRA.parent
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
DEPLOY = (ROOT / ".github/workflows/deploy-environment.yml").read_text()
MIGRATE = (INFRA / "migrate/run.sh").read_text()


@pytest.fixture(scope="module")
def files() -> dict[str, File]:
    """The Bicep and parameter files."""
    return read_all(INFRA)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_no_workflow_has_a_secret(path: Path) -> None:
    """Federated identity is the only proof; nothing is read from a store of secrets."""
    assert "secrets." not in path.read_text()


def test_workflows_use_outputs_that_there_are(files: dict[str, File]) -> None:
    """A renamed output breaks here, not in a deployment."""
    outputs = set(files["main.bicep"].outputs)
    used = set(re.findall(r"\$\{?([A-Z][A-Z_]+)", DEPLOY + MIGRATE)) - {"GITHUB_ENV", "AZURE_LOCATION"}
    assert used
    assert used <= outputs


@pytest.mark.parametrize("name", ["staging.bicepparam", "prod.bicepparam"])
def test_parameter_files_read_what_the_workflow_gives(files: dict[str, File], name: str) -> None:
    """Each variable that a parameter file reads is set by the workflow, and no other."""
    read = set(re.findall(r"readEnvironmentVariable\('(\w+)'", files[name].source))
    given = set(re.findall(r"^ {6}(\w+): \$\{\{ vars\.", DEPLOY, flags=re.MULTILINE))
    assert read == given


def test_every_template_is_used(files: dict[str, File]) -> None:
    """A module that nobody deploys would be checked for nothing."""
    used = {f"modules/{Path(module.path).name}" for file in files.values() for module in file.modules.values()}
    assert used == {name for name in files if name.startswith("modules/")}


def test_the_job_runs_the_migrations_with_an_identity_and_grants(files: dict[str, File]) -> None:
    """The command of the job is one that sql.migrate understands, on PostgreSQL's own port."""
    [job] = [resource for resource in deployed(files, "prod.bicepparam") if resource.type == "Microsoft.App/jobs"]
    [container] = job.get("properties.template.containers")
    options = [part for part in container["command"] if isinstance(part, str) and part.startswith("--")]
    assert options == ["--entra", "--app-role", "--app-object-id"]
    assert ":5432/" in files["modules/migrations.bicep"].source
    usage = subprocess.run(["bash", "-n", INFRA / "migrate/run.sh"], check=False)
    assert usage.returncode == 0


def test_the_app_is_reached_through_pgbouncer(files: dict[str, File]) -> None:
    """The app's address has PgBouncer's port, and a user without a password."""
    assert "'postgresql://${identityName}@${databaseHost}:6432/" in files["modules/function-app.bicep"].source


def test_lifecycle_rules_are_about_paths_of_the_app(files: dict[str, File]) -> None:
    """What is forgotten and what is cooled lies where the app puts uploads and archived months."""
    prefixes = re.findall(r"container\.name\}/(\w+/)'", files["modules/storage.bicep"].source)
    month = Archive.model_construct(month=date(2026, 1, 1))
    assert prefixes == ["uploads/", "archive/"]
    assert upload_path(uuid4()).startswith(prefixes[0])
    assert month.prefix.startswith(prefixes[1])


def test_options_add_what_they_say(files: dict[str, File]) -> None:
    """A read replica, Front Door before an app that takes nothing else, upload addresses on the data account alone."""
    resources = deployed(files, "prod.bicepparam", **OPTIONS[1])
    of = {(resource.file.rpartition("/")[2], resource.symbol): resource for resource in resources}
    assert of["postgres.bicep", "replica"].get("properties.createMode") == "Replica"
    assert of["storage.bicep", "dataAccount"].get("properties.networkAcls.ipRules") == [
        {"action": "Allow", "value": "203.0.113.0/24"}
    ]
    assert of["storage.bicep", "hostAccount"].get("properties.publicNetworkAccess") == "Disabled"
    assert of["front-door.bicep", "firewall"].get("properties.customRules.rules")[0]["ruleType"] == "RateLimitRule"
    assert ("durable-scheduler.bicep", "taskHub") in of


def test_premium_is_another_plan_for_the_same_app(files: dict[str, File]) -> None:
    """An App Service plan with autoscale, no Flex configuration, and every setting that the app has on Flex."""
    flex, premium = (deployed(files, "prod.bicepparam", **options) for options in (OPTIONS[0], OPTIONS[2]))
    of = {resource.symbol: resource for resource in premium if resource.file == "modules/function-app.bicep"}
    assert of["serverPlan"].get("sku") == {"name": "P1v3", "tier": "PremiumV3", "capacity": 3}
    assert of["app"].get("properties.functionAppConfig") is None
    assert "autoscale" in of
    assert "autoscale" not in {resource.symbol for resource in flex}
    [plain] = [resource.get("properties") for resource in flex if resource.symbol == "configuration"]
    assert plain.items() <= of["configuration"].get("properties").items()


def test_azd_finds_the_template_and_the_app() -> None:
    """azd reads infra/azure.yaml from infra/: the module beside it, the app above it."""
    text = (INFRA / "azure.yaml").read_text()
    [module] = re.findall(r"module: (\w+)", text)
    assert (INFRA / f"{module}.bicepparam").exists()
    [project] = re.findall(r"project: (\S+)", text)
    assert (INFRA / project / "function_app.py").exists()
    [run] = re.findall(r"run: (\S+)", text)
    assert (INFRA / run).exists()


def test_the_smoke_test_passes_on_an_app_that_stands(app: RunningApp, capsys: pytest.CaptureFixture[str]) -> None:
    """Every check holds at once on a running app."""
    assert smoke.main([f"{app.url}/api/v1"], patience=20) == 0
    assert capsys.readouterr().out.count("ok:") == len(smoke.checks(app.url))


def test_the_smoke_test_fails_where_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    """It says which check did not hold."""
    assert smoke.main(["http://127.0.0.1:9/api/v1"], patience=0) == 1
    assert capsys.readouterr().out == "no: it lives\n"


def test_every_alert_has_its_runbook(files: dict[str, File]) -> None:
    """The name in the mail is a heading of docs/operations.md, and no heading is of an alert that is gone."""
    named = set(re.findall(r"^    name: '([a-z0-9-]+)'$", files["modules/alerts.bicep"].source, flags=re.MULTILINE))
    named |= set(re.findall(r"name: '\$\{name\}-([a-z]+)'", files["modules/alerts.bicep"].source))
    section = (ROOT / "docs/operations.md").read_text().partition("\n## Alerts\n")[2].partition("\n## ")[0]
    assert named > {"http-5xx", "slow-scoring", "queue-age", "failed-timers", "unavailable"}
    assert named > {f"database-{what}" for what in ("cpu", "storage", "connections")}
    assert named == set(re.findall(r"^### (\S+)$", section, flags=re.MULTILINE))


def test_every_server_parameter_is_explained(files: dict[str, File]) -> None:
    """docs/deployment.md says why each is set."""
    parameters = re.findall(r"\{ name: '([\w.]+)', value", files["modules/postgres.bicep"].source)
    text = (ROOT / "docs/deployment.md").read_text()
    assert [name for name in parameters if f"`{name}`" not in text] == []


@pytest.mark.parametrize("name", ["deployment", "operations", "security"])
def test_links_lead_somewhere(name: str) -> None:
    """Files and headings that the pages refer to are there."""
    page = ROOT / f"docs/{name}.md"
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        linked = page if not path else (page.parent / path).resolve()
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(), flags=re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, target
