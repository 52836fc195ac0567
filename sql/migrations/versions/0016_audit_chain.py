"""audit_chain, triggers that keep audit_logs as it was written, and indexes that list it newest first.

Reason: an audit log proves something only when nobody can change it unnoticed. Each committed entry is sealed by the
SHA-256 of its content and of the seal before it; the seals lie in a table of their own, so audit_logs stays as
specified. A deferred constraint trigger appends the seal: it runs when the transaction commits, whatever the app did
before, so the one lock that orders the entries is held for the length of a commit only (decision 0008).
"""

from __future__ import annotations

from alembic import op

from sql.migrations.statements import execute, limit_waiting

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

INDEXES = {
    "idx_audit_created": "(created_at DESC, id DESC)",
    "idx_audit_resource_created": "(resource_type, created_at DESC)",
    "idx_audit_request": "(request_id)",
}

TABLE = """
CREATE TABLE audit_chain (
    sequence bigint,
    entry_id uuid NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT audit_chain_pkey PRIMARY KEY (sequence),
    CONSTRAINT audit_chain_entry_id_key UNIQUE (entry_id),
    CONSTRAINT audit_chain_entry_id_fkey FOREIGN KEY (entry_id) REFERENCES audit_logs(id),
    CONSTRAINT audit_chain_hash_check CHECK (octet_length(hash) = 32)
);
COMMENT ON TABLE audit_chain IS 'One seal for each entry of audit_logs, in the order of their commits';
COMMENT ON COLUMN audit_chain.hash IS 'SHA-256 of the seal before, the sequence and every column of the entry'
"""

# Each field as LENGTH:TEXT in bytes, NULL as -, so that no two entries have the same canonical form.
HASH_FUNCTION = """
CREATE FUNCTION audit_entry_hash(previous bytea, sequence bigint, entry audit_logs)
RETURNS bytea
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $function$
SELECT sha256(
    previous || convert_to(string_agg(coalesce(octet_length(field) || ':' || field, '-'), '' ORDER BY position), 'UTF8')
)
FROM unnest(ARRAY[
    sequence::text, entry.id::text, entry.user_id::text, entry.user_email, entry.action, entry.resource_type,
    entry.resource_id::text, entry.old_values::text, entry.new_values::text, entry.metadata::text,
    entry.ip_address::text, entry.user_agent, entry.request_id,
    to_char(entry.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US')
]) WITH ORDINALITY AS fields(field, position)
$function$;
COMMENT ON FUNCTION audit_entry_hash(bytea, bigint, audit_logs) IS
    'The seal of an entry that follows the seal previous (empty for the first)'
"""

CHAIN_FUNCTION = """
CREATE FUNCTION chain_audit_entry()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $function$
DECLARE
    head audit_chain;
BEGIN
    PERFORM pg_advisory_xact_lock(7311842027);  -- one committing transaction at a time, until its commit is durable
    SELECT * INTO head FROM audit_chain ORDER BY sequence DESC LIMIT 1;
    INSERT INTO audit_chain (sequence, entry_id, hash)
    VALUES (
        coalesce(head.sequence, 0) + 1, NEW.id,
        audit_entry_hash(coalesce(head.hash, ''), coalesce(head.sequence, 0) + 1, NEW)
    );
    RETURN NULL;
END
$function$;
COMMENT ON FUNCTION chain_audit_entry() IS 'Seals an entry when its transaction commits'
"""

REFUSE_FUNCTION = """
CREATE FUNCTION refuse_audit_change()
RETURNS trigger
LANGUAGE plpgsql
AS $function$
BEGIN
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END
$function$;
COMMENT ON FUNCTION refuse_audit_change() IS 'Keeps the audit log and its chain as they were written'
"""

# What was recorded before there was a chain is sealed in the order of its time; nobody writes meanwhile.
SEAL_EXISTING = """
DO $do$
DECLARE
    entry audit_logs;
    head bytea := '';
    number bigint := 0;
BEGIN
    FOR entry IN SELECT * FROM audit_logs ORDER BY created_at, id LOOP
        number := number + 1;
        head := audit_entry_hash(head, number, entry);
        INSERT INTO audit_chain (sequence, entry_id, hash) VALUES (number, entry.id, head);
    END LOOP;
END
$do$
"""


def upgrade() -> None:
    limit_waiting()
    with op.get_context().autocommit_block():
        for name, columns in INDEXES.items():
            execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            execute(f"CREATE INDEX CONCURRENTLY {name} ON audit_logs{columns}")
    execute("LOCK TABLE audit_logs IN SHARE ROW EXCLUSIVE MODE")
    execute(TABLE)
    execute(HASH_FUNCTION)
    execute(CHAIN_FUNCTION)
    execute(REFUSE_FUNCTION)
    execute(SEAL_EXISTING)
    execute(
        """
        CREATE CONSTRAINT TRIGGER audit_logs_chained AFTER INSERT ON audit_logs
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION chain_audit_entry()
        """
    )
    for table in ("audit_logs", "audit_chain"):
        execute(
            f"""
            CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
                FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()
            """
        )


def downgrade() -> None:
    limit_waiting()
    for table in ("audit_logs", "audit_chain"):
        execute(f"DROP TRIGGER {table}_append_only ON {table}")
    execute("DROP TRIGGER audit_logs_chained ON audit_logs")
    execute("DROP FUNCTION chain_audit_entry(); DROP FUNCTION refuse_audit_change()")
    execute("DROP FUNCTION audit_entry_hash(bytea, bigint, audit_logs)")
    execute("DROP TABLE audit_chain")
    for name in INDEXES:
        execute(f"DROP INDEX {name}")
