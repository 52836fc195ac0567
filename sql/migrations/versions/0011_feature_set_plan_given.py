"""feature_sets.plan_given and plan_of.

Reason: a set may be computed by a plan that was fitted elsewhere, given as a document or by the set that has it. Its
stages must know that nothing is to be fitted or chosen, and people ask where the plan came from.
"""

from __future__ import annotations

from sql.migrations.statements import execute, limit_waiting

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    limit_waiting()
    execute(
        """
        ALTER TABLE feature_sets
            ADD COLUMN plan_given boolean NOT NULL DEFAULT false,
            ADD COLUMN plan_of uuid REFERENCES feature_sets (id) ON DELETE SET NULL;
        COMMENT ON COLUMN feature_sets.plan_given IS 'Whether the caller gave the plan; if not, it was fitted here';
        COMMENT ON COLUMN feature_sets.plan_of IS 'The feature set whose plan was given, where it was given by its set';
        """
    )


def downgrade() -> None:
    limit_waiting()
    execute("ALTER TABLE feature_sets DROP COLUMN plan_given, DROP COLUMN plan_of")
