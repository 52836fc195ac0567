"""history_layouts.complete_until.

Reason: scoring writes events for the layout of the model that scores. What other models scored is added to a layout
afterwards, from predictions, and that work must know where it stands. NULL: from the beginning.
"""

from __future__ import annotations

from sql.migrations.statements import execute, limit_waiting

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    limit_waiting()
    execute(
        """
        ALTER TABLE history_layouts ADD COLUMN complete_until timestamptz;
        COMMENT ON COLUMN history_layouts.complete_until IS
            'Predictions made before this moment are among the events, whichever model made them; NULL: not known'
        """
    )


def downgrade() -> None:
    limit_waiting()
    execute("ALTER TABLE history_layouts DROP COLUMN complete_until")
