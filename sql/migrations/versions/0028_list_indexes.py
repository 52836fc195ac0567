"""Indexes that give the pages of models, training jobs, feature sets, alerts and users.

Reason: each holds every column that its list is filtered on, so that rows are counted and a page far back is found
without reading a row; the id makes the order of equal rows a stable one. Models are listed by name, algorithm and
status through indexes of their own, the others through the one by time.
"""

from __future__ import annotations

from alembic import op

from sql.migrations.statements import execute, limit_waiting

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

INDEXES = {
    "idx_models_by_time": "ml_models (created_at, id) INCLUDE (name, status, algorithm, created_by)",
    "idx_models_by_name": "ml_models (name, id) INCLUDE (status, algorithm, created_by, created_at)",
    "idx_models_by_algorithm": "ml_models (algorithm, id) INCLUDE (name, status, created_by, created_at)",
    "idx_models_by_status": "ml_models (status, id) INCLUDE (name, algorithm, created_by, created_at)",
    "idx_training_jobs_by_time":
        "training_jobs (created_at, id) INCLUDE (name, status, algorithm, feature_set_id, created_by)",
    "idx_feature_sets_by_time": "feature_sets (created_at, id) INCLUDE (name, status, dataset_id, created_by)",
    "idx_alerts_by_time": "alerts (created_at, id) INCLUDE (status, severity, source_type, model_id)",
    "idx_users_by_time": "users (created_at, id) INCLUDE (role, is_active, email, display_name)",
}  # fmt: skip


def upgrade() -> None:
    limit_waiting()
    with op.get_context().autocommit_block():
        for name, definition in INDEXES.items():
            execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            execute(f"CREATE INDEX CONCURRENTLY {name} ON {definition}")


def downgrade() -> None:
    limit_waiting()
    for name in INDEXES:
        execute(f"DROP INDEX {name}")
