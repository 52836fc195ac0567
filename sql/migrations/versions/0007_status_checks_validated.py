"""CHECK constraints hold for the rows already there.

Reason: VALIDATE reads the tables under a lock that lets writers work on. In a revision (and so a transaction) of its
own, because the exclusive lock of ADD CONSTRAINT is kept until its transaction ends.
"""

from __future__ import annotations

from sql.migrations.statements import execute, limit_waiting

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    limit_waiting()
    execute(
        """
        ALTER TABLE ml_models VALIDATE CONSTRAINT ml_models_threshold_check;
        ALTER TABLE ml_models VALIDATE CONSTRAINT ml_models_artifact_sha256_check;
        ALTER TABLE users VALIDATE CONSTRAINT users_role_check;
        ALTER TABLE datasets VALIDATE CONSTRAINT datasets_status_check;
        ALTER TABLE feature_sets VALIDATE CONSTRAINT feature_sets_status_check;
        ALTER TABLE training_jobs VALIDATE CONSTRAINT training_jobs_status_check;
        ALTER TABLE ml_models VALIDATE CONSTRAINT ml_models_status_check;
        ALTER TABLE alerts VALIDATE CONSTRAINT alerts_status_check;
        ALTER TABLE drift_metrics VALIDATE CONSTRAINT drift_metrics_status_check;
        ALTER TABLE bias_metrics VALIDATE CONSTRAINT bias_metrics_status_check;
        """
    )


def downgrade() -> None:
    limit_waiting()
    # A constraint cannot be made unvalidated, and its being validated hinders nobody: the revision below drops it.
