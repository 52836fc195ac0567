-- name: insert_job
-- A job that has been asked for.
INSERT INTO scoring_jobs (id, name, model_id, source, source_id, orchestration_id, created_by, created_at)
VALUES (
    %(id)s, %(name)s, %(model_id)s, %(source)s, %(source_id)s, %(orchestration_id)s, %(created_by)s, %(now)s
)
RETURNING *;

-- name: get_job
-- One job by id.
SELECT *
FROM scoring_jobs
WHERE id = %(job_id)s;

-- name: lock_job
-- One job by id, held until the transaction ends.
SELECT *
FROM scoring_jobs
WHERE id = %(job_id)s
FOR UPDATE;

-- name: list_jobs
-- One page of jobs, newest first.
SELECT *
FROM scoring_jobs
WHERE (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(model_id)s::uuid IS NULL OR model_id = %(model_id)s)
ORDER BY created_at DESC, id
LIMIT %(limit)s OFFSET %(offset)s;

-- name: count_jobs
-- How many jobs the same filters leave.
SELECT count(*) AS total
FROM scoring_jobs
WHERE (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(model_id)s::uuid IS NULL OR model_id = %(model_id)s);

-- name: list_unfinished_jobs
-- Jobs that were asked for before a time and have not ended.
SELECT id, orchestration_id
FROM scoring_jobs
WHERE status IN ('QUEUED', 'RUNNING') AND created_at < %(before)s
ORDER BY created_at;

-- name: begin_job
-- The file has been read and cut into slices.
UPDATE scoring_jobs
SET status = 'RUNNING',
    row_count = %(row_count)s,
    slice_count = %(slice_count)s,
    started_at = %(now)s
WHERE id = %(job_id)s
  AND status = 'QUEUED';

-- name: get_slice
-- A slice whose predictions are stored.
SELECT number
FROM scoring_job_slices
WHERE job_id = %(job_id)s AND number = %(number)s;

-- name: claim_slice
-- The slice is stored in this transaction. Nothing is returned when it has been stored before; whoever stores it at
-- the same time makes this wait, and decides.
INSERT INTO scoring_job_slices (job_id, number, part, stored_at)
VALUES (%(job_id)s, %(number)s, %(part)s, %(now)s)
ON CONFLICT (job_id, number) DO NOTHING
RETURNING number;

-- name: copy_predictions
-- Store the predictions of a slice; the order of the columns is that of the records.
COPY predictions (id, model_id, transaction_id, input_features, fraud_score, is_fraud, confidence, cells, created_at)
FROM STDIN (FORMAT binary);

-- name: count_slice
-- A running job is further by one slice; nothing is returned when it has ended meanwhile.
UPDATE scoring_jobs
SET rows_scored = rows_scored + %(scored)s,
    rows_flagged = rows_flagged + %(flagged)s,
    rows_refused = rows_refused + %(refused)s
WHERE id = %(job_id)s
  AND status = 'RUNNING'
RETURNING id;

-- name: list_parts
-- Where the parts of the result lie, in order.
SELECT part
FROM scoring_job_slices
WHERE job_id = %(job_id)s
ORDER BY number;

-- name: complete_job
-- Every slice is stored and the result lies in Blob.
UPDATE scoring_jobs
SET status = 'COMPLETED',
    completed_at = %(now)s
WHERE id = %(job_id)s
  AND status = 'RUNNING';

-- name: cancel_job
-- A job that has not ended is cancelled.
UPDATE scoring_jobs
SET status = 'CANCELLED',
    completed_at = %(now)s
WHERE id = %(job_id)s
  AND status IN ('QUEUED', 'RUNNING')
RETURNING *;

-- name: fail_job
-- A job that has not ended has failed, with the reason.
UPDATE scoring_jobs
SET status = 'FAILED',
    completed_at = %(now)s,
    error_message = %(error_message)s
WHERE id = %(job_id)s
  AND status IN ('QUEUED', 'RUNNING')
RETURNING id;
