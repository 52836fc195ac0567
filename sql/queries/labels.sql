-- name: find_predictions_of_transactions
-- The predictions of each transaction, newest first, at most a limit of each.
SELECT found.*
FROM unnest(%(transaction_ids)s::text[]) AS asked (transaction_id)
CROSS JOIN LATERAL (
    SELECT id, created_at, model_id, transaction_id,
        CASE WHEN %(with_input)s THEN input_features -> 'transaction' END AS transaction
    FROM predictions AS p
    WHERE p.transaction_id = asked.transaction_id
    ORDER BY created_at DESC, id DESC
    LIMIT %(limit)s
) AS found;

-- name: find_predictions
-- Predictions by id; an id tells its time, so one partition is read for each.
SELECT found.*
FROM unnest(%(ids)s::uuid[], %(created)s::timestamptz[]) AS asked (id, created_at)
CROSS JOIN LATERAL (
    SELECT id, created_at, model_id, transaction_id,
        CASE WHEN %(with_input)s THEN input_features -> 'transaction' END AS transaction
    FROM predictions AS p
    WHERE p.id = asked.id AND p.created_at = asked.created_at
    LIMIT 1
) AS found;

-- name: read_labels
-- What was told of predictions, in the order in which it was.
SELECT l.id, l.prediction_id, l.is_fraud, l.labeled_at, l.source, l.recorded_at, l.recorded_by, l.previous
FROM unnest(%(ids)s::uuid[], %(created)s::timestamptz[]) AS asked (id, created_at)
JOIN prediction_labels AS l ON l.prediction_id = asked.id AND l.prediction_created_at = asked.created_at
ORDER BY l.id;

-- name: read_known
-- What is known of predictions; those that have left the database are left out.
SELECT p.id, p.model_id, p.actual_label, p.labeled_at
FROM unnest(%(ids)s::uuid[], %(created)s::timestamptz[]) AS asked (id, created_at)
JOIN predictions AS p ON p.id = asked.id AND p.created_at = asked.created_at;

-- name: record_labels
-- Keep labels, in the order in which they are given, and set what is known of predictions now.
WITH recorded AS (
    INSERT INTO prediction_labels (
        prediction_id, prediction_created_at, model_id, is_fraud, labeled_at, source, recorded_at, recorded_by, previous
    )
    SELECT
        prediction_id, prediction_created_at, model_id, is_fraud, labeled_at, source, recorded_at, recorded_by, previous
    FROM unnest(
        %(prediction_ids)s::uuid[], %(created)s::timestamptz[], %(model_ids)s::uuid[], %(labels)s::boolean[],
        %(labeled)s::timestamptz[], %(sources)s::text[], %(recorded)s::timestamptz[], %(recorded_by)s::uuid[],
        %(previous)s::boolean[]
    ) WITH ORDINALITY AS label (
        prediction_id, prediction_created_at, model_id, is_fraud, labeled_at, source, recorded_at, recorded_by,
        previous, place
    )
    ORDER BY place
)
UPDATE predictions AS p
SET actual_label = known.is_fraud, labeled_at = known.since
FROM unnest(
    %(known_ids)s::uuid[], %(known_created)s::timestamptz[], %(known_labels)s::boolean[], %(known_since)s::timestamptz[]
) AS known (id, created_at, is_fraud, since)
WHERE p.id = known.id AND p.created_at = known.created_at;

-- name: keep_pending
-- Let labels wait for what they are about. One that is waiting already is not kept twice; when no event time was given,
-- neither is one that says what the newest waiting one says.
INSERT INTO pending_labels (transaction_id, prediction_id, is_fraud, labeled_at, source, recorded_at, recorded_by)
SELECT transaction_id, prediction_id, is_fraud, labeled_at, source, recorded_at, recorded_by
FROM unnest(
    %(transaction_ids)s::text[], %(prediction_ids)s::uuid[], %(labels)s::boolean[], %(labeled)s::timestamptz[],
    %(sources)s::text[], %(recorded)s::timestamptz[], %(recorded_by)s::uuid[], %(timed)s::boolean[]
) WITH ORDINALITY AS label (
    transaction_id, prediction_id, is_fraud, labeled_at, source, recorded_at, recorded_by, timed, place
)
WHERE NOT EXISTS (
    SELECT FROM pending_labels AS waiting
    WHERE waiting.transaction_id = label.transaction_id
      AND waiting.is_fraud = label.is_fraud
      AND (NOT label.timed OR (
          waiting.labeled_at = label.labeled_at AND waiting.source IS NOT DISTINCT FROM label.source
      ))
)
AND NOT EXISTS (
    SELECT FROM pending_labels AS waiting
    WHERE waiting.prediction_id = label.prediction_id
      AND waiting.is_fraud = label.is_fraud
      AND (NOT label.timed OR (
          waiting.labeled_at = label.labeled_at AND waiting.source IS NOT DISTINCT FROM label.source
      ))
)
ORDER BY place;

-- name: take_pending
-- The labels that wait for one of these transactions or predictions; they wait no longer.
WITH taken AS (
    DELETE FROM pending_labels
    WHERE transaction_id = ANY(%(transaction_ids)s::text[]) OR prediction_id = ANY(%(prediction_ids)s::uuid[])
    RETURNING *
)
SELECT transaction_id, prediction_id, is_fraud, labeled_at, source, recorded_at, recorded_by
FROM taken
ORDER BY id;

-- name: try_pending
-- What the labels wait for that have not been looked at for longest.
UPDATE pending_labels
SET tried_at = now()
WHERE id IN (SELECT id FROM pending_labels ORDER BY tried_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
RETURNING transaction_id, prediction_id;

-- name: forget_pending
-- Labels that have waited since before a moment will not be needed any more.
DELETE FROM pending_labels
WHERE recorded_at < %(before)s;

-- name: list_untold
-- The predictions of the labels that follow a number, oldest first, with what is known of them now.
WITH following AS (
    SELECT id, prediction_id, prediction_created_at
    FROM prediction_labels
    WHERE id > %(after)s
    ORDER BY id
    LIMIT %(limit)s
)
SELECT following.id AS label_id, found.*
FROM following
LEFT JOIN LATERAL (
    SELECT p.id, p.input_features -> 'transaction' AS transaction, p.actual_label, p.labeled_at
    FROM predictions AS p
    WHERE p.id = following.prediction_id AND p.created_at = following.prediction_created_at
    LIMIT 1
) AS found ON true
ORDER BY following.id;

-- name: list_labels_of_prediction
-- What was told of one prediction, newest first.
SELECT id, is_fraud, labeled_at, source, recorded_at, recorded_by, previous
FROM prediction_labels
WHERE prediction_id = %(prediction_id)s AND prediction_created_at = %(created_at)s
  AND id < %(before)s
ORDER BY id DESC
LIMIT %(limit)s;
