"""predictions.cells.

Reason: drift compares what is predicted with the reference profile, which holds counts over cells. A prediction that
carries the cell of each monitored column, one byte each, is counted without its JSON being read again. NULL where the
model has no profile.
"""

from __future__ import annotations

from sql.migrations.statements import execute, limit_waiting

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    limit_waiting()
    execute("ALTER TABLE predictions ADD COLUMN cells bytea")


def downgrade() -> None:
    limit_waiting()
    execute("ALTER TABLE predictions DROP COLUMN cells")
