"""training_jobs.threshold_policy.

Reason: the decision threshold of a model is chosen by a policy the caller names (best F1, a false-positive
budget, costs). The job must keep the policy to be repeatable.
"""

from __future__ import annotations

from sql.migrations.statements import execute, limit_waiting

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    limit_waiting()
    execute(
        """
        ALTER TABLE training_jobs ADD COLUMN threshold_policy jsonb;
        COMMENT ON COLUMN training_jobs.threshold_policy IS
            'How the decision threshold is chosen; NULL is the default policy';
        """
    )


def downgrade() -> None:
    limit_waiting()
    execute("ALTER TABLE training_jobs DROP COLUMN threshold_policy")
