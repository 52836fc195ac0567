"""submissions.

Reason: a checkout that got no answer sends its transaction again, which must neither be stored nor counted in history
a second time. ``predictions`` cannot hold a unique key on the transaction: it is partitioned by time, and a transaction
may be scored again on purpose, later or by another model.

- The key begins with the transaction's own id: ids that rise with time, as most do, then fill the index from its right
  end, where a hash would touch another page for each row.
- There is no index on created_at: rows are deleted by age once an hour, by reading this table, which holds no more than
  one window of submissions.
"""

from __future__ import annotations

from sql.migrations.statements import execute, limit_waiting

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    limit_waiting()
    execute(
        """
        CREATE TABLE submissions (
            transaction_id varchar(255) COLLATE "C" NOT NULL,
            scope uuid NOT NULL,
            payload uuid NOT NULL,
            prediction_id uuid NOT NULL,
            created_at timestamptz NOT NULL,
            CONSTRAINT submissions_pkey PRIMARY KEY (transaction_id, scope)
        );
        COMMENT ON TABLE submissions IS
            'Transactions scored within the window in which sending one again gives the first answer';
        COMMENT ON COLUMN submissions.scope IS 'Who sent it, and to which model where one was named, as a hash';
        COMMENT ON COLUMN submissions.payload IS 'Hash of the transaction';
        COMMENT ON COLUMN submissions.prediction_id IS 'The prediction that answered it first';
        """
    )


def downgrade() -> None:
    limit_waiting()
    execute("DROP TABLE submissions")
