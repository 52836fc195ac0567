"""alerts.cause, occurrences, last_seen_at; at most one open alert for each cause.

Reason: what goes on being wrong is one alert that is refreshed, not a new one every minute. Two workers that notice it
at the same time must agree, so the unique index is the referee.
"""

from __future__ import annotations

from alembic import op

from sql.migrations.statements import execute, limit_waiting

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    limit_waiting()
    # The concurrent index commits what came before it. Were it interrupted, the next run finds the columns there.
    execute(
        """
        ALTER TABLE alerts
            ADD COLUMN IF NOT EXISTS cause text,
            ADD COLUMN IF NOT EXISTS occurrences integer NOT NULL DEFAULT 1,
            ADD COLUMN IF NOT EXISTS last_seen_at timestamptz;
        COMMENT ON COLUMN alerts.cause IS 'What is wrong, as a key: one open alert for each';
        COMMENT ON COLUMN alerts.occurrences IS 'How often the cause was noticed while the alert was open';
        COMMENT ON COLUMN alerts.last_seen_at IS 'When the cause was noticed last'
        """
    )
    with op.get_context().autocommit_block():
        execute("DROP INDEX CONCURRENTLY IF EXISTS idx_alerts_open_cause")
        execute(
            """
            CREATE UNIQUE INDEX CONCURRENTLY idx_alerts_open_cause
                ON alerts(cause) WHERE status IN ('ACTIVE', 'ACKNOWLEDGED')
            """
        )


def downgrade() -> None:
    limit_waiting()
    execute("DROP INDEX idx_alerts_open_cause")
    execute("ALTER TABLE alerts DROP COLUMN cause, DROP COLUMN occurrences, DROP COLUMN last_seen_at")
