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
-- The model that was in production at a time: the last to enter before it and not to leave before it.
SELECT m.*
FROM model_promotions AS entered
JOIN ml_models AS m ON m.id = entered.model_id
WHERE entered.to_status = 'PRODUCTION'
  AND entered.promoted_at <= %(at)s
  AND NOT EXISTS (
      SELECT 1
      FROM model_promotions AS gone
      WHERE gone.model_id = entered.model_id
        AND gone.from_status = 'PRODUCTION'
        AND gone.promoted_at > entered.promoted_at
        AND gone.promoted_at <= %(at)s
  )
ORDER BY entered.promoted_at DESC
LIMIT 1;

-- name: get_rollback_target
-- The archived model that was in production last, other than the present one.
SELECT m.*
FROM model_promotions AS p
JOIN ml_models AS m ON m.id = p.model_id
WHERE p.to_status = 'PRODUCTION'
  AND m.status = 'ARCHIVED'
ORDER BY p.promoted_at DESC
LIMIT 1;

-- name: list_models_in_use
-- The models that may score, and the one that a rollback would put back.
SELECT *
FROM ml_models
WHERE status IN ('STAGING', 'PRODUCTION')
   OR id = (
       SELECT m.id
       FROM model_promotions AS p
       JOIN ml_models AS m ON m.id = p.model_id
       WHERE p.to_status = 'PRODUCTION'
         AND m.status = 'ARCHIVED'
       ORDER BY p.promoted_at DESC
       LIMIT 1
   )
ORDER BY created_at, id;

-- name: lock_models_for_promotion
-- The model to move and the one in production, locked in one order so that two promotions cannot deadlock.
SELECT *
FROM ml_models
WHERE id = %(model_id)s OR status = 'PRODUCTION'
ORDER BY id
FOR UPDATE;

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

-- name: current_time
-- The database's clock at this moment, one clock for all instances of the app.
SELECT clock_timestamp() AS now;

-- name: insert_transition
-- One step of a model's life, with the verdict that allowed it.
INSERT INTO model_promotions (
    model_id, from_status, to_status, verdict, reason, overridden, promoted_by, promoted_at
)
VALUES (
    %(model_id)s, %(from_status)s, %(to_status)s, %(verdict)s, %(reason)s, %(overridden)s, %(promoted_by)s, %(at)s
);

-- name: list_transitions
-- The life of one model, newest step first.
SELECT *
FROM model_promotions
WHERE model_id = %(model_id)s
ORDER BY promoted_at DESC, id;

-- name: list_models
-- One page of models, newest first.
SELECT *
FROM ml_models
WHERE (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(algorithm)s::text IS NULL OR algorithm = %(algorithm)s)
ORDER BY created_at DESC, id
LIMIT %(limit)s OFFSET %(offset)s;

-- name: count_models
-- How many models the same filters leave.
SELECT count(*) AS total
FROM ml_models
WHERE (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(algorithm)s::text IS NULL OR algorithm = %(algorithm)s);

-- name: list_baselines
-- The baselines of one model.
SELECT id, model_id, metric_name AS metric, operator, threshold, is_active, created_by, created_at
FROM baselines
WHERE model_id = %(model_id)s
ORDER BY metric_name;

-- name: upsert_baseline
-- Set the baseline of one metric.
INSERT INTO baselines (model_id, metric_name, operator, threshold, is_active, created_by)
VALUES (%(model_id)s, %(metric)s, %(operator)s, %(threshold)s, %(is_active)s, %(created_by)s)
ON CONFLICT (model_id, metric_name) DO UPDATE
SET operator = excluded.operator,
    threshold = excluded.threshold,
    is_active = excluded.is_active,
    created_by = excluded.created_by,
    created_at = now()
RETURNING id, model_id, metric_name AS metric, operator, threshold, is_active, created_by, created_at;
