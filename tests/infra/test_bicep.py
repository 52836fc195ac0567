"""The Bicep files hold, and each kind of mistake in them is caught."""

import re
from pathlib import Path

import pytest

from infra.checks.__main__ import INFRA, faults
from infra.checks.bicep import File, read, read_all
from infra.checks.deployed import deployed
from infra.checks.policy import SPECIFIED
from infra.checks.properties import table
from infra.checks.settings import events_named

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def files() -> dict[str, File]:
    """The Bicep and parameter files as they are."""
    return read_all(INFRA)


def test_nothing_is_wrong(files: dict[str, File]) -> None:
    """Every file parses; names, parameters, properties, policy and settings are right in every environment."""
    assert len(files) >= 15
    assert [str(fault) for fault in faults(files)] == []


# file, what stands there, what a mistake would write, what is said about it
MISTAKES = {
    "a brace too few": ("modules/identity.bicep", "  tags: tags\n}", "  tags: tags\n", "syntax"),
    "wrong enumeration": (
        "modules/postgres.bicep",
        "createMode: 'Default'",
        "createMode: 'Normal'",
        "cannot be 'Normal'",
    ),
    "wrong enumeration of a parameter": (
        "modules/storage.bicep",
        "@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GZRS'])",
        "@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_3ZRS'])",
        "cannot be 'Standard_3ZRS'",
    ),
    "wrong enumeration behind a condition": (
        "modules/storage.bicep",
        "? 'Standard_LRS' : 'Standard_ZRS'",
        "? 'Standard_LRS' : 'Standard_XRS'",
        "cannot be 'Standard_XRS'",
    ),
    "required property missing": (
        "modules/key-vault.bicep",
        "    tenantId: tenant().tenantId\n",
        "",
        "lacks the required property tenantId",
    ),
    "required property of a list's element missing": (
        "modules/function-app.bicep",
        "              metricName: 'CpuPercentage'\n",
        "",
        "lacks the required property metricName",
    ),
    "unknown property": (
        "modules/postgres.bicep",
        "autoGrow: 'Enabled'\n    }\n    backup",
        "autogrow: 'Enabled'\n    }\n    backup",
        "has no property autogrow",
    ),
    "text for a truth value": (
        "modules/function-app.bicep",
        "httpsOnly: true",
        "httpsOnly: 'true'",
        "is bool, not 'true'",
    ),
    "unknown kind of a polymorphic object": (
        "modules/alerts.bicep",
        "'Microsoft.Azure.Monitor.WebtestLocationAvailabilityCriteria'",
        "'Microsoft.Azure.Monitor.WebTestCriteria'",
        "cannot be a Microsoft.Azure.Monitor.WebTestCriteria",
    ),
    "deprecated API version": (
        "modules/storage.bicep",
        "Microsoft.Storage/storageAccounts@2025-06-01' = {\n  name: dataAccountName",
        "Microsoft.Storage/storageAccounts@2019-06-01' = {\n  name: dataAccountName",
        "is used as of 2025-06-01, not 2019-06-01",
    ),
    "service that does not exist": (
        "modules/durable-scheduler.bicep",
        "Microsoft.DurableTask/schedulers@",
        "Microsoft.DurableTask/brokers@",
        "Microsoft.DurableTask/brokers is not in the table",
    ),
    "child without parent": (
        "modules/postgres.bicep",
        "  parent: server\n  name: 'shadowhubble'",
        "  name: 'shadowhubble'",
        "database has no parent",
    ),
    "undeclared name": ("modules/identity.bicep", "location: location", "location: region", "region is not declared"),
    "unused parameter": ("modules/identity.bicep", "  tags: tags\n", "", "tags is declared and not used"),
    "unknown function": ("modules/storage.bicep", "guid(container.id", "uuid(container.id", "uuid is not a function"),
    "no description": (
        "modules/network.bicep",
        "@description('Region.')\nparam location",
        "param location",
        "location has no description",
    ),
    "module parameter missing": (
        "main.bicep",
        "    retentionInDays: logRetentionDays\n",
        "",
        "monitoring is not given retentionInDays",
    ),
    "unknown module parameter": (
        "main.bicep",
        "    uploadAddresses: uploadAddresses\n",
        "    uploadAdresses: uploadAddresses\n",
        "storage has no parameter uploadAdresses",
    ),
    "module that is not there": (
        "main.bicep",
        "'modules/alerts.bicep'",
        "'modules/alarms.bicep'",
        "there is no modules/alarms.bicep",
    ),
    "output that is not there": (
        "main.bicep",
        "network.outputs.appSubnetId",
        "network.outputs.subnetId",
        "network has no output subnetId",
    ),
    "output of an optional module that is not there": (
        "main.bicep",
        "front!.outputs.frontDoorId",
        "front!.outputs.id",
        "front has no output id",
    ),
    "member of a parameter missing": (
        "prod.bicepparam",
        "  readReplica: false\n",
        "",
        "database.readReplica of main.bicep is missing",
    ),
    "value that a parameter cannot have": (
        "staging.bicepparam",
        "highAvailability: 'ZoneRedundant'",
        "highAvailability: 'Zonal'",
        "highAvailability cannot be 'Zonal'",
    ),
    "public access to the database": (
        "modules/postgres.bicep",
        "publicNetworkAccess: 'Disabled'",
        "publicNetworkAccess: 'Enabled'",
        "properties.network.publicNetworkAccess must be 'Disabled'",
    ),
    "public access to the accounts": (
        "modules/storage.bicep",
        "publicNetworkAccess: 'Disabled'",
        "publicNetworkAccess: 'Enabled'",
        "hostAccount: properties.publicNetworkAccess must be 'Disabled'",
    ),
    "public blobs": (
        "modules/storage.bicep",
        "allowBlobPublicAccess: false",
        "allowBlobPublicAccess: true",
        "allowBlobPublicAccess must be False",
    ),
    "account keys": (
        "modules/storage.bicep",
        "allowSharedKeyAccess: false",
        "allowSharedKeyAccess: true",
        "allowSharedKeyAccess must be False",
    ),
    "account keys by default": (
        "modules/storage.bicep",
        "    allowSharedKeyAccess: false\n",
        "",
        "allowSharedKeyAccess must be False, and is None",
    ),
    "password sign-in": (
        "modules/postgres.bicep",
        "passwordAuth: 'Disabled'",
        "passwordAuth: 'Enabled'",
        "passwordAuth must be 'Disabled'",
    ),
    "deployment by password": (
        "modules/function-app.bicep",
        "properties: { allow: false }",
        "properties: { allow: true }",
        "allow must be False",
    ),
    "plain HTTP": ("modules/function-app.bicep", "httpsOnly: true", "httpsOnly: false", "httpsOnly must be True"),
    "role assignment missing": (
        "modules/storage.bicep",
        "[roles.blobDataOwner, roles.queueDataContributor, roles.tableDataContributor]",
        "[roles.blobDataOwner, roles.tableDataContributor]",
        "nobody has the role Storage Queue Data Contributor on hostAccount",
    ),
    "role on too much": (
        "modules/storage.bicep",
        "  scope: container\n",
        "  scope: dataAccount\n",
        "is not among those needed",
    ),
    "private endpoint missing": (
        "modules/storage.bicep",
        "  { groupId: 'table', zoneId: tableZoneId }\n",
        "",
        "private endpoints are",
    ),
    "setting not provided": (
        "modules/function-app.bicep",
        "  OIDC_ISSUER: issuer\n",
        "",
        "OIDC_ISSUER is not provided",
    ),
    "setting that nobody reads": (
        "modules/function-app.bicep",
        "  OIDC_ISSUER: issuer\n",
        "  OIDC_ISSUER: issuer\n  OIDC_TENANT: issuer\n",
        "the app does not read OIDC_TENANT",
    ),
    "prepared statements that PgBouncer forgets": (
        "modules/postgres.bicep",
        "'pgbouncer.max_prepared_statements', value: '500'",
        "'pgbouncer.max_prepared_statements', value: '0'",
        "prepared statements need pgbouncer.max_prepared_statements",
    ),
    "no PgBouncer": (
        "modules/postgres.bicep",
        "  { name: 'pgbouncer.enabled', value: 'true' }\n",
        "",
        "pgbouncer.enabled must be 'true'",
    ),
    "older PostgreSQL than specified": (
        "modules/postgres.bicep",
        "version: '15'",
        "version: '14'",
        "the specification has properties.version '15'",
    ),
    "smaller server than specified": (
        "prod.bicepparam",
        "Standard_D4ds_v5",
        "Standard_D2ds_v5",
        "the specification has sku.name",
    ),
    "smaller disk than specified": (
        "prod.bicepparam",
        "storageSizeGB: 128",
        "storageSizeGB: 64",
        "the specification has properties.storage.storageSizeGB 128",
    ),
    "no copies of the backups": (
        "prod.bicepparam",
        "geoRedundantBackup: 'Enabled'",
        "geoRedundantBackup: 'Disabled'",
        "the specification has properties.backup.geoRedundantBackup",
    ),
    "standby in the same zone": (
        "prod.bicepparam",
        "highAvailability: 'ZoneRedundant'",
        "highAvailability: 'SameZone'",
        "the specification has properties.highAvailability.mode",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_caught(files: dict[str, File], mistake: str) -> None:
    """One change to one file, and the checks say what it is."""
    name, right, wrong, said = MISTAKES[mistake]
    assert right in files[name].source, "the mistake has no place any more"
    changed = {**files, name: read(name, files[name].source.replace(right, wrong))}
    assert said in "\n".join(map(str, faults(changed)))


def test_the_specified_database_is_what_production_deploys(files: dict[str, File]) -> None:
    """Field by field, with the parameter file followed through the modules."""
    [server] = [r for r in deployed(files, "prod.bicepparam") if r.type == "Microsoft.DBforPostgreSQL/flexibleServers"]
    assert {path: server.get(path) for path in SPECIFIED} == {
        "properties.version": "15",
        "sku.name": "Standard_D4ds_v5",
        "sku.tier": "GeneralPurpose",
        "properties.storage.storageSizeGB": 128,
        "properties.storage.autoGrow": "Enabled",
        "properties.backup.geoRedundantBackup": "Enabled",
        "properties.highAvailability.mode": "ZoneRedundant",
    }


def test_every_timer_is_watched() -> None:
    """What the alert on failed timers counts is logged for each timer."""
    for path in ROOT.glob("functions/timers/*.py"):
        names = re.findall(r'@bp\.timer_trigger\(.*\)\n(?:@.*\n)*?@bp\.function_name\("(\w+)"\)', path.read_text())
        watched = re.findall(r'@watched\("(\w+)"\)', path.read_text())
        assert sorted(names) == sorted(watched), path.name


def test_alerts_look_for_events_that_the_app_logs(files: dict[str, File]) -> None:
    """An event's name in a query is a constant of the app."""
    events = events_named(files)
    sources = "".join(path.read_text() for path in [*ROOT.glob("functions/**/*.py"), *ROOT.glob("shared/**/*.py")])
    assert events
    assert [event for event in sorted(events) if f'"{event}"' not in sources] == []


def test_alerts_name_functions_that_there_are(files: dict[str, File]) -> None:
    """A query over requests compares with names that the app logs."""
    from function_app import app

    source = files["modules/alerts.bicep"].source
    compared = re.findall(r"Properties\.function\) (?:==|in) ([^|]+?) (?:\||and)", source)
    named = {name for clause in compared for name in re.findall(r'"(\w+)"', clause)}
    assert named
    assert named <= {function.get_function_name() for function in app.get_functions()}


def test_previews_are_only_where_nothing_else_is() -> None:
    """Diagnostic settings never got a stable version; everything else has one."""
    previews = {name for name, entry in table()["resources"].items() if "preview" in entry["version"]}
    assert previews == {"Microsoft.Insights/diagnosticSettings"}


def test_the_table_knows_what_is_used_and_no_more(files: dict[str, File]) -> None:
    """A resource type that is gone leaves the table too."""
    used = {resource.type for file in files.values() for resource in file.resources.values()}
    assert set(table()["resources"]) == used
