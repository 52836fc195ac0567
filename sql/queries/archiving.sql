-- name: list_due_months
-- Months of predictions before a month that have a table, and are neither archived nor restored for a while.
SELECT to_date(substring(c.relname FROM '\d.*'), 'YYYY_MM') AS month
FROM pg_class AS c
LEFT JOIN predictions_archives AS a ON a.month = to_date(substring(c.relname FROM '\d.*'), 'YYYY_MM')
WHERE c.relnamespace = 'public'::regnamespace
  AND c.relkind = 'r'
  AND c.relname ~ '^predictions_\d{4}_\d\d$'
  AND to_date(substring(c.relname FROM '\d.*'), 'YYYY_MM') < %(first_kept)s
  AND (a.state IS NULL OR a.state IN ('EXPORTING', 'VERIFIED') OR (a.state = 'RESTORED' AND a.kept_until <= %(now)s))
ORDER BY month;

-- name: list_away
-- Months that a query over predictions does not see, because they are archived or on their way.
SELECT month
FROM predictions_archives
WHERE predictions_month_state(month) <> 'attached'
ORDER BY month;

-- name: get_month_state
-- What has become of a month's partition, and whether this role may detach it by itself.
SELECT
    predictions_month_state(%(month)s) AS state,
    (SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = 'predictions'::regclass) AS is_owner;

-- name: get_archive
-- One month's archive.
SELECT *
FROM predictions_archives
WHERE month = %(month)s;

-- name: begin_archive
-- Begin to export a month, or begin anew: with what it holds now. Not while it is archived or on its way back.
INSERT INTO predictions_archives AS a (month, state, predictions, labels, digest)
SELECT %(month)s, 'EXPORTING', predictions, labels, digest
FROM digest_predictions_month(%(month)s)
ON CONFLICT (month) DO UPDATE
SET state = 'EXPORTING', predictions = excluded.predictions, labels = excluded.labels, digest = excluded.digest,
    parts = '[]', manifest_sha256 = NULL, started_at = now(), verified_at = NULL, kept_until = NULL
WHERE a.state IN ('EXPORTING', 'VERIFIED', 'RESTORED')
RETURNING *;

-- name: read_predictions
-- Rows of a month behind an id, in order of ids, as the archive keeps them.
SELECT id::text, model_id::text, transaction_id, input_features::text, fraud_score, is_fraud, confidence,
    explanation::text, actual_label, labeled_at, latency_ms, created_at, cells
FROM read_predictions_month(%(month)s, %(after)s, %(limit)s);

-- name: read_labels
-- Labels of a month behind a position, in the order of their predictions, as the archive keeps them.
SELECT id, prediction_id::text, prediction_created_at, model_id::text, is_fraud, labeled_at, source, recorded_at,
    recorded_by::text, previous
FROM prediction_labels
WHERE prediction_created_at >= %(first)s
  AND prediction_created_at < %(end)s
  AND (prediction_created_at, prediction_id, id) > (%(after_created_at)s, %(after_prediction)s, %(after)s)
ORDER BY prediction_created_at, prediction_id, id
LIMIT %(limit)s;

-- name: add_part
-- Keep that a part was written, as the next one of this export.
UPDATE predictions_archives
SET parts = parts || %(part)s::jsonb
WHERE month = %(month)s AND state = 'EXPORTING' AND digest = %(digest)s AND jsonb_array_length(parts) = %(parts)s
RETURNING *;

-- name: set_verified
-- What was exported has been read back.
UPDATE predictions_archives
SET state = 'VERIFIED', manifest_sha256 = %(manifest_sha256)s, verified_at = now()
WHERE month = %(month)s AND state = 'EXPORTING' AND digest = %(digest)s AND jsonb_array_length(parts) = %(parts)s
RETURNING *;

-- name: detach_concurrently
-- Detach a month while others read and write the rest; waits for transactions that may see it.
ALTER TABLE predictions DETACH PARTITION {partition} CONCURRENTLY;

-- name: detach_month
-- Detach a verified month as a role that owns no table, or finish what was interrupted.
SELECT detach_predictions_month(%(month)s);

-- name: drop_month
-- Drop a detached month and its labels if they are what was verified.
SELECT drop_predictions_month(%(month)s) AS dropped;

-- name: set_restoring
-- A month is on its way back.
UPDATE predictions_archives
SET state = 'RESTORING'
WHERE month = %(month)s AND state IN ('ARCHIVED', 'RESTORING')
RETURNING *;

-- name: set_restored
-- A month is back, and stays until a moment.
UPDATE predictions_archives
SET state = 'RESTORED', restored_at = now(), kept_until = %(kept_until)s
WHERE month = %(month)s AND state = 'RESTORING';

-- name: drop_left_over
-- What an interrupted restore has left.
DROP TABLE IF EXISTS {partition};

-- name: create_month
-- An empty table for a month, not attached yet.
CREATE TABLE {partition} (LIKE predictions INCLUDING ALL);

-- name: copy_in
-- Load rows of an archive.
COPY {table} ({columns}) FROM STDIN;

-- name: attach_month
-- A month is part of predictions again.
ALTER TABLE predictions ATTACH PARTITION {partition} FOR VALUES FROM ({first}) TO ({end});

-- name: count_month
-- How many predictions and labels a month has.
SELECT predictions, labels
FROM digest_predictions_month(%(month)s);
