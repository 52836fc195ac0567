-- name: claim_key
-- The right to act on a request: its key is new, has expired, or its claim is overdue and nothing was answered. What an
-- overdue claim has settled stays settled.
INSERT INTO idempotency_keys AS k (caller, function, key, fingerprint, claim, claimed_until, expires_at)
VALUES (
    %(caller)s, %(function)s, %(key)s, %(fingerprint)s, %(claim)s, clock_timestamp() + %(lease)s,
    clock_timestamp() + %(lifetime)s
)
ON CONFLICT (caller, function, key) DO UPDATE
SET claim = excluded.claim,
    claimed_until = excluded.claimed_until,
    fingerprint = excluded.fingerprint,
    expires_at = CASE WHEN k.expires_at > clock_timestamp() THEN k.expires_at ELSE excluded.expires_at END,
    settled_at = CASE WHEN k.expires_at > clock_timestamp() THEN k.settled_at END,
    resource_id = CASE WHEN k.expires_at > clock_timestamp() THEN k.resource_id END,
    status = NULL,
    headers = NULL,
    body = NULL
WHERE k.expires_at <= clock_timestamp()
   OR (k.status IS NULL AND k.fingerprint = excluded.fingerprint AND k.claimed_until <= clock_timestamp())
RETURNING settled_at, resource_id;

-- name: get_key
-- What is known of a key that cannot be claimed.
SELECT
    fingerprint, status, headers, body,
    greatest(0, ceil(extract(epoch FROM claimed_until - clock_timestamp())))::integer AS seconds
FROM idempotency_keys
WHERE caller = %(caller)s AND function = %(function)s AND key = %(key)s;

-- name: settle_key
-- The work is done if the transaction commits. A claim that was taken over finds nothing here, so its transaction ends.
-- Of several changes the last is what the request was about.
UPDATE idempotency_keys
SET resource_id = %(resource_id)s,
    settled_at = coalesce(settled_at, clock_timestamp())
WHERE claim = %(claim)s
RETURNING claim;

-- name: keep_answer
-- What is answered, for those who ask again.
UPDATE idempotency_keys
SET status = %(status)s, headers = %(headers)s, body = %(body)s
WHERE claim = %(claim)s;

-- name: release_key
-- Nothing was done: the key is free.
DELETE FROM idempotency_keys
WHERE claim = %(claim)s AND settled_at IS NULL;

-- name: release_settled_key
-- The work was done and could not be answered: who asks again may answer at once.
UPDATE idempotency_keys
SET claimed_until = clock_timestamp()
WHERE claim = %(claim)s AND settled_at IS NOT NULL;

-- name: forget_key
-- What was done was undone: the key is free.
DELETE FROM idempotency_keys
WHERE claim = %(claim)s;

-- name: purge_keys
-- Delete some of the keys that have expired.
WITH gone AS (
    DELETE FROM idempotency_keys
    WHERE (caller, function, key) IN (
        SELECT caller, function, key
        FROM idempotency_keys
        WHERE expires_at <= clock_timestamp()
        ORDER BY expires_at
        LIMIT %(limit)s
        FOR UPDATE SKIP LOCKED
    )
    RETURNING 1
)
SELECT count(*) AS purged
FROM gone;
