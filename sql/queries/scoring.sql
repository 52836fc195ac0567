-- name: store_predictions
-- Store a batch and learn, in the same round trip, which model is in production. When the batch was scored by the
-- production model (expected_production_id) and another has taken its place since, nothing is stored.
WITH production AS (
    SELECT id
    FROM ml_models
    WHERE status = 'PRODUCTION'
),
stored AS (
    INSERT INTO predictions (
        id, model_id, transaction_id, input_features, fraud_score, is_fraud,
        confidence, explanation, latency_ms, created_at
    )
    SELECT
        row.id, %(model_id)s, row.transaction_id, row.input_features, row.fraud_score, row.is_fraud,
        row.confidence, row.explanation, row.latency_ms, row.created_at
    FROM json_to_recordset(%(rows)s::json) AS row (
        id uuid, transaction_id text, input_features jsonb, fraud_score float8, is_fraud boolean,
        confidence float8, explanation jsonb, latency_ms integer, created_at timestamptz
    )
    WHERE %(expected_production_id)s::uuid IS NULL
       OR EXISTS (SELECT FROM production WHERE id = %(expected_production_id)s::uuid)
    RETURNING 1
)
SELECT (SELECT id FROM production) AS production_id, (SELECT count(*) FROM stored) AS stored;

-- name: store_predictions_and_events
-- store_predictions, and in the same commit the events that the batch adds to history: none where no prediction is
-- stored, and none twice.
WITH production AS (
    SELECT id
    FROM ml_models
    WHERE status = 'PRODUCTION'
),
stored AS (
    INSERT INTO predictions (
        id, model_id, transaction_id, input_features, fraud_score, is_fraud,
        confidence, explanation, latency_ms, created_at
    )
    SELECT
        row.id, %(model_id)s, row.transaction_id, row.input_features, row.fraud_score, row.is_fraud,
        row.confidence, row.explanation, row.latency_ms, row.created_at
    FROM json_to_recordset(%(rows)s::json) AS row (
        id uuid, transaction_id text, input_features jsonb, fraud_score float8, is_fraud boolean,
        confidence float8, explanation jsonb, latency_ms integer, created_at timestamptz
    )
    WHERE %(expected_production_id)s::uuid IS NULL
       OR EXISTS (SELECT FROM production WHERE id = %(expected_production_id)s::uuid)
    RETURNING 1
),
remembered AS (
    INSERT INTO entity_events (layout, entity, key, occurred_at, id_hash, payload)
    SELECT %(layout)s::smallint, event.*
    FROM json_to_recordset(%(events)s::json) AS event (
        entity smallint, key bigint, occurred_at timestamptz, id_hash bigint, payload bytea
    )
    WHERE EXISTS (SELECT FROM stored)
    ON CONFLICT (layout, entity, key, occurred_at, id_hash) DO NOTHING
)
SELECT (SELECT id FROM production) AS production_id, (SELECT count(*) FROM stored) AS stored;

-- name: list_predictions_of_others
-- What other models than one have scored, oldest first, from a position on: an index scan a model.
SELECT scored.*
FROM ml_models AS other
CROSS JOIN LATERAL (
    SELECT id, created_at, input_features -> 'transaction' AS transaction
    FROM predictions
    WHERE model_id = other.id
      AND created_at >= %(after)s
      AND (created_at, id) > (%(after)s, %(after_id)s)
    ORDER BY created_at, id
    LIMIT %(limit)s
) AS scored
WHERE other.id <> %(model_id)s
ORDER BY scored.created_at, scored.id
LIMIT %(limit)s;

-- name: list_known_labels
-- What is known of predictions whose label is, and since when.
SELECT p.id, p.actual_label, coalesce(p.labeled_at, p.created_at) AS known_at
FROM unnest(%(ids)s::uuid[], %(created)s::timestamptz[]) AS asked (id, created_at)
JOIN predictions AS p ON p.id = asked.id AND p.created_at = asked.created_at
WHERE p.actual_label IS NOT NULL;

-- name: ensure_partitions
-- Make the missing partitions of some months.
SELECT ensure_predictions_partitions((%(first_month)s::timestamptz AT TIME ZONE 'UTC')::date, %(months)s::int);

-- name: get_prediction
-- One prediction; its id tells its time, so one partition is read.
SELECT *
FROM predictions
WHERE id = %(prediction_id)s AND created_at = %(created_at)s;

-- name: list_predictions_of_transaction
-- Every prediction of one transaction, newest first, from a position on.
SELECT *
FROM predictions
WHERE transaction_id = %(transaction_id)s
  AND (created_at, id) < (%(before)s, %(before_id)s)
ORDER BY created_at DESC, id DESC
LIMIT %(limit)s;

-- name: list_predictions_of_model
-- The predictions of one model, newest first, from a position on.
SELECT *
FROM predictions
WHERE model_id = %(model_id)s
  AND (%(is_fraud)s::bool IS NULL OR is_fraud = %(is_fraud)s)
  AND created_at <= %(before)s
  AND (created_at, id) < (%(before)s, %(before_id)s)
ORDER BY created_at DESC, id DESC
LIMIT %(limit)s;
