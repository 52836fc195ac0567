"""training_jobs.orchestration_id; celery_task_id is deprecated.

Reason: training runs as a durable orchestration, not as a Celery task. A job must lead to its orchestration, to cancel
it and to find jobs whose orchestration has gone. The old column stays, marked as deprecated: columns are never dropped.
"""

from __future__ import annotations

from sql.migrations.statements import execute, limit_waiting

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    limit_waiting()
    execute(
        """
        ALTER TABLE training_jobs ADD COLUMN orchestration_id text;
        COMMENT ON COLUMN training_jobs.orchestration_id IS
            'Instance id of the durable orchestration that trains this job';
        COMMENT ON COLUMN training_jobs.celery_task_id IS
            'Deprecated: always NULL; see orchestration_id';
        """
    )


def downgrade() -> None:
    limit_waiting()
    execute(
        """
        COMMENT ON COLUMN training_jobs.celery_task_id IS NULL;
        ALTER TABLE training_jobs DROP COLUMN orchestration_id;
        """
    )
