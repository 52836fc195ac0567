-- name: queue_deliveries
-- A message to each webhook that wants to know of an alert; a webhook is not told of its own failures.
INSERT INTO alert_deliveries (id, webhook_id, alert_id, event, payload, next_attempt_at, created_at)
SELECT gen_random_uuid(), id, %(alert_id)s::uuid, %(event)s::text, %(payload)s::jsonb, %(now)s::timestamptz, %(now)s
FROM alert_webhooks
WHERE is_active
  AND array_position(ARRAY['INFO', 'WARNING', 'CRITICAL'], minimum_severity::text)
   <= array_position(ARRAY['INFO', 'WARNING', 'CRITICAL'], %(severity)s::text)
  AND (source_types IS NULL OR source_types ? %(source_type)s::text)
  AND %(cause)s::text IS DISTINCT FROM 'webhook:' || id;

-- name: queue_delivery
-- A message to one webhook.
INSERT INTO alert_deliveries (id, webhook_id, event, payload, next_attempt_at, created_at)
SELECT gen_random_uuid(), id, %(event)s::text, %(payload)s::jsonb, %(now)s::timestamptz, %(now)s
FROM alert_webhooks
WHERE id = %(webhook_id)s
RETURNING *;

-- name: claim_deliveries
-- Messages that are due, leased to one sender.
UPDATE alert_deliveries AS delivery
SET attempts = delivery.attempts + 1,
    next_attempt_at = %(until)s
FROM (
    SELECT id
    FROM alert_deliveries
    WHERE next_attempt_at <= %(now)s
    ORDER BY next_attempt_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
) AS due
JOIN alert_deliveries AS found ON found.id = due.id
JOIN alert_webhooks AS webhook ON webhook.id = found.webhook_id
WHERE delivery.id = due.id
RETURNING
    delivery.id, delivery.webhook_id, delivery.event, delivery.payload, delivery.attempts,
    webhook.name AS webhook_name, webhook.url, webhook.secret_version, webhook.rotated_at;

-- name: settle_delivery
-- What became of an attempt.
UPDATE alert_deliveries
SET delivered_at = %(delivered_at)s,
    next_attempt_at = %(next_attempt_at)s,
    last_status = %(status)s,
    last_error = %(error)s
WHERE id = %(delivery_id)s;

-- name: list_deliveries
-- One page of a webhook's messages, newest first.
SELECT *
FROM alert_deliveries
WHERE webhook_id = %(webhook_id)s
ORDER BY created_at DESC, id
LIMIT %(limit)s OFFSET %(offset)s;

-- name: count_deliveries
-- How many messages a webhook was sent.
SELECT count(*) AS total
FROM alert_deliveries
WHERE webhook_id = %(webhook_id)s;

-- name: insert_webhook
-- A new webhook, unless the name is taken.
INSERT INTO alert_webhooks (
    id, name, url, minimum_severity, source_types, is_active, created_by, created_at, updated_at
)
VALUES (
    %(id)s, %(name)s, %(url)s, %(minimum_severity)s, %(source_types)s, %(is_active)s, %(created_by)s, %(now)s, %(now)s
)
ON CONFLICT (name) DO NOTHING
RETURNING *;

-- name: get_webhook
-- One webhook.
SELECT *
FROM alert_webhooks
WHERE id = %(webhook_id)s;

-- name: lock_webhook
-- One webhook, held until the transaction ends.
SELECT *
FROM alert_webhooks
WHERE id = %(webhook_id)s
FOR UPDATE;

-- name: update_webhook
-- A webhook's settings, replaced.
UPDATE alert_webhooks
SET name = %(name)s,
    url = %(url)s,
    minimum_severity = %(minimum_severity)s,
    source_types = %(source_types)s,
    is_active = %(is_active)s,
    updated_at = %(now)s
WHERE id = %(webhook_id)s
RETURNING *;

-- name: rotate_webhook_secret
-- From now on another secret signs; the last one signs beside it for a while.
UPDATE alert_webhooks
SET secret_version = secret_version + 1,
    rotated_at = %(now)s,
    updated_at = %(now)s
WHERE id = %(webhook_id)s
RETURNING *;

-- name: delete_webhook
-- A webhook and its messages.
DELETE FROM alert_webhooks
WHERE id = %(webhook_id)s;

-- name: list_webhooks
-- Every webhook, by name.
SELECT *
FROM alert_webhooks
ORDER BY name;
