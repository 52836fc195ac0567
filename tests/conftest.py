"""Fixtures every test may use: a real PostgreSQL and a real blob emulator."""

pytest_plugins = [
    "tests.fixtures.postgres",
    "tests.fixtures.azurite",
    "tests.fixtures.platform",
    "tests.fixtures.app",
    "tests.fixtures.features",
    "tests.fixtures.registry",
]
