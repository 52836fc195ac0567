"""Which service listens where: the usual port when it is free, else another one, remembered from start to start."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from devhost.console import Failure
from devhost.daemons import free_port, port_is_free
from devhost.settings_file import write_private

PREFERRED_PORTS = {
    "host": 7071,
    "issuer": 7072,
    "postgres": 5433,
    "azurite_blob": 10000,
    "azurite_queue": 10001,
    "azurite_table": 10002,
}
_ATTEMPTS = 3


def choose_ports(
    wanted: dict[str, bool], usual: dict[str, int], is_free: Callable[[int], bool], other: Callable[[], int] = free_port
) -> dict[str, int]:
    """The usual port where the service runs already or the port is free, else another free one, never one twice.

    wanted: name -> whether the service runs now, in which case its port is not looked at.
    """
    chosen: dict[str, int] = {}
    for name, running in wanted.items():
        port = usual[name]
        while not running and (port in chosen.values() or not is_free(port)):
            port = other()
        chosen[name] = port
    return chosen


@dataclass(frozen=True)
class PortBook:
    """The ports of one clone, kept in a file."""

    path: Path

    def __getitem__(self, name: str) -> int:
        return self.all()[name]

    def all(self) -> dict[str, int]:
        """Every service's port: the one kept, else the preferred one."""
        try:
            kept = json.loads(self.path.read_text())["ports"]
            return PREFERRED_PORTS | {str(name): int(port) for name, port in kept.items()}
        except (OSError, ValueError, KeyError, AttributeError):
            return dict(PREFERRED_PORTS)

    def keep(self, ports: dict[str, int]) -> None:
        """Remember ports."""
        write_private(self.path, json.dumps({"ports": self.all() | ports}, indent=2))

    def choose(self, wanted: dict[str, bool]) -> dict[str, int]:
        """A port for each name (see `choose_ports`); a changed one is kept and said aloud."""
        usual = self.all()
        chosen = choose_ports(wanted, usual, port_is_free)
        for name, port in chosen.items():
            if port != usual[name]:
                print(f"       port {usual[name]} is taken by another program; {name.replace('_', ' ')} uses {port}")
        self.keep(chosen)
        return chosen

    def start_on(
        self, wanted: dict[str, bool], start: Callable[[dict[str, int]], None], clean_up: Callable[[], object]
    ) -> dict[str, int]:
        """Choose ports and start on them; choose again when another program took one of them in between.

        clean_up: called after a failed start. Raises the Failure of `start` when the ports were not the reason.
        """
        for _ in range(_ATTEMPTS - 1):
            chosen = self.choose(wanted)
            try:
                start(chosen)
            except Failure:
                clean_up()
                if all(port_is_free(port) for port in chosen.values()):
                    raise
            else:
                return chosen
        chosen = self.choose(wanted)
        start(chosen)
        return chosen
