"""feature_sets.orchestration_id, progress and content_hash.

Reason: feature engineering is a durable orchestration whose progress by stage people watch, and whose activities run at
least once: the hash of the plan and its input tells a repeated run that its result is already there.
"""

from __future__ import annotations

from sql.migrations.statements import execute, limit_waiting

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    limit_waiting()
    execute(
        """
        ALTER TABLE feature_sets
            ADD COLUMN orchestration_id text,
            ADD COLUMN progress jsonb,
            ADD COLUMN content_hash text;
        COMMENT ON COLUMN feature_sets.orchestration_id IS
            'Instance id of the durable orchestration that computes this feature set';
        COMMENT ON COLUMN feature_sets.progress IS 'Progress by stage';
        COMMENT ON COLUMN feature_sets.content_hash IS 'Hash of the feature plan; equal hashes give equal features';
        """
    )


def downgrade() -> None:
    limit_waiting()
    execute(
        """
        ALTER TABLE feature_sets
            DROP COLUMN orchestration_id,
            DROP COLUMN progress,
            DROP COLUMN content_hash;
        """
    )
