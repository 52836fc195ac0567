"""Fixtures every test may use: a real PostgreSQL and a real blob emulator."""

from hypothesis import settings

# An example that takes long says that the machine is busy, not that the code is wrong.
settings.register_profile("project", deadline=None)
settings.load_profile("project")

pytest_plugins = [
    "tests.fixtures.postgres",
    "tests.fixtures.audit",
    "tests.fixtures.azurite",
    "tests.fixtures.platform",
    "tests.fixtures.app",
    "tests.fixtures.features",
    "tests.fixtures.registry",
    "tests.fixtures.retraining",
    "tests.fixtures.scoring",
]
