"""prediction_rollups, label_rollups, rollup_cursors, and indexes for reading drift_metrics by window.

Reason: monitoring reads each prediction once. Its cells are added to the counts of its hour, and any window is then a
sum of hours, whatever its length. Labels come weeks later and are counted in a table of their own, by the hour of the
prediction, so that an hour's inputs never change once it is over. How far each model has been counted is a cursor that
moves in the transaction that adds the counts.
"""

from __future__ import annotations

from alembic import op

from sql.migrations.statements import execute, limit_waiting

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE IF NOT EXISTS prediction_rollups (
    model_id uuid NOT NULL,
    hour timestamptz NOT NULL,
    rows integer NOT NULL,
    counts bytea NOT NULL,
    cube bytea NOT NULL,
    score_sums bytea NOT NULL,
    latencies bytea NOT NULL,
    CONSTRAINT prediction_rollups_pkey PRIMARY KEY (model_id, hour),
    CONSTRAINT prediction_rollups_model_id_fkey FOREIGN KEY (model_id) REFERENCES ml_models(id) ON DELETE CASCADE
);
COMMENT ON TABLE prediction_rollups IS
    'What was predicted in an hour, counted by cell; packed as shared/monitoring/rollup.py says';
COMMENT ON COLUMN prediction_rollups.counts IS 'Rows by cell of each monitored column';
COMMENT ON COLUMN prediction_rollups.cube IS 'Rows by protected groups and score cell together';
COMMENT ON COLUMN prediction_rollups.score_sums IS 'Sum of the scores of each score cell';
COMMENT ON COLUMN prediction_rollups.latencies IS 'Rows by cell of the latency';

CREATE TABLE IF NOT EXISTS label_rollups (
    model_id uuid NOT NULL,
    hour timestamptz NOT NULL,
    cube bytea NOT NULL,
    CONSTRAINT label_rollups_pkey PRIMARY KEY (model_id, hour),
    CONSTRAINT label_rollups_model_id_fkey FOREIGN KEY (model_id) REFERENCES ml_models(id) ON DELETE CASCADE
);
COMMENT ON TABLE label_rollups IS
    'Labelled predictions of an hour by protected groups, score cell and label, as labels are known now';

CREATE TABLE IF NOT EXISTS rollup_cursors (
    model_id uuid,
    predictions_until timestamptz NOT NULL,
    labels_until bigint NOT NULL DEFAULT 0,
    CONSTRAINT rollup_cursors_pkey PRIMARY KEY (model_id),
    CONSTRAINT rollup_cursors_model_id_fkey FOREIGN KEY (model_id) REFERENCES ml_models(id) ON DELETE CASCADE
);
COMMENT ON TABLE rollup_cursors IS 'How far the rollups of a model go';
COMMENT ON COLUMN rollup_cursors.predictions_until IS 'Predictions made before this are counted';
COMMENT ON COLUMN rollup_cursors.labels_until IS 'Rows of prediction_labels up to this id are counted'
"""

INDEXES = {
    "idx_prediction_labels_model": "prediction_labels (model_id, id)",
    "idx_drift_model_window": "drift_metrics (model_id, window_end DESC, id DESC)",
}


def upgrade() -> None:
    limit_waiting()
    # The concurrent indexes commit what came before them. Were they interrupted, the next run finds the tables there.
    execute(TABLES)
    with op.get_context().autocommit_block():
        for name, columns in INDEXES.items():
            execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            execute(f"CREATE INDEX CONCURRENTLY {name} ON {columns}")


def downgrade() -> None:
    limit_waiting()
    execute("".join(f"DROP INDEX {name};" for name in INDEXES))
    execute("DROP TABLE rollup_cursors; DROP TABLE label_rollups; DROP TABLE prediction_rollups")
