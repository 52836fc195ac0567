-- name: label_delays
-- How many days after the prediction its first label came.
SELECT greatest(floor(extract(epoch FROM first_at - made_at) / 86400), 0)::int AS days, count(*) AS labels
FROM (
    SELECT prediction_created_at AS made_at, min(labeled_at) AS first_at
    FROM prediction_labels
    WHERE model_id = %(model_id)s
      AND prediction_created_at >= %(since)s
      AND prediction_created_at < %(until)s
    GROUP BY prediction_created_at, prediction_id
) AS firsts
GROUP BY 1
ORDER BY 1;

-- name: forget_performance_of_window
-- What was said of a window before it is said again.
DELETE FROM drift_metrics
WHERE model_id = %(model_id)s
  AND window_start = %(window_start)s
  AND window_end = %(window_end)s
  AND drift_type = 'CONCEPT';

-- name: insert_performance
-- The figures of one window.
INSERT INTO drift_metrics (
    id, model_id, drift_type, metric_name, metric_value, status, threshold_used, window_start, window_end,
    current_count, computed_at
)
SELECT
    row.id, %(model_id)s, 'CONCEPT', row.metric_name, row.metric_value, row.status, row.threshold_used,
    %(window_start)s, %(window_end)s, %(labelled)s, %(now)s
FROM json_to_recordset(%(rows)s::json) AS row (
    id uuid, metric_name text, metric_value float8, status text, threshold_used float8
);

-- name: outcomes
-- Requests to score and failed ones of a span.
SELECT coalesce(sum(requests), 0)::bigint AS requests, coalesce(sum(failed), 0)::bigint AS failed
FROM scoring_outcomes
WHERE hour >= %(since)s AND hour < %(until)s;
