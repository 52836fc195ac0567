"""model_promotions.

Reason: which model was live on a given day, who promoted it, and on what numbers. ml_models keeps only the last change;
this table keeps each, written in the transaction that makes the change.
"""

from __future__ import annotations

from sql.migrations.statements import execute, limit_waiting

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    limit_waiting()
    execute(
        """
        CREATE TABLE model_promotions (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            model_id uuid NOT NULL REFERENCES ml_models(id),
            from_status varchar(50) NOT NULL,
            to_status varchar(50) NOT NULL,
            verdict jsonb,
            reason text,
            overridden boolean NOT NULL DEFAULT false,
            promoted_by uuid REFERENCES users(id),
            promoted_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT model_promotions_from_status_check
                CHECK (from_status IN ('TRAINED', 'STAGING', 'PRODUCTION', 'ARCHIVED')),
            CONSTRAINT model_promotions_to_status_check
                CHECK (to_status IN ('TRAINED', 'STAGING', 'PRODUCTION', 'ARCHIVED')),
            CONSTRAINT model_promotions_change_check CHECK (from_status <> to_status),
            CONSTRAINT model_promotions_override_check
                CHECK (NOT overridden OR (reason IS NOT NULL AND btrim(reason) <> ''))
        );
        COMMENT ON TABLE model_promotions IS 'Every change of a model''s status, in the transaction that made it';
        COMMENT ON COLUMN model_promotions.verdict IS
            'The baselines as they were judged: metric, value, threshold, held';
        COMMENT ON COLUMN model_promotions.overridden IS 'Promoted although a baseline did not hold; needs a reason';
        CREATE INDEX idx_model_promotions_model ON model_promotions(model_id, promoted_at DESC);
        CREATE INDEX idx_model_promotions_production ON model_promotions(promoted_at DESC)
            WHERE to_status = 'PRODUCTION' OR from_status = 'PRODUCTION';
        """
    )


def downgrade() -> None:
    limit_waiting()
    execute("DROP TABLE model_promotions")
