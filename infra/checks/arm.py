"""What an environment deploys as an ARM template, for tools that cannot read today's Bicep.

It is for reading, not for deploying: what only Azure knows stands as the text ``unknown``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from infra.checks.bicep import File
from infra.checks.deployed import UNKNOWN, Deployed, Symbol
from infra.checks.properties import table

_OF_THE_LANGUAGE: Final = {"name", "parent", "scope", "dependsOn"}


def template(resources: Sequence[Deployed], files: Mapping[str, File]) -> dict[str, Any]:
    """The resources as one template; names of children carry their parents'."""
    return {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "resources": [_resource(resource, files[resource.file]) for resource in resources],
    }


def _resource(resource: Deployed, file: File) -> dict[str, Any]:
    body = {key: _plain(value) for key, value in resource.body.items() if key not in _OF_THE_LANGUAGE}
    version = table()["resources"][resource.type]["version"]
    return {"type": resource.type, "apiVersion": version, "name": _name(resource, file), **body}


def _name(resource: Deployed, file: File) -> str:
    own = resource.body["name"]
    names = [own if isinstance(own, str) else resource.symbol]
    parent = resource.body.get("parent")
    while isinstance(parent, Symbol):
        names.insert(0, parent.name)
        above = file.resources[parent.name].body.entries.get("parent")
        parent = Symbol(above.name) if above is not None and hasattr(above, "name") else None
    return "/".join(names)


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {str(key): _plain(part) for key, part in value.items() if part is not None}
        case list():
            return [_plain(part) for part in value]
        case Symbol():
            return value.name
        case _:
            return "unknown" if value is UNKNOWN else value
