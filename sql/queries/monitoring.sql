-- name: list_models_to_fold
-- Models with files that serve or may, or that something was predicted by or told of since their rollups end.
SELECT model.id
FROM ml_models AS model
LEFT JOIN rollup_cursors AS c ON c.model_id = model.id
WHERE model.artifact_sha256 IS NOT NULL
  AND (
    model.status IN ('STAGING', 'PRODUCTION')
    OR EXISTS (
        SELECT FROM predictions
        WHERE model_id = model.id AND created_at >= coalesce(c.predictions_until, '-infinity')
    )
    OR EXISTS (SELECT FROM prediction_labels WHERE model_id = model.id AND id > coalesce(c.labels_until, 0))
  )
ORDER BY model.created_at;

-- name: list_models_folded
-- Models whose rollups go beyond a moment.
SELECT model_id FROM rollup_cursors WHERE predictions_until > %(since)s;

-- name: get_rollup_cursor
-- How far the rollups of a model go.
SELECT predictions_until, labels_until
FROM rollup_cursors
WHERE model_id = %(model_id)s;

-- name: start_rollup_cursor
-- The cursor of a model that has predictions, at the hour before the first one.
INSERT INTO rollup_cursors (model_id, predictions_until)
SELECT %(model_id)s, date_trunc('hour', min(created_at), 'UTC') - interval '1 hour'
FROM predictions
WHERE model_id = %(model_id)s
HAVING count(*) > 0
ON CONFLICT (model_id) DO NOTHING;

-- name: lock_rollup_cursor
-- The cursor of a model, held until the transaction ends.
SELECT predictions_until, labels_until
FROM rollup_cursors
WHERE model_id = %(model_id)s
FOR UPDATE;

-- name: move_predictions_cursor
-- Predictions before this are counted.
UPDATE rollup_cursors SET predictions_until = %(until)s WHERE model_id = %(model_id)s;

-- name: move_labels_cursor
-- Labels up to this id are counted.
UPDATE rollup_cursors SET labels_until = %(until)s WHERE model_id = %(model_id)s;

-- name: next_rollup_bound
-- Up to where predictions can be counted now: behind everything that is still being written (though nobody is waited for
-- longer than a quarter of an hour), behind the instance's own clock, which dates predictions, and no more than so many
-- rows from the cursor on.
WITH horizon AS (
    SELECT least(
        greatest(least(now(), min(xact_start)), now() - interval '15 minutes'), %(now)s::timestamptz
    ) - %(settle)s::interval AS until
    FROM pg_stat_activity
    WHERE datname = current_database() AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()
)
SELECT horizon.until, (
    SELECT created_at
    FROM predictions
    WHERE model_id = %(model_id)s AND created_at >= %(since)s AND created_at < horizon.until
    ORDER BY created_at
    OFFSET %(rows)s
    LIMIT 1
) AS full_at
FROM horizon;

-- name: read_cells
-- Predictions of a span as four values: times (microseconds since 2000 UTC), cells, scores and latencies, each row's bytes
-- behind the others'. And how many rows have no such cells.
SELECT
    string_agg(timestamptz_send(created_at), ''::bytea) FILTER (WHERE octet_length(cells) = %(width)s) AS times,
    string_agg(cells, ''::bytea) FILTER (WHERE octet_length(cells) = %(width)s) AS cells,
    string_agg(float8send(fraud_score), ''::bytea) FILTER (WHERE octet_length(cells) = %(width)s) AS scores,
    string_agg(int4send(coalesce(latency_ms, -1)), ''::bytea) FILTER (WHERE octet_length(cells) = %(width)s) AS latencies,
    count(*) FILTER (WHERE octet_length(cells) IS DISTINCT FROM %(width)s) AS without
FROM predictions
WHERE model_id = %(model_id)s AND created_at >= %(since)s AND created_at < %(until)s;

-- name: read_inputs_without_cells
-- Predictions of a span that were stored without cells of this width, for their inputs to be looked at again.
SELECT created_at, id, input_features, fraud_score, latency_ms
FROM predictions
WHERE model_id = %(model_id)s
  AND created_at >= %(since)s AND created_at < %(until)s
  AND (created_at, id) > (%(since)s, %(after_id)s)
  AND octet_length(cells) IS DISTINCT FROM %(width)s
ORDER BY created_at, id
LIMIT %(limit)s;

-- name: read_label_changes
-- Predictions whose label changed with the next labels told of a model: what was known before them and what was after,
-- in one view of the database. The state after a label is what the next label of the prediction found, or the present.
WITH told AS (
    SELECT id, prediction_id, prediction_created_at, previous
    FROM prediction_labels
    WHERE model_id = %(model_id)s AND id > %(after)s
    ORDER BY id
    LIMIT %(limit)s
),
last AS (
    SELECT max(id) AS id FROM told
),
changed AS (
    SELECT DISTINCT ON (prediction_id) prediction_id, prediction_created_at, previous AS before
    FROM told
    ORDER BY prediction_id, id
)
SELECT
    last.id AS last_id,
    p.id, p.created_at, changed.before,
    CASE WHEN later.id IS NULL THEN p.actual_label ELSE later.previous END AS after,
    p.cells, CASE WHEN octet_length(p.cells) IS DISTINCT FROM %(width)s THEN p.input_features END AS input_features,
    p.fraud_score
FROM last
LEFT JOIN changed ON true
LEFT JOIN predictions AS p ON p.id = changed.prediction_id AND p.created_at = changed.prediction_created_at
LEFT JOIN LATERAL (
    SELECT l.id, l.previous
    FROM prediction_labels AS l
    WHERE l.prediction_created_at = changed.prediction_created_at
      AND l.prediction_id = changed.prediction_id
      AND l.id > last.id
    ORDER BY l.id
    LIMIT 1
) AS later ON true
WHERE last.id IS NOT NULL;

-- name: lock_prediction_rollups
-- The rollups of some hours of a model.
SELECT hour, rows, counts, cube, score_sums, latencies
FROM prediction_rollups
WHERE model_id = %(model_id)s AND hour = ANY(%(hours)s)
FOR UPDATE;

-- name: store_prediction_rollups
-- The rollups of some hours of a model, in place of those that were there.
INSERT INTO prediction_rollups (model_id, hour, rows, counts, cube, score_sums, latencies)
SELECT %(model_id)s, row.*
FROM unnest(
    %(hours)b::timestamptz[], %(rows)b::int[], %(counts)b::bytea[], %(cubes)b::bytea[], %(score_sums)b::bytea[],
    %(latencies)b::bytea[]
) AS row (hour, rows, counts, cube, score_sums, latencies)
ON CONFLICT (model_id, hour) DO UPDATE SET
    rows = excluded.rows, counts = excluded.counts, cube = excluded.cube, score_sums = excluded.score_sums,
    latencies = excluded.latencies;

-- name: lock_label_rollups
-- The labels of some hours of a model.
SELECT hour, cube
FROM label_rollups
WHERE model_id = %(model_id)s AND hour = ANY(%(hours)s)
FOR UPDATE;

-- name: store_label_rollups
-- The labels of some hours of a model, in place of those that were there.
INSERT INTO label_rollups (model_id, hour, cube)
SELECT %(model_id)s, row.*
FROM unnest(%(hours)b::timestamptz[], %(cubes)b::bytea[]) AS row (hour, cube)
ON CONFLICT (model_id, hour) DO UPDATE SET cube = excluded.cube;

-- name: list_miscounted_hours
-- Hours from a moment on whose predictions are more or fewer than were counted: rows that were committed very late.
SELECT coalesce(found.hour, counted.hour) AS hour
FROM (
    SELECT date_trunc('hour', created_at, 'UTC') AS hour, count(*) AS rows
    FROM predictions
    WHERE model_id = %(model_id)s AND created_at >= %(since)s AND created_at < %(until)s
    GROUP BY 1
) AS found
FULL JOIN (
    SELECT hour, rows FROM prediction_rollups WHERE model_id = %(model_id)s AND hour >= %(since)s AND hour < %(until)s
) AS counted ON counted.hour = found.hour
WHERE found.rows IS DISTINCT FROM counted.rows
ORDER BY 1;

-- name: read_rollup_counts
-- The counts of the hours of some windows, leanest first: what drift is computed from.
SELECT r.hour, r.rows, r.counts
FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS span (starts, ends)
JOIN prediction_rollups AS r ON r.model_id = %(model_id)s AND r.hour >= span.starts AND r.hour < span.ends;

-- name: read_rollup_cubes
-- The rest of the rollups of a window: what performance, latency and fairness are computed from.
SELECT r.hour, r.rows, r.cube, r.score_sums, r.latencies, l.cube AS labels
FROM prediction_rollups AS r
LEFT JOIN label_rollups AS l ON l.model_id = r.model_id AND l.hour = r.hour
WHERE r.model_id = %(model_id)s AND r.hour >= %(since)s AND r.hour < %(until)s
ORDER BY r.hour;
