-- name: insert_audit_log
-- One change, in the transaction that makes it.
INSERT INTO audit_logs (
    user_id, user_email, action, resource_type, resource_id,
    old_values, new_values, metadata, ip_address, user_agent, request_id
)
VALUES (
    %(user_id)s, %(user_email)s, %(action)s, %(resource_type)s, %(resource_id)s,
    %(old_values)s, %(new_values)s, %(metadata)s, %(ip_address)s, %(user_agent)s, %(request_id)s
);
