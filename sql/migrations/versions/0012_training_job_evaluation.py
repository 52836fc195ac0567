"""training_jobs.calibration and training_jobs.evaluation.

Reason: a model's scores depend on whether they are calibrated, and its figures on the review capacity and costs they
are reckoned with. The job must keep both to be repeatable. Jobs from before had neither choice: they get the defaults.
"""

from __future__ import annotations

from sql.migrations.statements import execute, limit_waiting

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    limit_waiting()
    execute(
        """
        ALTER TABLE training_jobs
            ADD COLUMN calibration text NOT NULL DEFAULT 'auto'
                CHECK (calibration IN ('auto', 'none', 'sigmoid', 'isotonic')),
            ADD COLUMN evaluation jsonb NOT NULL DEFAULT '{}';
        COMMENT ON COLUMN training_jobs.calibration IS
            'The curve over the scores that was asked for; which one was laid is in the figures of the model';
        COMMENT ON COLUMN training_jobs.evaluation IS
            'Review capacity and costs that the figures are reckoned with; the rest comes from threshold_policy';
        """
    )


def downgrade() -> None:
    limit_waiting()
    execute("ALTER TABLE training_jobs DROP COLUMN evaluation, DROP COLUMN calibration")
