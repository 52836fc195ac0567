-- name: ping
-- Whether the database answers.
SELECT 1;

-- name: get_model
-- One model by id.
SELECT *
FROM ml_models
WHERE id = %(model_id)s;

-- name: get_production_model
-- The model in production.
SELECT *
FROM ml_models
WHERE status = 'PRODUCTION';

-- name: get_production_model_at
-- The model that was in production at a time: from the instant it entered until just before the instant it left.
SELECT m.*
FROM (
    SELECT model_id, to_status
    FROM model_promotions
    WHERE (to_status = 'PRODUCTION' OR from_status = 'PRODUCTION')
      AND promoted_at <= %(at)s
    ORDER BY promoted_at DESC, (to_status = 'PRODUCTION') DESC
    LIMIT 1
) AS latest
JOIN ml_models AS m ON m.id = latest.model_id
WHERE latest.to_status = 'PRODUCTION';

-- name: get_predecessor
-- The model that was in production before this one was promoted, and whether somebody archived it on purpose since.
SELECT
    m.*,
    (
        SELECT gone.replaced_by IS NULL
        FROM model_promotions AS gone
        WHERE gone.model_id = m.id AND gone.from_status = 'PRODUCTION'
        ORDER BY gone.promoted_at DESC
        LIMIT 1
    ) AS retired
FROM ml_models AS m
WHERE m.id = (
    SELECT earlier.model_id
    FROM model_promotions AS entered
    JOIN model_promotions AS earlier ON earlier.to_status = 'PRODUCTION' AND earlier.promoted_at < entered.promoted_at
    WHERE entered.model_id = %(model_id)s AND entered.from_status = 'STAGING' AND entered.to_status = 'PRODUCTION'
    ORDER BY earlier.promoted_at DESC
    LIMIT 1
);

-- name: list_models_in_staging_and_production
-- The models that may score.
SELECT *
FROM ml_models
WHERE status IN ('STAGING', 'PRODUCTION')
ORDER BY created_at, id;

-- name: lock_lifecycle
-- Whoever moves a model decides alone until the transaction ends.
SELECT pg_advisory_xact_lock(hashtextextended('ml_models.status', 0));

-- name: set_model_status
-- Move a model; the partial unique index refuses a second PRODUCTION.
UPDATE ml_models
SET status = %(status)s::text,
    promoted_at = CASE WHEN %(status)s::text IN ('STAGING', 'PRODUCTION') THEN %(at)s ELSE promoted_at END,
    archived_at = CASE WHEN %(status)s::text = 'ARCHIVED' THEN %(at)s::timestamptz END,
    archived_reason = CASE WHEN %(status)s::text = 'ARCHIVED' THEN %(reason)s::text END,
    updated_at = %(at)s
WHERE id = %(model_id)s
RETURNING *;

-- name: next_instant
-- The database's clock, one for all instances of the app; always later than the last change of production, even when
-- the clock was set back.
SELECT greatest(
    clock_timestamp(),
    (
        SELECT max(promoted_at)
        FROM model_promotions
        WHERE to_status = 'PRODUCTION' OR from_status = 'PRODUCTION'
    ) + interval '1 microsecond'
) AS now;

-- name: insert_transition
-- One step of a model's life, with the verdict that allowed it.
INSERT INTO model_promotions (
    model_id, from_status, to_status, verdict, reason, overridden, replaced_by, promoted_by, promoted_at
)
VALUES (
    %(model_id)s, %(from_status)s, %(to_status)s, %(verdict)s, %(reason)s, %(overridden)s, %(replaced_by)s,
    %(promoted_by)s, %(at)s
);

-- name: list_transitions
-- The life of one model, newest step first.
SELECT *
FROM model_promotions
WHERE model_id = %(model_id)s
ORDER BY promoted_at DESC, id;

-- name: list_models
-- One page of models. The ids are found in an index, so that a page far back is found without reading a row before it.
SELECT m.*
FROM (
    SELECT m.id
    FROM ml_models AS m
    WHERE (%(status)s::text IS NULL OR m.status = %(status)s)
      AND (%(algorithm)s::text IS NULL OR m.algorithm = %(algorithm)s)
      AND (%(name)s::text IS NULL OR strpos(lower(m.name), lower(%(name)s)) > 0)
      AND (%(created_by)s::uuid IS NULL OR m.created_by = %(created_by)s)
      AND (%(created_since)s::timestamptz IS NULL OR m.created_at >= %(created_since)s)
      AND (%(created_until)s::timestamptz IS NULL OR m.created_at < %(created_until)s)
    ORDER BY {order}
    LIMIT %(limit)s OFFSET %(offset)s
) AS page
JOIN ml_models AS m ON m.id = page.id
ORDER BY {order};

-- name: count_models
-- How many models the same filters leave.
SELECT count(*) AS total
FROM ml_models AS m
WHERE (%(status)s::text IS NULL OR m.status = %(status)s)
  AND (%(algorithm)s::text IS NULL OR m.algorithm = %(algorithm)s)
  AND (%(name)s::text IS NULL OR strpos(lower(m.name), lower(%(name)s)) > 0)
  AND (%(created_by)s::uuid IS NULL OR m.created_by = %(created_by)s)
  AND (%(created_since)s::timestamptz IS NULL OR m.created_at >= %(created_since)s)
  AND (%(created_until)s::timestamptz IS NULL OR m.created_at < %(created_until)s);

-- name: list_baselines
-- The baselines of one model, inactive ones too.
SELECT id, model_id, metric_name AS metric, operator, threshold, bound, is_active, created_by, created_at
FROM baselines
WHERE model_id = %(model_id)s
ORDER BY metric_name;

-- name: upsert_baseline
-- Set the baseline of one metric.
INSERT INTO baselines (model_id, metric_name, operator, threshold, bound, is_active, created_by)
VALUES (%(model_id)s, %(metric)s, %(operator)s, %(threshold)s, %(bound)s, %(is_active)s, %(created_by)s)
ON CONFLICT (model_id, metric_name) DO UPDATE
SET operator = excluded.operator,
    threshold = excluded.threshold,
    bound = excluded.bound,
    is_active = excluded.is_active,
    created_by = excluded.created_by,
    created_at = now();

-- name: list_champion_rules
-- The rules of one model against the one in production, inactive ones too.
SELECT id, model_id, metric_name AS metric, tolerance, unit, is_active, created_by, created_at
FROM champion_rules
WHERE model_id = %(model_id)s
ORDER BY metric_name;

-- name: upsert_champion_rule
-- Set the champion rule of one metric.
INSERT INTO champion_rules (model_id, metric_name, tolerance, unit, is_active, created_by)
VALUES (%(model_id)s, %(metric)s, %(tolerance)s, %(unit)s, %(is_active)s, %(created_by)s)
ON CONFLICT (model_id, metric_name) DO UPDATE
SET tolerance = excluded.tolerance,
    unit = excluded.unit,
    is_active = excluded.is_active,
    created_by = excluded.created_by,
    created_at = now();

-- name: get_models
-- Several models by id.
SELECT *
FROM ml_models
WHERE id = ANY(%(model_ids)s);

-- name: get_provenance
-- What models were made from.
SELECT
    jsonb_build_object(
        'id', m.id, 'name', m.name, 'version', m.version, 'status', m.status, 'artifact_sha256', m.artifact_sha256,
        'created_at', m.created_at
    ) AS model,
    CASE WHEN job.id IS NOT NULL THEN jsonb_build_object(
        'id', job.id, 'name', job.name, 'status', job.status, 'algorithm', job.algorithm,
        'train_test_split', job.train_test_split, 'split', job.metrics -> 'split', 'queued_at', job.queued_at,
        'completed_at', job.completed_at, 'created_by', job.created_by
    ) END AS training_job,
    CASE WHEN fs.id IS NOT NULL THEN jsonb_build_object(
        'id', fs.id, 'dataset_id', fs.dataset_id, 'name', fs.name, 'status', fs.status,
        'content_hash', fs.content_hash, 'plan_of', fs.plan_of, 'created_at', fs.created_at
    ) END AS feature_set,
    CASE WHEN d.id IS NOT NULL THEN jsonb_build_object(
        'id', d.id, 'name', d.name, 'version', d.version, 'status', d.status, 'row_count', d.row_count,
        'parent_id', d.parent_id, 'created_at', d.created_at
    ) END AS dataset
FROM ml_models AS m
LEFT JOIN training_jobs AS job ON job.id = m.training_job_id
LEFT JOIN feature_sets AS fs ON fs.id = coalesce(m.feature_set_id, job.feature_set_id)
LEFT JOIN datasets AS d ON d.id = fs.dataset_id
WHERE m.id = ANY(%(model_ids)s);

-- name: get_dataset_of_feature_set
-- The dataset that a feature set was made from.
SELECT dataset_id
FROM feature_sets
WHERE id = %(feature_set_id)s;

-- name: list_dataset_ancestors
-- A dataset and the versions it came from, nearest first.
WITH RECURSIVE line AS (
    SELECT id, name, version, status, row_count, parent_id, created_at, 0 AS depth
    FROM datasets
    WHERE id = %(dataset_id)s
    UNION ALL
    SELECT d.id, d.name, d.version, d.status, d.row_count, d.parent_id, d.created_at, line.depth + 1
    FROM line
    JOIN datasets AS d ON d.id = line.parent_id
    WHERE line.depth < 1000
)
SELECT id, name, version, status, row_count, parent_id, created_at
FROM line
ORDER BY depth;

-- name: list_dataset_children
-- The versions made from a dataset, newest first, a hundred at most.
SELECT id, name, version, status, row_count, parent_id, created_at
FROM datasets
WHERE parent_id = %(dataset_id)s
ORDER BY created_at DESC, id
LIMIT 100;

-- name: list_descendants
-- One page of what was made from a dataset, or from one feature set of it.
SELECT
    jsonb_build_object(
        'id', fs.id, 'dataset_id', fs.dataset_id, 'name', fs.name, 'status', fs.status,
        'content_hash', fs.content_hash, 'plan_of', fs.plan_of, 'created_at', fs.created_at
    ) AS feature_set,
    CASE WHEN job.id IS NOT NULL THEN jsonb_build_object(
        'id', job.id, 'name', job.name, 'status', job.status, 'algorithm', job.algorithm,
        'train_test_split', job.train_test_split, 'split', job.metrics -> 'split', 'queued_at', job.queued_at,
        'completed_at', job.completed_at, 'created_by', job.created_by
    ) END AS training_job,
    CASE WHEN m.id IS NOT NULL THEN jsonb_build_object(
        'id', m.id, 'name', m.name, 'version', m.version, 'status', m.status, 'artifact_sha256', m.artifact_sha256,
        'created_at', m.created_at
    ) END AS model
FROM feature_sets AS fs
LEFT JOIN training_jobs AS job ON job.feature_set_id = fs.id
LEFT JOIN ml_models AS m ON m.id = job.model_id
WHERE fs.dataset_id = %(dataset_id)s
  AND (%(feature_set_id)s::uuid IS NULL OR fs.id = %(feature_set_id)s)
ORDER BY fs.created_at DESC, fs.id, job.created_at DESC, job.id
LIMIT %(limit)s OFFSET %(offset)s;

-- name: count_descendants
-- How many rows the pages of list_descendants have together.
SELECT count(*) AS total
FROM feature_sets AS fs
LEFT JOIN training_jobs AS job ON job.feature_set_id = fs.id
WHERE fs.dataset_id = %(dataset_id)s
  AND (%(feature_set_id)s::uuid IS NULL OR fs.id = %(feature_set_id)s);
