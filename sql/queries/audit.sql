-- name: insert_audit_log
-- One entry, in the transaction of the change; a deferred trigger seals it when the transaction commits.
INSERT INTO audit_logs (
    user_id, user_email, action, resource_type, resource_id,
    old_values, new_values, metadata, ip_address, user_agent, request_id
)
VALUES (
    %(user_id)s, %(user_email)s, %(action)s, %(resource_type)s, %(resource_id)s,
    %(old_values)s, %(new_values)s, %(metadata)s, %(ip_address)s, %(user_agent)s, %(request_id)s
);

-- name: list_audit_logs
-- Entries older than a position, newest first; each filter that is NULL lets everything through.
SELECT id, user_id, user_email, action, resource_type, resource_id, old_values, new_values, metadata,
       host(ip_address) AS ip_address, user_agent, request_id, created_at
FROM audit_logs
WHERE (%(user_id)s::uuid IS NULL OR user_id = %(user_id)s)
  AND (%(action)s::text IS NULL OR action = %(action)s)
  AND (%(resource_type)s::text IS NULL OR resource_type = %(resource_type)s)
  AND (%(resource_id)s::uuid IS NULL OR resource_id = %(resource_id)s)
  AND (%(request_id)s::text IS NULL OR request_id = %(request_id)s)
  AND created_at >= coalesce(%(since)s::timestamptz, '-infinity')
  AND (created_at, id) < (%(before_at)s::timestamptz, %(before_id)s::uuid)
ORDER BY created_at DESC, id DESC
LIMIT %(limit)s;

-- name: get_audit_head
-- The newest seal.
SELECT sequence, hash
FROM audit_chain
ORDER BY sequence DESC
LIMIT 1;

-- name: read_audit_chain
-- Every seal in order, with the columns of its entry as the text that was sealed.
SELECT chain.sequence, chain.entry_id, chain.hash,
       CASE WHEN entry.id IS NOT NULL THEN ARRAY[
           entry.id::text, entry.user_id::text, entry.user_email, entry.action, entry.resource_type,
           entry.resource_id::text, entry.old_values::text, entry.new_values::text, entry.metadata::text,
           entry.ip_address::text, entry.user_agent, entry.request_id,
           to_char(entry.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US')
       ] END AS fields
FROM audit_chain AS chain
LEFT JOIN audit_logs AS entry ON entry.id = chain.entry_id
ORDER BY chain.sequence;

-- name: read_unsealed_entries
-- Entries that no seal belongs to.
SELECT entry.id
FROM audit_logs AS entry
WHERE NOT EXISTS (SELECT FROM audit_chain AS chain WHERE chain.entry_id = entry.id)
ORDER BY entry.created_at, entry.id;
