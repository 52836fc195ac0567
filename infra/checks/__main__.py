"""``python -m infra.checks``: every check of the Bicep files; exit status 1 when something is wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from infra.checks.bicep import Fault, File, read_all
from infra.checks.names import check_members, check_modules, check_names, check_parameter_files
from infra.checks.policy import check_policy
from infra.checks.properties import check_resources
from infra.checks.settings import check_settings

Check: TypeAlias = Callable[[Mapping[str, File]], Iterator[Fault]]

INFRA: Final = Path(__file__).resolve().parents[1]
CHECKS: Final[tuple[Check, ...]] = (
    check_names,
    check_modules,
    check_members,
    check_parameter_files,
    check_resources,
    check_policy,
    check_settings,
)


def faults(files: Mapping[str, File]) -> list[Fault]:
    """Everything that is wrong; files that cannot be read are all that is told of."""
    broken = [fault for file in files.values() for fault in file.faults]
    return broken or [fault for check in CHECKS for fault in check(files)]


def main() -> int:
    """Check the files beside this package."""
    files = read_all(INFRA)
    found = faults(files)
    for fault in found:
        print(f"infra/{fault}")  # noqa: T201 - a command's output
    print(f"{len(files)} files, {len(found)} faults")  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
