"""scoring_jobs, scoring_job_slices.

Reason: a file is scored by a durable job, slice by slice. The row of a slice is written in the transaction that stores
its predictions, so a slice that runs twice stores them once; the job's counts move in the same transaction.

A job outlives what it was made from: datasets are deleted, uploads are used up, so the source has no foreign key.
"""

from __future__ import annotations

from sql.migrations.statements import execute, limit_waiting

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

JOBS = """
CREATE TABLE scoring_jobs (
    id uuid,
    name varchar(255),
    model_id uuid NOT NULL,
    source varchar(50) NOT NULL,
    source_id uuid NOT NULL,
    status varchar(50) NOT NULL DEFAULT 'QUEUED',
    row_count integer,
    slice_count integer,
    rows_scored integer NOT NULL DEFAULT 0,
    rows_flagged integer NOT NULL DEFAULT 0,
    rows_refused integer NOT NULL DEFAULT 0,
    error_message text,
    orchestration_id varchar(255) NOT NULL,
    created_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    completed_at timestamptz,
    CONSTRAINT scoring_jobs_pkey PRIMARY KEY (id),
    CONSTRAINT scoring_jobs_model_id_fkey FOREIGN KEY (model_id) REFERENCES ml_models(id) ON DELETE CASCADE,
    CONSTRAINT scoring_jobs_created_by_fkey FOREIGN KEY (created_by) REFERENCES users(id),
    CONSTRAINT scoring_jobs_source_check CHECK (source IN ('dataset', 'upload')),
    CONSTRAINT scoring_jobs_status_check
        CHECK (status IN ('QUEUED', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED')),
    CONSTRAINT scoring_jobs_counts_check CHECK (
        rows_scored >= 0 AND rows_refused >= 0 AND rows_flagged >= 0 AND rows_flagged <= rows_scored
        AND rows_scored + rows_refused <= coalesce(row_count, 0)
    ),
    CONSTRAINT scoring_jobs_completed_check
        CHECK (status <> 'COMPLETED' OR rows_scored + rows_refused = row_count)
);
COMMENT ON TABLE scoring_jobs IS 'Files scored as a whole, with the model that was chosen when the job was asked for';
COMMENT ON COLUMN scoring_jobs.source_id IS 'The dataset or the direct upload; no foreign key, a job outlives it';
CREATE INDEX idx_scoring_jobs_created ON scoring_jobs (created_at DESC);
CREATE INDEX idx_scoring_jobs_unfinished ON scoring_jobs (created_at) WHERE status IN ('QUEUED', 'RUNNING')
"""

SLICES = """
CREATE TABLE scoring_job_slices (
    job_id uuid,
    number integer,
    part varchar(500) NOT NULL,
    stored_at timestamptz NOT NULL,
    CONSTRAINT scoring_job_slices_pkey PRIMARY KEY (job_id, number),
    CONSTRAINT scoring_job_slices_job_id_fkey FOREIGN KEY (job_id) REFERENCES scoring_jobs(id) ON DELETE CASCADE
);
COMMENT ON TABLE scoring_job_slices IS 'Slices whose predictions are stored: written in the same transaction';
COMMENT ON COLUMN scoring_job_slices.part IS 'Where in Blob the slice''s part of the result lies'
"""


def upgrade() -> None:
    limit_waiting()
    execute(JOBS)
    execute(SLICES)


def downgrade() -> None:
    limit_waiting()
    execute("DROP TABLE scoring_job_slices; DROP TABLE scoring_jobs")
