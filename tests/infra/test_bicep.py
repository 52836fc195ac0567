"""The Bicep files hold, and each kind of mistake in them is caught."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.checks.__main__ import INFRA, faults
from infra.checks.bicep import File, read, read_all
from infra.checks.deployed import deployed
from infra.checks.expressions import Expression, Object, parts_of
from infra.checks.names import check_modules
from infra.checks.policy import SPECIFIED
from infra.checks.properties import check_resources, table
from infra.checks.settings import events_named
from tests.infra.mistakes import MISTAKES

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def files() -> dict[str, File]:
    """The Bicep and parameter files as they are."""
    return read_all(INFRA)


def test_nothing_is_wrong(files: dict[str, File]) -> None:
    """Every file parses; names, parameters, properties, policy and settings are right in every environment."""
    assert len(files) >= 15
    assert [str(fault) for fault in faults(files)] == []


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_caught(files: dict[str, File], mistake: str) -> None:
    """One change to one file, and the checks say what it is."""
    name, right, wrong, said = MISTAKES[mistake]
    assert right in files[name].source, "the mistake has no place any more"
    changed = {**files, name: read(name, files[name].source.replace(right, wrong))}
    assert said in "\n".join(map(str, faults(changed)))


def _keys(value: Expression) -> Iterator[tuple[int, str]]:
    """Line and name of each property of a body, but for tags, whose names are anybody's."""
    if isinstance(value, Object):
        for key, part in value.entries.items():
            if key.isidentifier():
                yield value.lines[key], key
            if key != "tags":
                yield from _keys(part)
    else:
        for part in parts_of(value):
            yield from _keys(part)


@pytest.mark.parametrize("offset", range(4))
def test_a_misspelt_property_is_caught_wherever_it_stands(files: dict[str, File], offset: int) -> None:
    """An X behind the name of any property of a resource or a module; a quarter of all in four turns of 40 each."""
    places = [
        (name, line, key)
        for name, file in files.items()
        for declared in [*file.resources.values(), *file.modules.values()]
        for line, key in _keys(declared.body)
    ]
    assert len(places) > 600
    for name, line, key in places[offset::16]:
        lines = files[name].source.splitlines(keepends=True)
        lines[line - 1] = re.sub(rf"\b{key}:", f"{key}X:", lines[line - 1], count=1)
        changed = {**files, name: read(name, "".join(lines))}
        found = [fault for check in (check_resources, check_modules) for fault in check({**changed})]
        assert found, f"{name}:{line} {key}X"


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
    import function_app  # noqa: F401  # fills ENDPOINTS
    from functions.endpoint import ENDPOINTS

    source = files["modules/alerts.bicep"].source
    compared = re.findall(r"Properties\.function\) (?:==|in) ([^|]+?) (?:\||and)", source)
    named = {name for clause in compared for name in re.findall(r'"(\w+)"', clause)}
    assert named
    assert named <= {entry.name for entry in ENDPOINTS}


def test_previews_are_only_where_nothing_else_is() -> None:
    """Diagnostic settings never got a stable version; everything else has one."""
    previews = {name for name, entry in table()["resources"].items() if "preview" in entry["version"]}
    assert previews == {"Microsoft.Insights/diagnosticSettings"}


def test_the_table_knows_what_is_used_and_no_more(files: dict[str, File]) -> None:
    """A resource type that is gone leaves the table too."""
    used = {resource.type for file in files.values() for resource in file.resources.values()}
    assert set(table()["resources"]) == used
