"""${message}.

Reason: say what the system cannot do without this change.
"""

from __future__ import annotations

from sql.migrations.statements import execute, limit_waiting

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    limit_waiting()
    execute(
        """
        """
    )


def downgrade() -> None:
    limit_waiting()
    execute(
        """
        """
    )
