"""Derives resource_types.json from the public Azure management packages: ``python -m infra.checks.derive``.

The packages are the machine-readable description of Azure that a Python project can have without Azure: each is
generated from the resource provider's API specification. They are installed into an environment of their own under
.local, read, and not needed afterwards; the table is what is committed. Standard library only, because the second half
runs in that environment.
"""

from __future__ import annotations

import enum
import importlib
import importlib.metadata
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TABLE = HERE / "resource_types.json"
PACKAGES = HERE / "azure-packages.txt"
ENVIRONMENT = HERE.parents[1] / ".local/azure-models"

# resource type: (API version, module under azure.mgmt, model of the request body)
SOURCES = {
    "Microsoft.App/jobs": ("2025-07-01", "appcontainers", "Job"),
    "Microsoft.App/managedEnvironments": ("2025-07-01", "appcontainers", "ManagedEnvironment"),
    "Microsoft.Authorization/roleAssignments": (
        "2022-04-01",
        "authorization.v2022_04_01",
        "RoleAssignmentCreateParameters",
    ),
    "Microsoft.Authorization/roleDefinitions": ("2022-04-01", "authorization.v2022_04_01", "RoleDefinition"),
    "Microsoft.Cdn/profiles": ("2024-02-01", "cdn", "Profile"),
    "Microsoft.Cdn/profiles/afdEndpoints": ("2024-02-01", "cdn", "AFDEndpoint"),
    "Microsoft.Cdn/profiles/afdEndpoints/routes": ("2024-02-01", "cdn", "Route"),
    "Microsoft.Cdn/profiles/originGroups": ("2024-02-01", "cdn", "AFDOriginGroup"),
    "Microsoft.Cdn/profiles/originGroups/origins": ("2024-02-01", "cdn", "AFDOrigin"),
    "Microsoft.Cdn/profiles/securityPolicies": ("2024-02-01", "cdn", "SecurityPolicy"),
    "Microsoft.ContainerRegistry/registries": ("2025-11-01", "containerregistry", "Registry"),
    "Microsoft.DBforPostgreSQL/flexibleServers": ("2025-08-01", "postgresqlflexibleservers", "Server"),
    "Microsoft.DBforPostgreSQL/flexibleServers/administrators": (
        "2025-08-01",
        "postgresqlflexibleservers",
        "AdministratorMicrosoftEntraAdd",
    ),
    "Microsoft.DBforPostgreSQL/flexibleServers/configurations": (
        "2025-08-01",
        "postgresqlflexibleservers",
        "ConfigurationForUpdate",
    ),
    "Microsoft.DBforPostgreSQL/flexibleServers/databases": ("2025-08-01", "postgresqlflexibleservers", "Database"),
    "Microsoft.DurableTask/schedulers": ("2026-02-01", "durabletask", "Scheduler"),
    "Microsoft.DurableTask/schedulers/taskHubs": ("2026-02-01", "durabletask", "TaskHub"),
    "Microsoft.Insights/actionGroups": ("2023-01-01", "monitor.v2023_01_01", "ActionGroupResource"),
    "Microsoft.Insights/autoscaleSettings": ("2022-10-01", "monitor.v2022_10_01", "AutoscaleSettingResource"),
    "Microsoft.Insights/components": (
        "2020-02-02",
        "applicationinsights.v2020_02_02",
        "ApplicationInsightsComponent",
    ),
    # The only version that diagnostic settings have besides older previews.
    "Microsoft.Insights/diagnosticSettings": (
        "2021-05-01-preview",
        "monitor.v2021_05_01_preview",
        "DiagnosticSettingsResource",
    ),
    "Microsoft.Insights/metricAlerts": ("2018-03-01", "monitor.v2018_03_01", "MetricAlertResource"),
    # No package models the stable version of 2023; the preview before it has every property used here.
    "Microsoft.Insights/scheduledQueryRules": (
        "2023-12-01",
        "monitor.v2022_08_01_preview",
        "ScheduledQueryRuleResource",
    ),
    "Microsoft.Insights/webtests": ("2022-06-15", "applicationinsights.v2022_06_15", "WebTest"),
    "Microsoft.KeyVault/vaults": ("2025-05-01", "keyvault", "VaultCreateOrUpdateParameters"),
    "Microsoft.KeyVault/vaults/secrets": ("2025-05-01", "keyvault", "SecretCreateOrUpdateParameters"),
    "Microsoft.ManagedIdentity/userAssignedIdentities": ("2024-11-30", "msi.v2024_11_30", "Identity"),
    "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials": (
        "2024-11-30",
        "msi.v2024_11_30",
        "FederatedIdentityCredential",
    ),
    "Microsoft.Network/FrontDoorWebApplicationFirewallPolicies": (
        "2024-02-01",
        "frontdoor",
        "WebApplicationFirewallPolicy",
    ),
    "Microsoft.Network/networkSecurityGroups": ("2025-05-01", "network", "NetworkSecurityGroup"),
    "Microsoft.Network/privateDnsZones": ("2024-06-01", "privatedns", "PrivateZone"),
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks": ("2024-06-01", "privatedns", "VirtualNetworkLink"),
    "Microsoft.Network/privateEndpoints": ("2025-05-01", "network", "PrivateEndpoint"),
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": ("2025-05-01", "network", "PrivateDnsZoneGroup"),
    "Microsoft.Network/virtualNetworks": ("2025-05-01", "network", "VirtualNetwork"),
    "Microsoft.OperationalInsights/workspaces": ("2025-07-01", "loganalytics", "Workspace"),
    "Microsoft.Resources/resourceGroups": ("2025-04-01", "resource.resources.v2025_04_01", "ResourceGroup"),
    "Microsoft.Storage/storageAccounts": ("2025-06-01", "storage", "StorageAccountCreateParameters"),
    "Microsoft.Storage/storageAccounts/blobServices": ("2025-06-01", "storage", "BlobServiceProperties"),
    "Microsoft.Storage/storageAccounts/blobServices/containers": ("2025-06-01", "storage", "BlobContainer"),
    "Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies": (
        "2025-06-01",
        "storage",
        "ImmutabilityPolicy",
    ),
    "Microsoft.Storage/storageAccounts/managementPolicies": ("2025-06-01", "storage", "ManagementPolicy"),
    "Microsoft.Storage/storageAccounts/queueServices": ("2025-06-01", "storage", "QueueServiceProperties"),
    "Microsoft.Web/serverfarms": ("2025-03-01", "web", "AppServicePlan"),
    "Microsoft.Web/sites": ("2025-03-01", "web", "Site"),
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": (
        "2025-03-01",
        "web",
        "CsmPublishingCredentialsPoliciesEntity",
    ),
    "Microsoft.Web/sites/config": ("2025-03-01", "web", "StringDictionary"),
}

_OLD_SCALARS = {
    "str": "string", "bool": "bool", "int": "int", "long": "int", "float": "number",
    "iso-8601": "string", "duration": "string", "object": "any", "base64": "string", "bytearray": "string",
}  # fmt: skip


class Deriver:
    """Collects models as ``{property: type}``, where a type is a scalar, an enumeration, a list, a map or a model."""

    def __init__(self) -> None:
        self.types: dict[str, dict[str, Any]] = {}

    def model(self, module: Any, name: str) -> str:
        """The table's name of a model, which is read at first sight."""
        key = f"{module.__name__.removeprefix('azure.mgmt.').removesuffix('.models')}:{name}"
        if key not in self.types:
            self.types[key] = {}
            cls = getattr(module, name)
            read = self._old if hasattr(cls, "_attribute_map") else self._new
            self.types[key].update(read(module, cls))
        return key

    def _old(self, module: Any, cls: Any) -> dict[str, Any]:
        """A model of the older generator: ``_attribute_map`` with dotted keys, enumerations in the signature."""
        annotations = {p.name: str(p.annotation) for p in inspect.signature(cls.__init__).parameters.values()}
        result: dict[str, Any] = {"properties": {}, "required": []}
        for attribute, entry in cls._attribute_map.items():
            rule = cls._validation.get(attribute, {})
            discriminates = attribute in getattr(cls, "_subtype_map", {}) or rule.get("constant")
            readonly = (rule.get("readonly") or attribute not in annotations) and not self._is_discriminator(
                cls, attribute
            )
            if readonly:
                continue
            if entry["key"] == "":  # any other property: what has a name is what is meant
                continue
            path = [part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", entry["key"])]
            described = self._old_type(module, entry["type"], annotations.get(attribute, ""))
            self._put(result, path, described, required=bool(rule.get("required")) and not discriminates)
        subtypes = getattr(cls, "_subtype_map", {})
        for attribute, values in subtypes.items():
            result["discriminator"] = cls._attribute_map[attribute]["key"].replace("\\.", ".")
            result["subtypes"] = {value: self.model(module, name) for value, name in values.items()}
        return result

    @staticmethod
    def _is_discriminator(cls: Any, attribute: str) -> bool:
        return any(attribute in getattr(base, "_subtype_map", {}) for base in cls.__mro__)

    def _put(self, result: dict[str, Any], path: list[str], described: Any, *, required: bool) -> None:
        for part in path[:-1]:  # what the package flattens, the API nests
            result = result["properties"].setdefault(part, {"model": {"properties": {}, "required": []}})["model"]
        result["properties"][path[-1]] = described
        if required:
            result["required"].append(path[-1])

    def _old_type(self, module: Any, text: str, annotation: str) -> Any:
        if text.startswith("["):
            return {"list": self._old_type(module, text[1:-1], annotation)}
        if text.startswith("{"):
            return {"map": self._old_type(module, text[1:-1], annotation)}
        if text == "str":
            for name in re.findall(r"_models\.(\w+)", annotation):
                found = getattr(module, name, None)
                if isinstance(found, type) and issubclass(found, enum.Enum):
                    return {"enum": [member.value for member in found]}
        if text in _OLD_SCALARS:
            return _OLD_SCALARS[text]
        found = getattr(module, text, None)
        if isinstance(found, type) and issubclass(found, enum.Enum):
            return {"enum": [member.value for member in found]}
        return {"model": self.model(module, text)} if found is not None else "any"

    def _new(self, module: Any, cls: Any) -> dict[str, Any]:
        """A model of the newer generator: ``rest_field`` with annotations."""
        cls.__new__(cls)  # fills in the names of the fields
        annotations: dict[str, str] = {}
        for base in reversed(cls.__mro__):
            annotations.update({name: str(text) for name, text in getattr(base, "__annotations__", {}).items()})
        result: dict[str, Any] = {"properties": {}, "required": []}
        for attribute, field in cls._attr_to_rest_field.items():
            visibility = field._visibility
            if visibility and set(visibility) == {"read"}:
                continue
            text = annotations[attribute]
            described = self._new_type(module, text)
            required = not re.search(r"Optional\[|NoneType", text) and not field._is_discriminator
            self._put(result, [field._rest_name], described, required=required)
        if getattr(cls, "__mapping__", None):
            result["subtypes"] = {
                str(getattr(value, "value", value)): self.model(module, sub.__name__)
                for value, sub in cls.__mapping__.items()
            }
            result["discriminator"] = next(
                f._rest_name for f in cls._attr_to_rest_field.values() if f._is_discriminator
            )
        return result

    def _new_type(self, module: Any, text: str) -> Any:
        text = re.sub(r"ForwardRef\('([^']*)'\)", r"\1", text)
        text = re.sub(r"typing\.|['\"]|<class |>", "", text).strip()
        while match := re.fullmatch(r"Optional\[(.*)\]", text):
            text = match[1]
        if match := re.fullmatch(r"(?:List|list)\[(.*)\]", text):
            return {"list": self._new_type(module, match[1])}
        if match := re.fullmatch(r"(?:Dict|dict)\[str, (.*)\]", text):
            return {"map": self._new_type(module, match[1])}
        for name in re.findall(r"_models\.(\w+)|\bUnion\[str, (\w+)\]", text):
            found = getattr(module, name[0] or name[1], None)
            if isinstance(found, type) and issubclass(found, enum.Enum):
                return {"enum": [member.value for member in found]}
            if found is not None:
                return {"model": self.model(module, found.__name__)}
        return {"str": "string", "bool": "bool", "int": "int", "float": "number"}.get(text, "any")


def derive() -> dict[str, Any]:
    """The table, in an environment where the packages are installed."""
    deriver = Deriver()
    resources = {}
    for resource_type, (version, package, name) in SOURCES.items():
        module = importlib.import_module(f"azure.mgmt.{package}.models")
        resources[resource_type] = {"version": version, "model": deriver.model(module, name)}
    pinned = [line.split("==")[0] for line in PACKAGES.read_text().splitlines() if "==" in line]
    sources = {name: importlib.metadata.version(name) for name in pinned}
    return {"sources": sources, "resources": resources, "models": dict(sorted(deriver.types.items()))}


def render(table: dict[str, Any]) -> str:
    """The table as text, a model a line."""
    lines = [f" {json.dumps(name)}: {json.dumps(model, sort_keys=True)}" for name, model in table["models"].items()]
    head = {key: table[key] for key in ("sources", "resources")}
    return json.dumps(head, indent=1)[:-2] + ',\n "models": {\n' + ",\n".join(lines) + "\n}\n}\n"


def main() -> int:
    """Make the environment and derive in it; with ``--here``, derive in this one."""
    if "--here" in sys.argv:
        TABLE.write_text(render(derive()))
        return 0
    python = ENVIRONMENT / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)  # noqa: S603
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", "-r", str(PACKAGES)], check=True)  # noqa: S603
    return subprocess.run([str(python), str(Path(__file__).resolve()), "--here"], check=False).returncode  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
