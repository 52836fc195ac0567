"""scoring_outcomes.

Reason: a request that was refused because something of ours is away leaves no prediction, so the share of such requests
must be counted apart to be watched.
"""

from __future__ import annotations

from sql.migrations.statements import execute, limit_waiting

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    limit_waiting()
    execute(
        """
        CREATE TABLE scoring_outcomes (
            hour timestamptz PRIMARY KEY,
            requests bigint NOT NULL,
            failed bigint NOT NULL,
            CHECK (failed <= requests)
        );
        COMMENT ON TABLE scoring_outcomes IS 'Transactions sent to be scored, by hour';
        COMMENT ON COLUMN scoring_outcomes.failed IS
            'Refused because something of ours was away, not of the caller''s fault'
        """
    )


def downgrade() -> None:
    limit_waiting()
    execute("DROP TABLE scoring_outcomes")
