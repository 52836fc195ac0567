"""ml_models.threshold and artifact_sha256.

Reason: a score becomes a decision at the model's own threshold, and an artifact that was altered or mixed up must not
be served. Both are known when the model is registered.
"""

from __future__ import annotations

from sql.migrations.statements import execute, limit_waiting

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    limit_waiting()
    execute(
        """
        ALTER TABLE ml_models
            ADD COLUMN threshold double precision,
            ADD COLUMN artifact_sha256 text;
        ALTER TABLE ml_models
            ADD CONSTRAINT ml_models_threshold_check CHECK (threshold BETWEEN 0 AND 1) NOT VALID,
            ADD CONSTRAINT ml_models_artifact_sha256_check CHECK (artifact_sha256 ~ '^[0-9a-f]{64}$') NOT VALID;
        COMMENT ON COLUMN ml_models.threshold IS 'Scores at or above it are decided as fraud';
        COMMENT ON COLUMN ml_models.artifact_sha256 IS
            'SHA-256 of metadata.json, which holds the SHA-256 of every other file of the artifact';
        """
    )


def downgrade() -> None:
    limit_waiting()
    execute(
        """
        ALTER TABLE ml_models
            DROP COLUMN threshold,
            DROP COLUMN artifact_sha256;
        """
    )
