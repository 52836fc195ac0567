"""The Function App's settings against what the app reads, and the events that alerts look for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from infra.checks.bicep import Fault, File
from infra.checks.expressions import Object
from shared.platform.settings import Settings

# Settings that say "not set" by default and are rightly not set in Azure.
NOT_SET_IN_AZURE: Final = {
    "BLOB_CONNECTION_STRING": "the account's URL and the managed identity are used",
    "OIDC_JWKS_URL": "the issuer's discovery document names its keys",
    "DASK_SCHEDULER_ADDRESS": "the app trains; a cluster is named with the parameter settings",
}
# What the Functions host, its worker and the Azure libraries read.
OF_THE_HOST: Final = frozenset(
    {
        "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
        "AZURE_CLIENT_ID",
        "AzureFunctionsJobHost__extensions__durableTask__hubName",
        "AzureFunctionsJobHost__extensions__durableTask__storageProvider__connectionStringName",
        "AzureFunctionsJobHost__extensions__durableTask__storageProvider__type",
        "AzureWebJobsStorage__accountName",
        "AzureWebJobsStorage__clientId",
        "AzureWebJobsStorage__credential",
        "DURABLE_TASK_SCHEDULER_CONNECTION_STRING",
        "ENABLE_ORYX_BUILD",
        "FUNCTIONS_EXTENSION_VERSION",
        "FUNCTIONS_WORKER_RUNTIME",
        "OTEL_TRACES_SAMPLER",
        "OTEL_TRACES_SAMPLER_ARG",
        "SCM_DO_BUILD_DURING_DEPLOYMENT",
    }
)
_PLACE: Final = "modules/function-app.bicep"


def check_settings(files: Mapping[str, File]) -> Iterator[Fault]:
    """Bicep sets nothing that the app does not read, and everything that it cannot do without.

    A setting without a default must be set; one whose default means "not set" must be set or be listed above. The
    others have a default that holds in Azure too, and ``settings`` of a parameter file changes it.
    """
    fields = {name.upper(): field for name, field in Settings.model_fields.items()}
    given = files[_PLACE].variables.get("appSettings")
    keys = given.entries.keys() if isinstance(given, Object) else set()
    for name in sorted(keys - fields.keys()):
        yield Fault(_PLACE, 1, f"the app does not read {name}")
    others = [files[_PLACE].variables.get(f"{of}Settings") for of in ("host", "premium", "scheduler")]
    read = {name for other in others if isinstance(other, Object) for name in other.entries}
    for name in sorted(read ^ OF_THE_HOST):
        yield Fault(_PLACE, 1, f"{name} is {'not a setting of the host' if name in read else 'not provided'}")
    for name, field in fields.items():
        unset = field.is_required() or field.default in (None, frozenset())
        if unset and name not in keys and name not in NOT_SET_IN_AZURE:
            yield Fault(_PLACE, 1, f"{name} is not provided, and its default is not a value")
    for file in files.values():
        own = file.variables.get("settings")
        if file.is_parameters and isinstance(own, Object):
            for name in sorted(own.entries.keys() - fields.keys()):
                yield Fault(file.name, own.lines[name], f"the app does not read {name}")


def events_named(files: Mapping[str, File]) -> set[str]:
    """The log events that alerts look for."""
    return set(re.findall(r'Message == "(\w+)"', files["modules/alerts.bicep"].source))
