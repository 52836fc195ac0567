"""retraining_jobs.

Reason: training again is a job of its own, from the data that labels have made to the decision on the promotion; two
people, or an alert and a person, must not do it twice at a time, so the unique index is the referee.
"""

from __future__ import annotations

from sql.migrations.statements import execute, limit_waiting

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    limit_waiting()
    execute(
        """
        CREATE TABLE retraining_jobs (
            id uuid PRIMARY KEY,
            champion_id uuid NOT NULL REFERENCES ml_models(id),
            alert_id uuid REFERENCES alerts(id) ON DELETE SET NULL,
            reason text NOT NULL,
            options jsonb NOT NULL,
            status varchar(50) NOT NULL CHECK (status IN (
                'PENDING', 'ASSEMBLING', 'ENGINEERING', 'TRAINING', 'JUDGING', 'AWAITING_APPROVAL',
                'PROMOTED', 'REJECTED', 'FAILED', 'CANCELLED'
            )),
            dataset_id uuid REFERENCES datasets(id) ON DELETE SET NULL,
            feature_set_id uuid REFERENCES feature_sets(id) ON DELETE SET NULL,
            training_job_id uuid REFERENCES training_jobs(id) ON DELETE SET NULL,
            challenger_id uuid REFERENCES ml_models(id) ON DELETE SET NULL,
            data jsonb,
            verdict jsonb,
            error_message text,
            orchestration_id varchar(255) NOT NULL,
            approval_until timestamptz,
            decided_by uuid REFERENCES users(id),
            decision_reason text,
            created_by uuid REFERENCES users(id),
            created_at timestamptz NOT NULL,
            started_at timestamptz,
            completed_at timestamptz
        );
        COMMENT ON TABLE retraining_jobs IS 'Training a model again on what labels have told since';
        COMMENT ON COLUMN retraining_jobs.champion_id IS 'The model that is trained again';
        COMMENT ON COLUMN retraining_jobs.data IS 'What the new dataset was made of: rows, labels, window';
        COMMENT ON COLUMN retraining_jobs.verdict IS
            'Champion and challenger on the same rows, and each rule with its numbers';
        CREATE UNIQUE INDEX idx_retraining_jobs_active ON retraining_jobs(champion_id)
            WHERE status IN ('PENDING', 'ASSEMBLING', 'ENGINEERING', 'TRAINING', 'JUDGING', 'AWAITING_APPROVAL');
        CREATE INDEX idx_retraining_jobs_created ON retraining_jobs(created_at DESC, id);
        """
    )


def downgrade() -> None:
    limit_waiting()
    execute("DROP TABLE retraining_jobs")
