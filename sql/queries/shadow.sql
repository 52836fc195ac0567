-- name: lock_challengers
-- Challengers are started one after the other, so that they can be counted.
SELECT pg_advisory_xact_lock(hashtextextended('challengers', 0));

-- name: get_challenger
-- One challenger, stopped or not, with its model's status.
SELECT challenger.*, model.status
FROM challengers AS challenger
JOIN ml_models AS model ON model.id = challenger.model_id
WHERE challenger.model_id = %(model_id)s;

-- name: list_challengers
-- The challengers that score: not stopped, and their model is still in STAGING.
SELECT challenger.*, model.status
FROM challengers AS challenger
JOIN ml_models AS model ON model.id = challenger.model_id
WHERE challenger.stopped_at IS NULL
  AND model.status = 'STAGING'
ORDER BY challenger.started_at, challenger.model_id;

-- name: start_challenger
-- A model scores in the shadow from a moment on; one that was stopped goes on there, not where it had stopped.
INSERT INTO challengers (model_id, started_at, started_by, position_at, position_id)
VALUES (%(model_id)s, %(now)s, %(started_by)s, %(now)s, '00000000-0000-0000-0000-000000000000')
ON CONFLICT (model_id) DO UPDATE
SET started_at = excluded.started_at,
    started_by = excluded.started_by,
    stopped_at = NULL,
    position_at = excluded.position_at,
    position_id = excluded.position_id;

-- name: stop_challenger
-- A model no longer scores in the shadow; nothing is returned when it did not.
UPDATE challengers
SET stopped_at = %(now)s
WHERE model_id = %(model_id)s
  AND stopped_at IS NULL
RETURNING model_id;

-- name: stop_those_that_left_staging
-- Challengers whose model was promoted or archived.
UPDATE challengers AS challenger
SET stopped_at = %(now)s
FROM ml_models AS model
WHERE model.id = challenger.model_id
  AND challenger.stopped_at IS NULL
  AND model.status <> 'STAGING'
RETURNING challenger.model_id;

-- name: list_production_predictions
-- What models in production have scored between a position and a moment, oldest first: an index scan a model.
SELECT scored.*
FROM ml_models AS champion
CROSS JOIN LATERAL (
    SELECT id, created_at, model_id, fraud_score, is_fraud, input_features::text AS input_features
    FROM predictions
    WHERE model_id = champion.id
      AND created_at >= %(after)s
      AND created_at < %(until)s
      AND (created_at, id) > (%(after)s, %(after_id)s)
    ORDER BY created_at, id
    LIMIT %(limit)s
) AS scored
WHERE champion.id <> %(challenger_id)s
  AND (
      champion.status = 'PRODUCTION'
      OR EXISTS (SELECT FROM model_promotions WHERE model_id = champion.id AND to_status = 'PRODUCTION')
  )
ORDER BY scored.created_at, scored.id
LIMIT %(limit)s;

-- name: store_shadow_predictions
-- What a challenger would have decided; a prediction that it has followed before stays as it is.
INSERT INTO shadow_predictions (
    challenger_id, created_at, prediction_id, champion_id, champion_score, champion_is_fraud, fraud_score, is_fraud,
    amount
)
SELECT %(challenger_id)s, row.*
FROM unnest(
    %(created)b::timestamptz[], %(ids)b::uuid[], %(champions)b::uuid[], %(champion_scores)b::float8[],
    %(champion_flags)b::boolean[], %(scores)b::float8[], %(flags)b::boolean[], %(amounts)b::float8[]
) AS row
ON CONFLICT (challenger_id, created_at, prediction_id) DO NOTHING;

-- name: advance_challenger
-- How far a challenger has followed; never back.
UPDATE challengers
SET position_at = %(position_at)s,
    position_id = %(position_id)s
WHERE model_id = %(challenger_id)s
  AND (position_at, position_id) < (%(position_at)s, %(position_id)s);

-- name: forget_shadow_predictions
-- Delete some of what is older than its retention.
DELETE FROM shadow_predictions
WHERE ctid = ANY (ARRAY(
    SELECT old.ctid
    FROM challengers AS challenger
    CROSS JOIN LATERAL (
        SELECT ctid
        FROM shadow_predictions
        WHERE challenger_id = challenger.model_id AND created_at < %(before)s
        LIMIT %(limit)s
    ) AS old
    LIMIT %(limit)s
));

-- name: count_decisions
-- Champion against challenger over a period, by pair of decisions; is_fraud is NULL where the challenger could not score.
SELECT
    champion_is_fraud, is_fraud, count(*) AS count, coalesce(sum(amount), 0) AS amount
FROM shadow_predictions
WHERE challenger_id = %(challenger_id)s AND created_at >= %(start)s AND created_at < %(until)s
GROUP BY champion_is_fraud, is_fraud;

-- name: count_labelled_decisions
-- The same for those whose label is known by now.
SELECT
    label.actual_label, shadow.champion_is_fraud, shadow.is_fraud, count(*) AS count,
    coalesce(sum(shadow.amount), 0) AS amount
FROM shadow_predictions AS shadow
JOIN predictions AS label ON label.id = shadow.prediction_id AND label.created_at = shadow.created_at
WHERE shadow.challenger_id = %(challenger_id)s
  AND shadow.created_at >= %(start)s
  AND shadow.created_at < %(until)s
  AND label.created_at >= %(start)s
  AND label.created_at < %(until)s
  AND label.actual_label IS NOT NULL
  AND shadow.is_fraud IS NOT NULL
GROUP BY label.actual_label, shadow.champion_is_fraud, shadow.is_fraud;

-- name: compare_scores
-- Correlation and moments of both scores, and who the champions were.
SELECT
    corr(champion_score, fraud_score) AS correlation, avg(champion_score) AS champion_mean, avg(fraud_score) AS mean,
    avg(abs(fraud_score - champion_score)) AS mean_difference, array_agg(DISTINCT champion_id) AS champions
FROM shadow_predictions
WHERE challenger_id = %(challenger_id)s
  AND created_at >= %(start)s
  AND created_at < %(until)s
  AND fraud_score IS NOT NULL;

-- name: count_scores
-- How many scores of either lie in each tenth between 0 and 1.
SELECT tenth, sum(champion) AS champion, sum(challenger) AS challenger
FROM (
    SELECT least(floor(champion_score * 10), 9)::integer AS tenth, count(*) AS champion, 0 AS challenger
    FROM shadow_predictions
    WHERE challenger_id = %(challenger_id)s AND created_at >= %(start)s AND created_at < %(until)s
      AND fraud_score IS NOT NULL
    GROUP BY 1
    UNION ALL
    SELECT least(floor(fraud_score * 10), 9)::integer, 0, count(*)
    FROM shadow_predictions
    WHERE challenger_id = %(challenger_id)s AND created_at >= %(start)s AND created_at < %(until)s
      AND fraud_score IS NOT NULL
    GROUP BY 1
) AS tenths
GROUP BY tenth
ORDER BY tenth;

-- name: list_disagreements
-- Predictions that one blocks and the other approves, the largest amounts first.
SELECT prediction_id, created_at, champion_score, fraud_score, amount
FROM shadow_predictions
WHERE challenger_id = %(challenger_id)s
  AND created_at >= %(start)s
  AND created_at < %(until)s
  AND is_fraud = %(is_fraud)s
  AND champion_is_fraud = NOT %(is_fraud)s
ORDER BY amount DESC NULLS LAST, created_at DESC, prediction_id
LIMIT %(limit)s;
