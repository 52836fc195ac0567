"""baselines.bound, champion_rules, model_promotions.replaced_by; two indexes for lineage.

Reason: a figure that rests on few frauds may reach its threshold by luck, so a baseline can be held against the bound
of its confidence interval. A new model must not be much worse than the one it replaces, which is another rule than a
threshold. A rollback must tell a model that was replaced from one that somebody archived on purpose. What was made
from a dataset is found by index.
"""

from __future__ import annotations

from alembic import op

from sql.migrations.statements import execute, limit_waiting

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    limit_waiting()
    # The concurrent indexes commit what came before them. Were they interrupted, the next run finds the rest there.
    execute(
        """
        ALTER TABLE baselines ADD COLUMN IF NOT EXISTS bound text NOT NULL DEFAULT 'value'
            CONSTRAINT baselines_bound_check CHECK (bound IN ('value', 'lower', 'upper', 'pessimistic'));
        COMMENT ON COLUMN baselines.bound IS
            'Which number meets the threshold: the figure, an end of its confidence interval, or the worse end';

        CREATE TABLE IF NOT EXISTS champion_rules (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            model_id uuid NOT NULL REFERENCES ml_models(id) ON DELETE CASCADE,
            metric_name text NOT NULL,
            tolerance double precision NOT NULL CHECK (tolerance >= 0 AND tolerance < 'infinity'),
            unit text NOT NULL CHECK (unit IN ('absolute', 'relative')),
            is_active boolean NOT NULL DEFAULT true,
            created_by uuid REFERENCES users(id),
            created_at timestamptz NOT NULL DEFAULT now(),
            UNIQUE (model_id, metric_name)
        );
        COMMENT ON TABLE champion_rules IS
            'By how much a model may be worse than the one in production to be promoted over it';

        ALTER TABLE model_promotions ADD COLUMN IF NOT EXISTS replaced_by uuid REFERENCES ml_models(id);
        COMMENT ON COLUMN model_promotions.replaced_by IS
            'The model that took over production with this step; NULL where a model was archived on purpose';
        UPDATE model_promotions AS gone
        SET replaced_by = entered.model_id
        FROM model_promotions AS entered
        WHERE gone.from_status = 'PRODUCTION'
          AND entered.to_status = 'PRODUCTION'
          AND entered.promoted_at = gone.promoted_at
          AND entered.model_id <> gone.model_id
          AND gone.replaced_by IS NULL;
        COMMENT ON COLUMN model_promotions.verdict IS
            'What the gate found: every rule with its numbers, and whether it held'
        """
    )
    with op.get_context().autocommit_block():
        for name, column in (
            ("idx_training_jobs_feature_set", "training_jobs(feature_set_id, created_at DESC)"),
            ("idx_datasets_parent", "datasets(parent_id)"),
        ):
            execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            execute(f"CREATE INDEX CONCURRENTLY {name} ON {column}")


def downgrade() -> None:
    limit_waiting()
    execute("DROP INDEX idx_datasets_parent")
    execute("DROP INDEX idx_training_jobs_feature_set")
    execute("ALTER TABLE model_promotions DROP COLUMN replaced_by")
    execute("DROP TABLE champion_rules")
    execute("ALTER TABLE baselines DROP COLUMN bound")
    execute(
        """
        COMMENT ON COLUMN model_promotions.verdict IS
            'The baselines as they were judged: metric, value, threshold, held'
        """
    )
