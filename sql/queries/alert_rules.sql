-- name: insert_rule
-- A new rule, unless the name is taken.
INSERT INTO alert_rules (
    id, name, metric, operator, threshold, severity, model_id, subject, windows, cool_down_minutes, auto_retrain,
    is_active, created_by, created_at, updated_at
)
VALUES (
    %(id)s, %(name)s, %(metric)s, %(operator)s, %(threshold)s, %(severity)s, %(model_id)s, %(subject)s, %(windows)s,
    %(cool_down_minutes)s, %(auto_retrain)s, %(is_active)s, %(created_by)s, %(now)s, %(now)s
)
ON CONFLICT (name) DO NOTHING
RETURNING *;

-- name: lock_rule
-- One rule, held until the transaction ends.
SELECT *
FROM alert_rules
WHERE id = %(rule_id)s
FOR UPDATE;

-- name: get_rule
-- One rule.
SELECT *
FROM alert_rules
WHERE id = %(rule_id)s;

-- name: update_rule
-- A rule's settings, replaced.
UPDATE alert_rules
SET name = %(name)s,
    metric = %(metric)s,
    operator = %(operator)s,
    threshold = %(threshold)s,
    severity = %(severity)s,
    model_id = %(model_id)s,
    subject = %(subject)s,
    windows = %(windows)s,
    cool_down_minutes = %(cool_down_minutes)s,
    auto_retrain = %(auto_retrain)s,
    is_active = %(is_active)s,
    updated_at = %(now)s
WHERE id = %(rule_id)s
RETURNING *;

-- name: delete_rule
-- A rule; its alerts stay.
DELETE FROM alert_rules
WHERE id = %(rule_id)s;

-- name: list_rules
-- One page of rules, by name.
SELECT *
FROM alert_rules
WHERE (%(metric)s::text IS NULL OR metric = %(metric)s)
  AND (%(model_id)s::uuid IS NULL OR model_id = %(model_id)s)
  AND (%(is_active)s::bool IS NULL OR is_active = %(is_active)s)
ORDER BY name
LIMIT %(limit)s OFFSET %(offset)s;

-- name: count_rules
-- How many rules the same filters leave.
SELECT count(*) AS total
FROM alert_rules
WHERE (%(metric)s::text IS NULL OR metric = %(metric)s)
  AND (%(model_id)s::uuid IS NULL OR model_id = %(model_id)s)
  AND (%(is_active)s::bool IS NULL OR is_active = %(is_active)s);

-- name: active_rules
-- The rules about some metrics.
SELECT *
FROM alert_rules
WHERE is_active
  AND metric = ANY(%(metrics)s)
ORDER BY id;

-- name: observe_window
-- How many windows in a row have broken a rule, this one included. A window that was seen already, or lies before the
-- last one, changes nothing.
INSERT INTO alert_rule_states AS state (rule_id, model_id, subject, broken_windows, last_window)
VALUES (%(rule_id)s, %(model_id)s, %(subject)s, %(broken)s::int, %(window_end)s)
ON CONFLICT (rule_id, model_id, subject) DO UPDATE
SET broken_windows = CASE WHEN excluded.broken_windows = 0 THEN 0 ELSE state.broken_windows + 1 END,
    last_window = excluded.last_window
WHERE state.last_window < excluded.last_window
RETURNING broken_windows;
