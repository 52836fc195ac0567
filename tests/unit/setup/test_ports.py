"""Ports of a local run: kept when free, replaced when taken, never given out twice."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from devhost.console import Failure
from devhost.daemons import port_is_free
from devhost.ports import PREFERRED_PORTS, PortBook, choose_ports

USUAL = {"host": 7071, "postgres": 5433}


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another program listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_free_ports_stay_the_usual_ones() -> None:
    """Nothing is changed without need."""
    assert choose_ports({"host": False, "postgres": False}, USUAL, lambda port: True) == USUAL


def test_taken_port_is_replaced() -> None:
    """A service whose port is taken gets another one, the others keep theirs."""
    chosen = choose_ports(dict.fromkeys(USUAL, False), USUAL, lambda port: port != 7071, lambda: 50_000)
    assert chosen == {"host": 50_000, "postgres": 5433}


def test_port_of_a_running_service_is_not_questioned() -> None:
    """Our own running service occupies its port, which is no reason to move it."""
    assert choose_ports({"host": True}, USUAL, lambda port: False) == {"host": 7071}


def test_no_port_is_given_out_twice() -> None:
    """Two services that usually share a number end up apart."""
    chosen = choose_ports({"a": False, "b": False}, {"a": 1, "b": 1}, lambda port: True, iter([1, 2]).__next__)
    assert chosen == {"a": 1, "b": 2}


def test_replacement_is_announced_and_remembered(
    tmp_path: Path, taken: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The new port is printed with the old one's name and number, and chosen again the next time."""
    book = PortBook(tmp_path / "state.json")
    book.keep({"host": taken})
    port = book.choose({"host": False})["host"]
    assert port != taken
    assert f"port {taken} is taken by another program; host uses {port}" in capsys.readouterr().out
    assert PortBook(tmp_path / "state.json")["host"] == port
    assert book.choose({"host": False})["host"] == port


def test_damaged_file_means_the_preferred_ports(tmp_path: Path) -> None:
    """A state file that cannot be read is as good as none."""
    path = tmp_path / "state.json"
    path.write_text('{"ports": [1]}')
    assert PortBook(path).all() == PREFERRED_PORTS


def test_start_moves_on_when_the_port_was_snatched(tmp_path: Path) -> None:
    """A start that fails because somebody took the port in between is tried again on another one."""
    book, tried, snatcher = PortBook(tmp_path / "state.json"), [], socket.socket()
    book.keep({"host": _some_free_port()})

    def start(chosen: dict[str, int]) -> None:
        tried.append(chosen["host"])
        if len(tried) == 1:
            snatcher.bind(("127.0.0.1", chosen["host"]))
            snatcher.listen()
            raise Failure("address in use")

    with snatcher:
        chosen = book.start_on({"host": False}, start, lambda: None)
    assert len(tried) == 2
    assert chosen["host"] == tried[1] != tried[0]


def test_other_failures_are_not_tried_again(tmp_path: Path) -> None:
    """A start that fails with its port still free fails for good, after the clean-up."""
    book, calls = PortBook(tmp_path / "state.json"), []
    book.keep({"host": _some_free_port()})

    def start(chosen: dict[str, int]) -> None:
        calls.append("start")
        raise Failure("broken")

    with pytest.raises(Failure, match="broken"):
        book.start_on({"host": False}, start, lambda: calls.append("clean up"))
    assert calls == ["start", "clean up"]


def test_listening_socket_makes_a_port_taken(taken: int) -> None:
    """The probe sees another program's listener."""
    assert not port_is_free(taken)


def _some_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
