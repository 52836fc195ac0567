"""What the app's role may do: read and write rows, add to the audit log and never change it, own nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, LiteralString

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from uuid import UUID

    from psycopg import Connection

_GRANTS: Final = (
    "GRANT USAGE ON SCHEMA public TO {app}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {app}",
    "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {app}",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {app}",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO {app}",
)
# Tables where the app may do less.
_LESS: Final[dict[str, tuple[LiteralString, ...]]] = {
    "audit_logs": ("SELECT", "INSERT"),
    "audit_chain": ("SELECT",),
    "alembic_version": (),
}


def grant(conn: Connection[Any], role: str) -> None:
    """Give ``role`` its rights on everything that there is and that the current role will make, in one transaction.

    Repeating it is harmless; what a table of ``_LESS`` had beyond its rights is taken back.
    Raises psycopg.Error when the role does not exist or the current one owns nothing.
    """
    app = sql.Identifier(role)
    with conn.transaction():
        conn.execute("SET LOCAL lock_timeout = '3s'")
        for statement in _GRANTS:
            conn.execute(sql.SQL(statement).format(app=app))
        for table, rights in _LESS.items():
            names = {"table": sql.Identifier(table), "app": app}
            conn.execute(sql.SQL("REVOKE ALL ON {table} FROM {app}").format(**names))
            for right in rights:
                conn.execute(sql.SQL("GRANT {right} ON {table} TO {app}").format(right=sql.SQL(right), **names))


def create_entra_role(conninfo: str, role: str, object_id: UUID) -> bool:
    """Make the role of a managed identity on Flexible Server, if it is missing; whether this call did.

    The current role must be an Entra administrator; Azure's functions for it are in the database ``postgres`` only.
    """
    with psycopg.connect(conninfo, dbname="postgres", autocommit=True) as conn:
        if conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is not None:
            return False
        conn.execute(
            "SELECT pgaadauth_create_principal_with_oid(%s, %s, 'service', false, false)", (role, str(object_id))
        )
        return True
