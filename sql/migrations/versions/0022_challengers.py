"""challengers, shadow_predictions.

Reason: models in STAGING score what the model in production has scored, off the request path. A challenger remembers
how far it has read; its results lie beside the champion's decision and the amount, so that a report over a period
reads one range of one table. The primary key makes a repeated run harmless.

No foreign key to predictions: they are partitioned and leave the database by months.
"""

from __future__ import annotations

from sql.migrations.statements import execute, limit_waiting

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

CHALLENGERS = """
CREATE TABLE challengers (
    model_id uuid,
    started_at timestamptz NOT NULL,
    started_by uuid,
    stopped_at timestamptz,
    position_at timestamptz NOT NULL,
    position_id uuid NOT NULL,
    CONSTRAINT challengers_pkey PRIMARY KEY (model_id),
    CONSTRAINT challengers_model_id_fkey FOREIGN KEY (model_id) REFERENCES ml_models(id) ON DELETE CASCADE,
    CONSTRAINT challengers_started_by_fkey FOREIGN KEY (started_by) REFERENCES users(id)
);
COMMENT ON TABLE challengers IS 'Models that score in the shadow; stopped_at is NULL while they do';
COMMENT ON COLUMN challengers.position_at IS
    'With position_id: the last prediction of the model in production that this one has followed'
"""

PREDICTIONS = """
CREATE TABLE shadow_predictions (
    challenger_id uuid,
    created_at timestamptz,
    prediction_id uuid,
    champion_id uuid NOT NULL,
    champion_score double precision NOT NULL,
    champion_is_fraud boolean NOT NULL,
    fraud_score double precision,
    is_fraud boolean,
    amount double precision,
    CONSTRAINT shadow_predictions_pkey PRIMARY KEY (challenger_id, created_at, prediction_id),
    CONSTRAINT shadow_predictions_challenger_id_fkey
        FOREIGN KEY (challenger_id) REFERENCES challengers(model_id) ON DELETE CASCADE,
    CONSTRAINT shadow_predictions_scored_check CHECK ((fraud_score IS NULL) = (is_fraud IS NULL))
);
COMMENT ON TABLE shadow_predictions IS 'What challengers would have decided, beside what was decided';
COMMENT ON COLUMN shadow_predictions.created_at IS 'That of the prediction';
COMMENT ON COLUMN shadow_predictions.fraud_score IS 'NULL where the transaction does not fit the challenger'
"""


def upgrade() -> None:
    limit_waiting()
    execute(CHALLENGERS)
    execute(PREDICTIONS)


def downgrade() -> None:
    limit_waiting()
    execute("DROP TABLE shadow_predictions; DROP TABLE challengers")
