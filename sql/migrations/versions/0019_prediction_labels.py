"""prediction_labels, pending_labels, and how far each history layout has been told of labels.

Reason: predictions keep the latest label only. What was known when, who said so and what it was before is kept for
each label told; a label for a transaction that has not been scored waits until it is. A layout of history follows
prediction_labels by id: label calls take turns (an advisory lock until they commit), so ids are in commit order.

No foreign keys: predictions are partitioned and leave the database by months, and a check would cost a lookup a label.
"""

from __future__ import annotations

from sql.migrations.statements import execute, limit_waiting

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


TABLES = """
CREATE TABLE prediction_labels (
    id bigint GENERATED ALWAYS AS IDENTITY,
    prediction_id uuid NOT NULL,
    prediction_created_at timestamptz NOT NULL,
    model_id uuid NOT NULL,
    is_fraud boolean NOT NULL,
    labeled_at timestamptz NOT NULL,
    source varchar(100),
    recorded_at timestamptz NOT NULL DEFAULT now(),
    recorded_by uuid,
    previous boolean,
    CONSTRAINT prediction_labels_pkey PRIMARY KEY (id)
);
CREATE INDEX idx_prediction_labels_prediction ON prediction_labels (prediction_created_at, prediction_id, id);
COMMENT ON TABLE prediction_labels IS 'Every label that was told of a prediction; ids are in the order of commits';
COMMENT ON COLUMN prediction_labels.labeled_at IS 'When this became known, as the source says';
COMMENT ON COLUMN prediction_labels.recorded_at IS 'When the app was told';
COMMENT ON COLUMN prediction_labels.previous IS 'predictions.actual_label before this label; NULL: none';

CREATE TABLE pending_labels (
    id bigint GENERATED ALWAYS AS IDENTITY,
    transaction_id varchar(255),
    prediction_id uuid,
    is_fraud boolean NOT NULL,
    labeled_at timestamptz NOT NULL,
    source varchar(100),
    recorded_at timestamptz NOT NULL DEFAULT now(),
    recorded_by uuid,
    tried_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pending_labels_pkey PRIMARY KEY (id),
    CONSTRAINT pending_labels_target_check CHECK (num_nonnulls(transaction_id, prediction_id) = 1)
);
CREATE INDEX idx_pending_labels_transaction ON pending_labels (transaction_id) WHERE transaction_id IS NOT NULL;
CREATE INDEX idx_pending_labels_prediction ON pending_labels (prediction_id) WHERE prediction_id IS NOT NULL;
CREATE INDEX idx_pending_labels_tried ON pending_labels (tried_at);
COMMENT ON TABLE pending_labels IS
    'Labels of transactions that have not been scored, and of predictions that are archived: they wait'
"""


def upgrade() -> None:
    limit_waiting()
    execute(TABLES)
    execute(
        """
        ALTER TABLE history_layouts ADD COLUMN labels_told bigint NOT NULL DEFAULT 0;
        COMMENT ON COLUMN history_layouts.labels_told IS
            'The events know of prediction_labels up to this id'
        """
    )


def downgrade() -> None:
    limit_waiting()
    execute("ALTER TABLE history_layouts DROP COLUMN labels_told")
    execute("DROP TABLE pending_labels; DROP TABLE prediction_labels")
