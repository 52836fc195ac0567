"""CHECK constraints of status columns, for new rows.

Reason: a status the state machines of docs/database.md do not know must be impossible, and so must a missing one. NOT
VALID checks new rows at once and needs no scan under the exclusive lock; the next revision looks at the rows already
there.
"""

from __future__ import annotations

from sql.migrations.statements import execute, limit_waiting

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    limit_waiting()
    execute(
        """
        ALTER TABLE users ADD CONSTRAINT users_role_check
            CHECK (role IS NOT NULL AND role IN ('admin', 'scientist', 'analyst')) NOT VALID;
        ALTER TABLE datasets ADD CONSTRAINT datasets_status_check
            CHECK (status IS NOT NULL AND status IN ('ACTIVE', 'ARCHIVED', 'PROCESSING')) NOT VALID;
        ALTER TABLE feature_sets ADD CONSTRAINT feature_sets_status_check
            CHECK (status IS NOT NULL AND status IN ('PENDING', 'PROCESSING', 'COMPLETED', 'FAILED')) NOT VALID;
        ALTER TABLE training_jobs ADD CONSTRAINT training_jobs_status_check
            CHECK (
                status IS NOT NULL AND status IN ('QUEUED', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED')
            ) NOT VALID;
        ALTER TABLE ml_models ADD CONSTRAINT ml_models_status_check
            CHECK (status IS NOT NULL AND status IN ('TRAINED', 'STAGING', 'PRODUCTION', 'ARCHIVED')) NOT VALID;
        ALTER TABLE alerts ADD CONSTRAINT alerts_status_check
            CHECK (status IS NOT NULL AND status IN ('ACTIVE', 'ACKNOWLEDGED', 'RESOLVED', 'DISMISSED')) NOT VALID;
        ALTER TABLE drift_metrics ADD CONSTRAINT drift_metrics_status_check
            CHECK (status IS NOT NULL AND status IN ('OK', 'WARNING', 'CRITICAL')) NOT VALID;
        ALTER TABLE bias_metrics ADD CONSTRAINT bias_metrics_status_check
            CHECK (status IS NOT NULL AND status IN ('OK', 'WARNING', 'CRITICAL')) NOT VALID;
        """
    )


def downgrade() -> None:
    limit_waiting()
    execute(
        """
        ALTER TABLE users DROP CONSTRAINT users_role_check;
        ALTER TABLE datasets DROP CONSTRAINT datasets_status_check;
        ALTER TABLE feature_sets DROP CONSTRAINT feature_sets_status_check;
        ALTER TABLE training_jobs DROP CONSTRAINT training_jobs_status_check;
        ALTER TABLE ml_models DROP CONSTRAINT ml_models_status_check;
        ALTER TABLE alerts DROP CONSTRAINT alerts_status_check;
        ALTER TABLE drift_metrics DROP CONSTRAINT drift_metrics_status_check;
        ALTER TABLE bias_metrics DROP CONSTRAINT bias_metrics_status_check;
        """
    )
