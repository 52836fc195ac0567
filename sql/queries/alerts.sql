-- name: lock_open_alert
-- The open alert of a cause, held until the transaction ends.
SELECT *
FROM alerts
WHERE cause = %(cause)s
  AND status IN ('ACTIVE', 'ACKNOWLEDGED')
FOR UPDATE;

-- name: report_alert
-- An alert for a cause, or one more occurrence of the alert that is open for it. Severity never falls while it is open.
INSERT INTO alerts AS a (
    id, model_id, source_type, source_id, alert_type, severity, title, description, details, cause, rule_id,
    retraining_requested, last_seen_at, created_at
)
VALUES (
    %(id)s, %(model_id)s, %(source_type)s, %(source_id)s, %(alert_type)s, %(severity)s, %(title)s, %(description)s,
    %(details)s, %(cause)s, %(rule_id)s, %(retrain)s, %(now)s, %(now)s
)
ON CONFLICT (cause) WHERE status IN ('ACTIVE', 'ACKNOWLEDGED') DO UPDATE
SET occurrences = a.occurrences + 1,
    last_seen_at = greatest(a.last_seen_at, excluded.last_seen_at),
    quiet_windows = 0,
    last_quiet_at = NULL,
    retraining_requested = a.retraining_requested OR excluded.retraining_requested,
    source_id = excluded.source_id,
    severity = CASE
        WHEN array_position(ARRAY['INFO', 'WARNING', 'CRITICAL'], excluded.severity::text)
           > array_position(ARRAY['INFO', 'WARNING', 'CRITICAL'], a.severity::text) THEN excluded.severity
        ELSE a.severity
    END,
    title = excluded.title,
    description = excluded.description,
    details = excluded.details
RETURNING *, (xmax = 0) AS opened;

-- name: clear_alert
-- One more window without the cause; after enough of them the open alert is resolved by itself. A window counts once.
UPDATE alerts AS a
SET quiet_windows = a.quiet_windows + 1,
    last_quiet_at = %(at)s,
    status = CASE WHEN a.quiet_windows + 1 >= %(windows)s THEN 'RESOLVED' ELSE a.status END,
    resolved_at = CASE WHEN a.quiet_windows + 1 >= %(windows)s THEN %(now)s::timestamptz END,
    resolution_notes = CASE WHEN a.quiet_windows + 1 >= %(windows)s THEN %(notes)s::text END
WHERE a.cause = %(cause)s
  AND a.status IN ('ACTIVE', 'ACKNOWLEDGED')
  AND (a.last_quiet_at IS NULL OR a.last_quiet_at < %(at)s)
RETURNING *;

-- name: last_closed_alert
-- When the newest alert of a cause was settled.
SELECT max(resolved_at) AS closed_at
FROM alerts
WHERE cause = %(cause)s
  AND status IN ('RESOLVED', 'DISMISSED');

-- name: get_alert
-- One alert.
SELECT *
FROM alerts
WHERE id = %(alert_id)s;

-- name: lock_alert
-- One alert, held until the transaction ends.
SELECT *
FROM alerts
WHERE id = %(alert_id)s
FOR UPDATE;

-- name: list_alerts
-- One page of alerts. The ids are found first, in an index.
SELECT a.*
FROM (
    SELECT a.id
    FROM alerts AS a
    WHERE (%(status)s::text IS NULL OR a.status = %(status)s)
      AND (%(severity)s::text IS NULL OR a.severity = %(severity)s)
      AND (%(source_type)s::text IS NULL OR a.source_type = %(source_type)s)
      AND (%(model_id)s::uuid IS NULL OR a.model_id = %(model_id)s)
    ORDER BY {order}
    LIMIT %(limit)s OFFSET %(offset)s
) AS page
JOIN alerts AS a ON a.id = page.id
ORDER BY {order};

-- name: count_alerts
-- How many alerts the same filters leave.
SELECT count(*) AS total
FROM alerts AS a
WHERE (%(status)s::text IS NULL OR a.status = %(status)s)
  AND (%(severity)s::text IS NULL OR a.severity = %(severity)s)
  AND (%(source_type)s::text IS NULL OR a.source_type = %(source_type)s)
  AND (%(model_id)s::uuid IS NULL OR a.model_id = %(model_id)s);

-- name: acknowledge_alert
-- Somebody looks after it.
UPDATE alerts
SET status = 'ACKNOWLEDGED',
    acknowledged_by = %(user_id)s,
    acknowledged_at = %(now)s
WHERE id = %(alert_id)s
RETURNING *;

-- name: close_alert
-- Somebody has settled it, or says that it needs nothing.
UPDATE alerts
SET status = %(status)s,
    resolved_by = %(user_id)s,
    resolved_at = %(now)s,
    resolution_notes = %(notes)s
WHERE id = %(alert_id)s
RETURNING *;
