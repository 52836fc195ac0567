"""Fixtures of the development host's tests."""

from tests.fixtures.devhost import host, own_host

__all__ = ["host", "own_host"]
