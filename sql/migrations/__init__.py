"""Alembic environment of the project; the revisions are in ``versions``."""
