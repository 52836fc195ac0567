"""bias_metrics.window_start, window_end, interval_low, interval_high, p_value.

Reason: a gap between groups is only understood with the window that it is of and with how sure it is.
"""

from __future__ import annotations

from sql.migrations.statements import execute, limit_waiting

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    limit_waiting()
    execute(
        """
        ALTER TABLE bias_metrics
            ADD COLUMN window_start timestamptz,
            ADD COLUMN window_end timestamptz,
            ADD COLUMN interval_low double precision,
            ADD COLUMN interval_high double precision,
            ADD COLUMN p_value double precision;
        COMMENT ON COLUMN bias_metrics.p_value IS
            'Of the test that all groups are alike, corrected for everything tested with it (Holm)';
        """
    )


def downgrade() -> None:
    limit_waiting()
    execute(
        """
        ALTER TABLE bias_metrics DROP COLUMN window_start, DROP COLUMN window_end, DROP COLUMN interval_low,
            DROP COLUMN interval_high, DROP COLUMN p_value
        """
    )
