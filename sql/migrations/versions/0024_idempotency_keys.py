"""idempotency_keys.

Reason: a client that got no answer sends its request again, and the work must not be done twice. The key's row is the
referee of requests that run at the same time, and it is settled in the transaction of the change itself, so it says
whether the work was done whatever became of the answer.
"""

from __future__ import annotations

from sql.migrations.statements import execute, limit_waiting

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    limit_waiting()
    execute(
        """
        CREATE TABLE idempotency_keys (
            caller varchar(255) NOT NULL,
            function varchar(100) NOT NULL,
            key varchar(255) NOT NULL,
            fingerprint bytea NOT NULL,
            claim uuid NOT NULL CONSTRAINT idempotency_keys_claim_key UNIQUE,
            claimed_until timestamptz NOT NULL,
            settled_at timestamptz,
            resource_id uuid,
            status smallint,
            headers jsonb,
            body bytea,
            expires_at timestamptz NOT NULL,
            PRIMARY KEY (caller, function, key),
            CONSTRAINT idempotency_keys_answer_check CHECK (
                (status IS NULL) = (body IS NULL) AND (status IS NULL) = (headers IS NULL)
            )
        );
        CREATE INDEX idx_idempotency_keys_expires_at ON idempotency_keys(expires_at);
        COMMENT ON TABLE idempotency_keys IS
            'Requests that came with an Idempotency-Key: who may act on each, whether it was done, what was answered';
        COMMENT ON COLUMN idempotency_keys.claim IS
            'The run that may act; an overdue one is replaced, and can then commit nothing any more';
        COMMENT ON COLUMN idempotency_keys.settled_at IS 'Set in the transaction of the change: it was done';
        COMMENT ON COLUMN idempotency_keys.resource_id IS 'What the change made or moved';
        COMMENT ON COLUMN idempotency_keys.fingerprint IS 'SHA-256 of path, query and body'
        """
    )


def downgrade() -> None:
    limit_waiting()
    execute("DROP TABLE idempotency_keys")
