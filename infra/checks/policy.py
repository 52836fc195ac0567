"""What must hold in every environment: no passwords, no keys, no public doors, least rights, the specified database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from infra.checks.bicep import Fault, File
from infra.checks.deployed import Deployed, Symbol, deployed

_SERVER: Final = "Microsoft.DBforPostgreSQL/flexibleServers"
_STORAGE: Final = "Microsoft.Storage/storageAccounts"
_VAULT: Final = "Microsoft.KeyVault/vaults"
_SITE: Final = "Microsoft.Web/sites"


@dataclass(frozen=True)
class Rule:
    """Each resource of ``type`` has one of ``values`` at ``path``, but for those that have something at ``unless``."""

    type: str
    path: str
    values: tuple[Any, ...]
    unless: str = ""


RULES: Final = (
    Rule(_SERVER, "properties.authConfig.passwordAuth", ("Disabled",)),
    Rule(_SERVER, "properties.authConfig.activeDirectoryAuth", ("Enabled",)),
    Rule(_SERVER, "properties.network.publicNetworkAccess", ("Disabled",)),
    Rule(_STORAGE, "properties.allowSharedKeyAccess", (False,)),
    Rule(_STORAGE, "properties.allowBlobPublicAccess", (False,)),
    Rule(_STORAGE, "properties.allowCrossTenantReplication", (False,)),
    Rule(_STORAGE, "properties.minimumTlsVersion", ("TLS1_2", "TLS1_3")),
    Rule(_STORAGE, "properties.supportsHttpsTrafficOnly", (True,)),
    # Open to named addresses (parameter uploadAddresses), with the default below.
    Rule(_STORAGE, "properties.publicNetworkAccess", ("Disabled",), unless="properties.networkAcls.ipRules"),
    Rule(_STORAGE, "properties.networkAcls.defaultAction", ("Deny",)),
    Rule(f"{_STORAGE}/blobServices/containers", "properties.publicAccess", ("None",)),
    Rule(_VAULT, "properties.publicNetworkAccess", ("Disabled",)),
    Rule(_VAULT, "properties.networkAcls.defaultAction", ("Deny",)),
    Rule(_VAULT, "properties.enableRbacAuthorization", (True,)),
    Rule(_VAULT, "properties.enablePurgeProtection", (True,)),
    Rule(_SITE, "properties.httpsOnly", (True,)),
    Rule(_SITE, "properties.siteConfig.minTlsVersion", ("1.2", "1.3")),
    Rule(_SITE, "properties.siteConfig.scmMinTlsVersion", ("1.2", "1.3")),
    Rule(_SITE, "properties.siteConfig.ftpsState", ("Disabled",)),
    Rule(_SITE, "identity.type", ("UserAssigned",)),
    Rule(f"{_SITE}/basicPublishingCredentialsPolicies", "properties.allow", (False,)),
    Rule("Microsoft.ContainerRegistry/registries", "properties.adminUserEnabled", (False,)),
    Rule("Microsoft.ContainerRegistry/registries", "properties.anonymousPullEnabled", (False,)),
    Rule("Microsoft.Insights/components", "properties.DisableLocalAuth", (True,)),
    Rule("Microsoft.App/managedEnvironments", "properties.vnetConfiguration.internal", (True,)),
)

# Who may do what: file, symbol of the scope, built-in role. Nothing is missing, nothing is more.
_USE_BLOBS: Final = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"
_USE_TASKS: Final = "0ad04412-c4d5-4796-b79c-f76d14c8d402"
ROLES: Final = {
    ("modules/storage.bicep", "container", _USE_BLOBS): "Storage Blob Data Contributor",
    ("modules/storage.bicep", "auditContainer", _USE_BLOBS): "Storage Blob Data Contributor",
    ("modules/storage.bicep", "dataAccount", "db58b8e5-c6ad-4a2a-8342-4190687cbf4a"): "Storage Blob Delegator",
    ("modules/storage.bicep", "hostAccount", "b7e6dc6d-f1e8-4753-8033-0f276bb0955b"): "Storage Blob Data Owner",
    ("modules/storage.bicep", "hostAccount", "974c5e8b-45b9-4653-ba55-5f855dd0fe88"): "Storage Queue Data Contributor",
    ("modules/storage.bicep", "hostAccount", "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3"): "Storage Table Data Contributor",
    ("modules/key-vault.bicep", "vault", "4633458b-17de-408a-b874-0445c86b69e6"): "Key Vault Secrets User",
    ("modules/monitoring.bicep", "insights", "3913510d-42f4-4e42-8a64-420c390055eb"): "Monitoring Metrics Publisher",
    ("modules/migrations.bicep", "registry", "7f951dda-4ed3-4680-a7ca-43fe172d538d"): "AcrPull",
}
SCHEDULER_ROLES: Final = {
    ("modules/durable-scheduler.bicep", "taskHub", _USE_TASKS): "Durable Task Data Contributor",
}
ENDPOINTS: Final = Counter({"blob": 2, "queue": 1, "table": 1, "vault": 1})

# What the rules are held against besides what a parameter file says itself.
OPTIONS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {
        "durableProvider": "scheduler",
        "frontDoor": True,
        "uploadAddresses": ["203.0.113.0/24"],
        "database": {
            "skuName": "Standard_D4ds_v5",
            "skuTier": "GeneralPurpose",
            "storageSizeGB": 128,
            "highAvailability": "SameZone",
            "backupRetentionDays": 35,
            "geoRedundantBackup": "Enabled",
            "readReplica": True,
            "pgbouncerPoolSize": 50,
        },
    },
    {
        "app": {
            "plan": "premium",
            "instanceMemoryMB": 4096,
            "maximumInstances": 10,
            "alwaysReadyHttp": 3,
            "alwaysReadyDurable": 0,
            "httpConcurrency": 100,
            "zoneRedundant": True,
        }
    },
)

# The specification's "Database Configuration", field by field; it is production's.
SPECIFIED: Final = {
    "properties.version": "15",
    "sku.name": "Standard_D4ds_v5",  # 4 vCores
    "sku.tier": "GeneralPurpose",
    "properties.storage.storageSizeGB": 128,
    "properties.storage.autoGrow": "Enabled",
    "properties.backup.geoRedundantBackup": "Enabled",
    "properties.highAvailability.mode": "ZoneRedundant",
}
SERVER_PARAMETERS: Final = {
    "require_secure_transport": "on",
    "pgbouncer.enabled": "true",
    "pgbouncer.pool_mode": "transaction",
}


def check_policy(files: Mapping[str, File]) -> Iterator[Fault]:
    """The rules in every environment and with every option."""
    seen = set()
    for name, file in files.items():
        if not file.is_parameters:
            continue
        for options in OPTIONS:
            resources = deployed(files, name, **options)
            roles = ROLES | (SCHEDULER_ROLES if options.get("durableProvider") == "scheduler" else {})
            for fault in (
                *_rules(resources),
                *_roles(resources, roles),
                *_endpoints(resources),
                *_server_parameters(resources),
            ):
                if fault not in seen:
                    seen.add(fault)
                    yield fault
    yield from _specification(files)
    yield from _assignable(files)


def _assignable(files: Mapping[str, File]) -> Iterator[Fault]:
    """The deployer may give the roles that the templates give, and no other."""
    place = "modules/deployer.bicep"
    assignable = files[place].variables.get("assignableRoles")
    given = {role for _, _, role in ROLES | SCHEDULER_ROLES}
    named = set(map(str, assignable)) if isinstance(assignable, list) else set()
    for role in sorted(given ^ named):
        yield Fault(
            place, 1, f"the role {role} is {'not assignable' if role in given else 'assignable and never given'}"
        )


def _rules(resources: Sequence[Deployed]) -> Iterator[Fault]:
    for rule in RULES:
        found = [resource for resource in resources if resource.type == rule.type]
        if not found:
            yield Fault("main.bicep", 1, f"there is no {rule.type}")
        for resource in found:
            value = resource.get(rule.path)
            if value not in rule.values and not (rule.unless and resource.get(rule.unless)):
                allowed = " or ".join(map(repr, rule.values))
                yield _fault(resource, f"{rule.path} must be {allowed}, and is {value!r}")


def _roles(resources: Sequence[Deployed], expected: Mapping[tuple[str, str, str], str]) -> Iterator[Fault]:
    given: dict[tuple[str, str, str], Deployed] = {}
    for resource in resources:
        if resource.type == "Microsoft.Authorization/roleAssignments":
            scope = resource.body.get("scope")
            role = str(resource.get("properties.roleDefinitionId")).rpartition("/")[2]
            given[resource.file, scope.name if isinstance(scope, Symbol) else "", role] = resource
    for (file, scope, role), name in expected.items():
        if (file, scope, role) not in given:
            yield Fault(file, 1, f"nobody has the role {name} on {scope}")
    for key, resource in given.items():
        if key not in expected:
            yield _fault(resource, f"the role {key[2]} on {key[1] or 'the resource group'} is not among those needed")


def _endpoints(resources: Sequence[Deployed]) -> Iterator[Fault]:
    groups: Counter[str] = Counter()
    for resource in resources:
        if resource.type == "Microsoft.Network/privateEndpoints":
            for connection in resource.get("properties.privateLinkServiceConnections"):
                groups.update(connection["properties"]["groupIds"])
    if groups != ENDPOINTS:
        yield Fault("main.bicep", 1, f"private endpoints are {dict(groups)}, and should be {dict(ENDPOINTS)}")


def _server_parameters(resources: Sequence[Deployed]) -> Iterator[Fault]:
    values = {
        resource.body["name"]: resource.get("properties.value")
        for resource in resources
        if resource.type == f"{_SERVER}/configurations"
    }
    for name, expected in SERVER_PARAMETERS.items():
        if values.get(name) != expected:
            yield Fault("modules/postgres.bicep", 1, f"{name} must be {expected!r}, and is {values.get(name)!r}")
    [settings] = [resource.body["properties"] for resource in resources if resource.type == f"{_SITE}/config"]
    cached = str(values.get("pgbouncer.max_prepared_statements", "0"))
    if settings.get("DATABASE_PREPARED_STATEMENTS", "true") == "true" and cached == "0":
        message = "prepared statements need pgbouncer.max_prepared_statements above 0"
        yield Fault("modules/postgres.bicep", 1, message)


def _specification(files: Mapping[str, File]) -> Iterator[Fault]:
    servers = [resource for resource in deployed(files, "prod.bicepparam") if resource.type == _SERVER]
    for server in servers:
        for path, expected in SPECIFIED.items():
            if server.get(path) != expected:
                yield _fault(server, f"the specification has {path} {expected!r}; production has {server.get(path)!r}")


def _fault(resource: Deployed, message: str) -> Fault:
    return Fault(resource.file, resource.line, f"{resource.symbol}: {message}")
