-- name: insert_job
-- A queued job.
INSERT INTO training_jobs (
    id, name, feature_set_id, algorithm, hyperparameters, train_test_split, threshold_policy, calibration, evaluation,
    status, progress, current_epoch, total_epochs, metrics, orchestration_id, created_by, queued_at, created_at
)
VALUES (
    %(id)s, %(name)s, %(feature_set_id)s, %(algorithm)s, %(hyperparameters)s, %(train_test_split)s,
    %(threshold_policy)s, %(calibration)s, %(evaluation)s, 'QUEUED', 0, 0, %(total_epochs)s, %(metrics)s,
    %(orchestration_id)s, %(created_by)s, %(now)s, %(now)s
)
RETURNING *;

-- name: get_job
-- One job by id, with its place among those that wait.
SELECT
    *,
    CASE WHEN status = 'QUEUED' THEN (
        SELECT count(*) + 1
        FROM training_jobs AS ahead
        WHERE ahead.status = 'QUEUED' AND (ahead.queued_at, ahead.id) < (job.queued_at, job.id)
    ) END AS queue_position
FROM training_jobs AS job
WHERE id = %(job_id)s;

-- name: lock_job
-- One job by id, held until the transaction ends.
SELECT *
FROM training_jobs
WHERE id = %(job_id)s
FOR UPDATE;

-- name: list_jobs
-- One page of jobs, without the curves and trials. The ids are found first, in an index.
SELECT
    job.id, name, feature_set_id, algorithm, hyperparameters, train_test_split, threshold_policy, calibration,
    evaluation, status, progress, current_epoch, total_epochs, (metrics - 'curves') #- '{search,trials}' AS metrics,
    final_metrics, model_id, error_message, NULL AS error_traceback, orchestration_id, queued_at, started_at,
    completed_at, created_by, created_at,
    CASE WHEN status = 'QUEUED' THEN (
        SELECT count(*) + 1
        FROM training_jobs AS ahead
        WHERE ahead.status = 'QUEUED' AND (ahead.queued_at, ahead.id) < (job.queued_at, job.id)
    ) END AS queue_position
FROM (
    SELECT job.id
    FROM training_jobs AS job
    WHERE (%(status)s::text IS NULL OR job.status = %(status)s)
      AND (%(feature_set_id)s::uuid IS NULL OR job.feature_set_id = %(feature_set_id)s)
      AND (%(algorithm)s::text IS NULL OR job.algorithm = %(algorithm)s)
      AND (%(name)s::text IS NULL OR strpos(lower(job.name), lower(%(name)s)) > 0)
      AND (%(created_by)s::uuid IS NULL OR job.created_by = %(created_by)s)
    ORDER BY {order}
    LIMIT %(limit)s OFFSET %(offset)s
) AS page
JOIN training_jobs AS job ON job.id = page.id
ORDER BY {order};

-- name: count_jobs
-- How many jobs the same filters leave.
SELECT count(*) AS total
FROM training_jobs AS job
WHERE (%(status)s::text IS NULL OR job.status = %(status)s)
  AND (%(feature_set_id)s::uuid IS NULL OR job.feature_set_id = %(feature_set_id)s)
  AND (%(algorithm)s::text IS NULL OR job.algorithm = %(algorithm)s)
  AND (%(name)s::text IS NULL OR strpos(lower(job.name), lower(%(name)s)) > 0)
  AND (%(created_by)s::uuid IS NULL OR job.created_by = %(created_by)s);

-- name: lock_training_queue
-- Whoever admits jobs counts and decides alone.
SELECT pg_advisory_xact_lock(hashtextextended('training_jobs.queue', 0));

-- name: admit_jobs
-- As many of the longest waiting jobs as there are free places become RUNNING. Needs lock_training_queue.
UPDATE training_jobs
SET status = 'RUNNING',
    started_at = %(now)s
WHERE status = 'QUEUED'
  AND id IN (
      SELECT id
      FROM training_jobs
      WHERE status = 'QUEUED'
      ORDER BY queued_at, id
      LIMIT greatest(0, %(concurrency)s - (SELECT count(*) FROM training_jobs WHERE status = 'RUNNING'))
  )
RETURNING id, orchestration_id;

-- name: report_progress
-- Where a running job stands, and nothing for one that has ended meanwhile. Rounds can go back: a worker died.
UPDATE training_jobs
SET current_epoch = %(current_epoch)s,
    progress = %(progress)s,
    metrics = coalesce(metrics, '{}'::jsonb) || %(metrics)s
WHERE id = %(job_id)s
  AND status = 'RUNNING'
RETURNING id;

-- name: advance_checkpoint
-- The stored round from which a running job goes on; it never goes back, whoever is late.
UPDATE training_jobs
SET metrics = jsonb_set(
        coalesce(metrics, '{}'::jsonb),
        '{checkpoint_round}',
        to_jsonb(greatest(coalesce((metrics ->> 'checkpoint_round')::integer, 0), %(rounds)s))
    )
WHERE id = %(job_id)s
  AND status = 'RUNNING'
RETURNING id;

-- name: choose_hyperparameters
-- A running job goes on with what its search has found.
UPDATE training_jobs
SET hyperparameters = %(hyperparameters)s,
    total_epochs = %(total_epochs)s
WHERE id = %(job_id)s
  AND status = 'RUNNING';

-- name: cancel_job
-- A job that has not ended is cancelled.
UPDATE training_jobs
SET status = 'CANCELLED',
    completed_at = %(now)s
WHERE id = %(job_id)s
  AND status IN ('QUEUED', 'RUNNING')
RETURNING *;

-- name: fail_job
-- A job that has not ended has failed, with the reason.
UPDATE training_jobs
SET status = 'FAILED',
    completed_at = %(now)s,
    error_message = %(error_message)s,
    error_traceback = coalesce(%(error_traceback)s, error_traceback)
WHERE id = %(job_id)s
  AND status IN ('QUEUED', 'RUNNING')
RETURNING *;

-- name: note_traceback
-- What an attempt died of; the next attempt may still succeed.
UPDATE training_jobs
SET error_traceback = %(error_traceback)s
WHERE id = %(job_id)s
  AND status IN ('QUEUED', 'RUNNING');

-- name: complete_job
-- A running job has made its model.
UPDATE training_jobs
SET status = 'COMPLETED',
    progress = 1,
    completed_at = %(now)s,
    model_id = %(model_id)s,
    final_metrics = %(final_metrics)s,
    error_traceback = NULL
WHERE id = %(job_id)s
  AND status = 'RUNNING'
RETURNING *;

-- name: get_feature_set
-- What training needs to know of a feature set.
SELECT id, dataset_id, name, status
FROM feature_sets
WHERE id = %(feature_set_id)s;

-- name: lock_model_name
-- Models of one name get their versions one after the other.
SELECT pg_advisory_xact_lock(hashtextextended('ml_models.name:' || %(name)s, 0));

-- name: versions_of_name
-- Every version of a model name.
SELECT version
FROM ml_models
WHERE name = %(name)s;

-- name: insert_model
-- The model that a job made; a second insert of the same job changes nothing.
INSERT INTO ml_models (
    id, name, version, description, algorithm, hyperparameters, feature_set_id, training_job_id, storage_path,
    model_size_bytes, metrics, feature_names, feature_importance, threshold, artifact_sha256, status, created_by,
    created_at, updated_at
)
VALUES (
    %(id)s, %(name)s, %(version)s, %(description)s, %(algorithm)s, %(hyperparameters)s, %(feature_set_id)s,
    %(training_job_id)s, %(storage_path)s, %(model_size_bytes)s, %(metrics)s, %(feature_names)s,
    %(feature_importance)s, %(threshold)s, %(artifact_sha256)s, 'TRAINED', %(created_by)s, %(now)s, %(now)s
)
ON CONFLICT (id) DO NOTHING;

-- name: list_unfinished_jobs
-- Jobs that were asked for before a time and have not ended.
SELECT id, orchestration_id
FROM training_jobs
WHERE status IN ('QUEUED', 'RUNNING') AND created_at < %(before)s AND orchestration_id IS NOT NULL
ORDER BY created_at;

-- name: oldest_queued_job
-- When the job that has waited longest for its turn was asked for; NULL where none waits.
SELECT min(queued_at) AS queued_at
FROM training_jobs
WHERE status = 'QUEUED';
