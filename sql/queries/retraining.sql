-- name: insert_job
-- A job, unless one for the same model has not ended.
INSERT INTO retraining_jobs (
    id, champion_id, alert_id, reason, options, status, orchestration_id, created_by, created_at
)
VALUES (
    %(id)s, %(champion_id)s, %(alert_id)s, %(reason)s, %(options)s, 'PENDING', %(orchestration_id)s, %(created_by)s,
    %(now)s
)
ON CONFLICT (champion_id) WHERE status IN (
    'PENDING', 'ASSEMBLING', 'ENGINEERING', 'TRAINING', 'JUDGING', 'AWAITING_APPROVAL'
) DO NOTHING
RETURNING *;

-- name: get_job
-- One job.
SELECT *
FROM retraining_jobs
WHERE id = %(job_id)s;

-- name: lock_job
-- One job, held until the transaction ends.
SELECT *
FROM retraining_jobs
WHERE id = %(job_id)s
FOR UPDATE;

-- name: list_jobs
-- One page of jobs, newest first.
SELECT *
FROM retraining_jobs
WHERE (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(model_id)s::uuid IS NULL OR champion_id = %(model_id)s)
ORDER BY created_at DESC, id
LIMIT %(limit)s OFFSET %(offset)s;

-- name: count_jobs
-- How many jobs the same filters leave.
SELECT count(*) AS total
FROM retraining_jobs
WHERE (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(model_id)s::uuid IS NULL OR champion_id = %(model_id)s);

-- name: list_unfinished_jobs
-- Jobs that were asked for before a time and have not ended.
SELECT id, orchestration_id
FROM retraining_jobs
WHERE status IN ('PENDING', 'ASSEMBLING', 'ENGINEERING', 'TRAINING', 'JUDGING', 'AWAITING_APPROVAL')
  AND created_at < %(before)s;

-- name: recent_jobs
-- When a model's last job ended, and how many jobs alerts have started since a time.
SELECT
    (SELECT max(completed_at) FROM retraining_jobs WHERE champion_id = %(champion_id)s) AS last_ended,
    (SELECT count(*) FROM retraining_jobs WHERE alert_id IS NOT NULL AND created_at >= %(since)s) AS of_alerts;

-- name: advance_job
-- The next state of a job that has not ended, with what is known by now; what is not given stays.
UPDATE retraining_jobs
SET status = %(status)s,
    started_at = coalesce(started_at, %(now)s),
    dataset_id = coalesce(%(dataset_id)s, dataset_id),
    feature_set_id = coalesce(%(feature_set_id)s, feature_set_id),
    training_job_id = coalesce(%(training_job_id)s, training_job_id),
    challenger_id = coalesce(%(challenger_id)s, challenger_id),
    data = coalesce(%(data)s, data),
    verdict = coalesce(%(verdict)s, verdict),
    approval_until = coalesce(%(approval_until)s, approval_until)
WHERE id = %(job_id)s
  AND status IN ('PENDING', 'ASSEMBLING', 'ENGINEERING', 'TRAINING', 'JUDGING', 'AWAITING_APPROVAL')
RETURNING *;

-- name: end_job
-- The end of a job that has not ended.
UPDATE retraining_jobs
SET status = %(status)s,
    completed_at = %(now)s,
    error_message = %(error_message)s,
    decided_by = %(decided_by)s,
    decision_reason = %(decision_reason)s
WHERE id = %(job_id)s
  AND status IN ('PENDING', 'ASSEMBLING', 'ENGINEERING', 'TRAINING', 'JUDGING', 'AWAITING_APPROVAL')
RETURNING *;

-- name: tell_alert
-- An alert has started a job.
UPDATE alerts
SET triggered_retraining = true,
    retraining_job_id = %(job_id)s
WHERE id = %(alert_id)s;

-- name: asking_alerts
-- Open alerts that want their model trained again and have not started it.
SELECT id, model_id, title
FROM alerts
WHERE retraining_requested
  AND NOT triggered_retraining
  AND model_id IS NOT NULL
  AND status IN ('ACTIVE', 'ACKNOWLEDGED')
ORDER BY created_at
LIMIT 20;

-- name: count_labels
-- How many transactions of a window are labelled, and how many of them are fraud.
SELECT count(*) AS labelled, count(*) FILTER (WHERE actual_label) AS frauds
FROM (
    SELECT DISTINCT ON (coalesce(transaction_id, id::text)) actual_label
    FROM predictions
    WHERE created_at >= %(since)s
      AND created_at < %(until)s
      AND (actual_label IS NOT NULL OR %(unlabelled)s::bool)
    ORDER BY coalesce(transaction_id, id::text), created_at DESC
) AS newest;

-- name: export_transactions
-- Each transaction of a window as it was last scored, with its label.
SELECT DISTINCT ON (coalesce(transaction_id, id::text))
    input_features -> 'transaction' AS transaction, coalesce(actual_label, false) AS is_fraud, labeled_at
FROM predictions
WHERE created_at >= %(since)s
  AND created_at < %(until)s
  AND (actual_label IS NOT NULL OR %(unlabelled)s::bool)
ORDER BY coalesce(transaction_id, id::text), created_at DESC;
