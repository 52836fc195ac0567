-- name: forget_drift_of_window
-- What was said of a window before it is said again.
DELETE FROM drift_metrics
WHERE model_id = %(model_id)s AND window_start = %(window_start)s AND window_end = %(window_end)s
  AND drift_type IN ('DATA', 'FEATURE');

-- name: insert_drift_metrics
-- The figures of one window.
INSERT INTO drift_metrics (
    id, model_id, drift_type, feature_name, metric_name, metric_value, status, threshold_used, window_start, window_end,
    reference_window_start, reference_window_end, reference_count, current_count, computed_at
)
SELECT
    row.id, %(model_id)s, row.drift_type, row.feature_name, row.metric_name, row.metric_value, row.status,
    row.threshold_used, %(window_start)s, %(window_end)s, %(reference_start)s, %(reference_end)s,
    %(reference_count)s, %(current_count)s, %(now)s
FROM unnest(
    %(ids)s::uuid[], %(types)s::text[], %(features)s::text[], %(metrics)s::text[], %(values)s::float8[],
    %(statuses)s::text[], %(thresholds)s::float8[]
) AS row (id, drift_type, feature_name, metric_name, metric_value, status, threshold_used);

-- name: count_critical_windows
-- By column, in how many of some windows it was critical in itself, whatever persistence made of it.
SELECT feature_name, count(DISTINCT window_end) AS windows
FROM drift_metrics
WHERE model_id = %(model_id)s
  AND window_end = ANY(%(ends)s)
  AND window_start = window_end - %(length)s::interval
  AND metric_name = 'severity' AND metric_value = 2
  AND drift_type IN ('DATA', 'FEATURE')
GROUP BY feature_name;

-- name: latest_drift_window
-- The end of the newest window of a length that was looked at.
SELECT window_end
FROM drift_metrics
WHERE model_id = %(model_id)s
  AND window_start = window_end - %(length)s::interval
  AND drift_type = 'DATA' AND metric_name = 'rows'
ORDER BY window_end DESC
LIMIT 1;

-- name: list_drift_metrics
-- Figures of a model, newest windows first, from a position on.
SELECT *
FROM drift_metrics
WHERE model_id = %(model_id)s
  AND window_end IS NOT NULL
  AND (%(drift_type)s::text IS NULL OR drift_type = %(drift_type)s)
  AND (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(metric)s::text IS NULL OR metric_name = %(metric)s)
  AND (%(feature)s::text IS NULL OR feature_name = %(feature)s)
  AND (%(length)s::interval IS NULL OR window_start = window_end - %(length)s::interval)
  AND (window_end, id) < (%(before)s, %(before_id)s)
ORDER BY window_end DESC, id DESC
LIMIT %(limit)s;

-- name: list_drift_windows
-- The newest windows of a length before a moment, with their rows.
SELECT window_start, window_end, reference_count, current_count, threshold_used
FROM drift_metrics
WHERE model_id = %(model_id)s
  AND window_start = window_end - %(length)s::interval
  AND window_end < %(before)s
  AND drift_type = 'DATA' AND metric_name = 'rows'
ORDER BY window_end DESC
LIMIT %(limit)s;

-- name: read_drift_series
-- One figure of every column (and of the whole) in some windows.
SELECT window_end, feature_name, drift_type, metric_name, metric_value, status, threshold_used
FROM drift_metrics
WHERE model_id = %(model_id)s
  AND window_end = ANY(%(ends)s)
  AND window_start = window_end - %(length)s::interval
  AND drift_type IN ('DATA', 'FEATURE')
  AND metric_name = ANY(%(metrics)s);
