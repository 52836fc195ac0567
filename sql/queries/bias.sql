-- name: insert_attribute
-- A new protected attribute, unless the name is taken.
INSERT INTO protected_attributes (
    id, attribute_name, column_name, description, groups, thresholds, is_active, created_by, created_at, updated_at
)
VALUES (
    %(id)s, %(attribute_name)s, %(column_name)s, %(description)s, %(groups)s, %(thresholds)s, true, %(created_by)s,
    %(now)s, %(now)s
)
ON CONFLICT (attribute_name) DO NOTHING
RETURNING *;

-- name: list_attributes
-- Protected attributes by name.
SELECT *
FROM protected_attributes
ORDER BY attribute_name;

-- name: lock_attribute
-- One protected attribute, held until the transaction ends.
SELECT *
FROM protected_attributes
WHERE id = %(attribute_id)s
FOR UPDATE;

-- name: update_attribute
-- A protected attribute's settings, replaced.
UPDATE protected_attributes
SET attribute_name = %(attribute_name)s,
    column_name = %(column_name)s,
    description = %(description)s,
    groups = %(groups)s,
    thresholds = %(thresholds)s,
    is_active = %(is_active)s,
    updated_at = %(now)s
WHERE id = %(attribute_id)s
RETURNING *;

-- name: forget_bias_of_window
-- What was said of a window before.
DELETE FROM bias_metrics
WHERE model_id = %(model_id)s
  AND window_start = %(window_start)s
  AND window_end = %(window_end)s;

-- name: insert_bias_metrics
-- The figures of a window.
INSERT INTO bias_metrics (
    id, model_id, protected_attribute, metric_name, overall_value, group_values, status, threshold_used, sample_size,
    group_sizes, window_start, window_end, interval_low, interval_high, p_value, computed_at
)
SELECT
    row.id, %(model_id)s, row.protected_attribute, row.metric_name, row.overall_value, row.group_values, row.status,
    row.threshold_used, row.sample_size, row.group_sizes, %(window_start)s, %(window_end)s, row.interval_low,
    row.interval_high, row.p_value, %(now)s
FROM json_to_recordset(%(rows)s::json) AS row (
    id uuid, protected_attribute text, metric_name text, overall_value float8, group_values jsonb, status text,
    threshold_used float8, sample_size integer, group_sizes jsonb, interval_low float8, interval_high float8,
    p_value float8
);

-- name: list_bias_metrics
-- A page of figures, newest first, from a position on.
SELECT *
FROM bias_metrics
WHERE model_id = %(model_id)s
  AND (%(attribute)s::text IS NULL OR protected_attribute = %(attribute)s)
  AND (%(metric)s::text IS NULL OR metric_name = %(metric)s)
  AND (%(status)s::text IS NULL OR status = %(status)s)
  AND (computed_at, id) < (%(before)s, %(before_id)s)
ORDER BY computed_at DESC, id DESC
LIMIT %(limit)s;
