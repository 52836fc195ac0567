-- name: store_predictions
-- Store a batch and learn, in the same round trip, which model is in production. When the batch was scored by the
-- production model (expected_production_id) and another has taken its place since, nothing is stored.
-- A row with a scope claims its transaction first: whoever else claims it waits for this commit and then finds it
-- taken, unless the claim is older than the window. Claims are made in one order, so that batches wait for each other in
-- one direction only.
WITH production AS (
    SELECT id
    FROM ml_models
    WHERE status = 'PRODUCTION'
),
submitted AS (
    SELECT row.*
    FROM ROWS FROM (
        json_to_recordset(%(rows)s::json) AS (
            id uuid, transaction_id text, fraud_score float8, is_fraud boolean, confidence float8, latency_ms integer,
            created_at timestamptz, cells bytea, scope uuid, payload uuid
        ),
        unnest(string_to_array(%(inputs)s::text, E'\x1e')),
        unnest(string_to_array(%(explanations)s::text, E'\x1e'))
    ) AS row (
        id, transaction_id, fraud_score, is_fraud, confidence, latency_ms, created_at, cells, scope, payload,
        input_features, explanation
    )
    WHERE %(expected_production_id)s::uuid IS NULL
       OR EXISTS (SELECT FROM production WHERE id = %(expected_production_id)s::uuid)
),
claimed AS (
    INSERT INTO submissions AS earlier (transaction_id, scope, payload, prediction_id, created_at)
    SELECT transaction_id, scope, payload, id, created_at
    FROM submitted
    WHERE scope IS NOT NULL
    ORDER BY transaction_id COLLATE "C", scope
    ON CONFLICT (transaction_id, scope) DO UPDATE
    SET payload = excluded.payload, prediction_id = excluded.prediction_id, created_at = excluded.created_at
    WHERE earlier.created_at <= %(window_begin)s::timestamptz
    RETURNING prediction_id
),
stored AS (
    INSERT INTO predictions (
        id, model_id, transaction_id, input_features, fraud_score, is_fraud,
        confidence, explanation, latency_ms, created_at, cells
    )
    SELECT
        id, %(model_id)s, transaction_id, input_features::jsonb, fraud_score, is_fraud,
        confidence, NULLIF(explanation, '')::jsonb, latency_ms, created_at, cells
    FROM submitted
    WHERE scope IS NULL OR id IN (SELECT prediction_id FROM claimed)
    RETURNING id
)
SELECT
    (SELECT id FROM production) AS production_id,
    (SELECT array_agg(id) FROM submitted WHERE id NOT IN (SELECT id FROM stored)) AS repeated;

-- name: store_predictions_and_events
-- store_predictions, and in the same commit the events that the stored transactions add to history; none twice.
WITH production AS (
    SELECT id
    FROM ml_models
    WHERE status = 'PRODUCTION'
),
submitted AS (
    SELECT row.*
    FROM ROWS FROM (
        json_to_recordset(%(rows)s::json) AS (
            id uuid, transaction_id text, fraud_score float8, is_fraud boolean, confidence float8, latency_ms integer,
            created_at timestamptz, cells bytea, scope uuid, payload uuid
        ),
        unnest(string_to_array(%(inputs)s::text, E'\x1e')),
        unnest(string_to_array(%(explanations)s::text, E'\x1e'))
    ) AS row (
        id, transaction_id, fraud_score, is_fraud, confidence, latency_ms, created_at, cells, scope, payload,
        input_features, explanation
    )
    WHERE %(expected_production_id)s::uuid IS NULL
       OR EXISTS (SELECT FROM production WHERE id = %(expected_production_id)s::uuid)
),
claimed AS (
    INSERT INTO submissions AS earlier (transaction_id, scope, payload, prediction_id, created_at)
    SELECT transaction_id, scope, payload, id, created_at
    FROM submitted
    WHERE scope IS NOT NULL
    ORDER BY transaction_id COLLATE "C", scope
    ON CONFLICT (transaction_id, scope) DO UPDATE
    SET payload = excluded.payload, prediction_id = excluded.prediction_id, created_at = excluded.created_at
    WHERE earlier.created_at <= %(window_begin)s::timestamptz
    RETURNING prediction_id
),
stored AS (
    INSERT INTO predictions (
        id, model_id, transaction_id, input_features, fraud_score, is_fraud,
        confidence, explanation, latency_ms, created_at, cells
    )
    SELECT
        id, %(model_id)s, transaction_id, input_features::jsonb, fraud_score, is_fraud,
        confidence, NULLIF(explanation, '')::jsonb, latency_ms, created_at, cells
    FROM submitted
    WHERE scope IS NULL OR id IN (SELECT prediction_id FROM claimed)
    RETURNING id
),
remembered AS (
    INSERT INTO entity_events (layout, entity, key, occurred_at, id_hash, payload)
    SELECT %(layout)s::smallint, event.entity, event.key, event.occurred_at, event.id_hash, event.payload
    FROM ROWS FROM (
        json_to_recordset(%(events)s::json) AS (
            prediction_id uuid, entity smallint, key bigint, occurred_at timestamptz, id_hash bigint, payload bytea
        )
    ) WITH ORDINALITY AS event (prediction_id, entity, key, occurred_at, id_hash, payload, position)
    WHERE event.prediction_id IN (SELECT id FROM stored)
    ORDER BY event.entity, event.key, event.occurred_at, event.id_hash, event.position
    ON CONFLICT (layout, entity, key, occurred_at, id_hash) DO NOTHING
)
SELECT
    (SELECT id FROM production) AS production_id,
    (SELECT array_agg(id) FROM submitted WHERE id NOT IN (SELECT id FROM stored)) AS repeated;

-- name: list_submissions
-- Who holds the claims to some transactions.
SELECT s.transaction_id, s.scope, s.payload, s.prediction_id
FROM unnest(%(transactions)s::text[], %(scopes)s::uuid[]) AS asked (transaction_id, scope)
JOIN submissions AS s ON s.transaction_id = asked.transaction_id AND s.scope = asked.scope;

-- name: delete_old_submissions
-- Forget the submissions that the window has left behind.
DELETE FROM submissions
WHERE created_at <= %(window_begin)s;

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

-- name: add_outcomes
-- Requests to score, and those that failed, by hour.
INSERT INTO scoring_outcomes AS known (hour, requests, failed)
SELECT hour, requests, failed
FROM unnest(%(hours)s::timestamptz[], %(requests)s::bigint[], %(failed)s::bigint[]) AS new (hour, requests, failed)
ON CONFLICT (hour) DO UPDATE
SET requests = known.requests + excluded.requests,
    failed = known.failed + excluded.failed;
