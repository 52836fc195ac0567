"""entity_events and history_layouts, their partitions, and reading them newest first.

Reason: history features read, for each entity of a transaction, its newest events before that transaction, and every
scored transaction becomes an event.

- Everything but the keys is one bytea, and what is read comes as one bytea a key: against bigint[] columns a row takes
  two thirds of the space and a thousand rows half the time to read.
- Reading is a function for the sake of its settings, which a session behind PgBouncer cannot keep. A merchant's
  million events and a customer's three are the same statement; wherever the planner expects few rows it would rather
  fetch and sort all of them than walk the index and stop. The plan is kept for the session, prepared or not.
- Compiling the statement (jit) would cost sixty milliseconds a reading wherever a method that is switched off is left.
- known_at 'infinity' and label -1 stand for an unknown label: no NULL to encode in a binary COPY or to test in a read.
"""

from __future__ import annotations

from sql.migrations.statements import execute, limit_waiting

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


TABLES = """
CREATE TABLE history_layouts (
    id smallint NOT NULL,
    fingerprint text NOT NULL,
    columns jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT history_layouts_pkey PRIMARY KEY (id),
    CONSTRAINT history_layouts_fingerprint_key UNIQUE (fingerprint)
);
COMMENT ON TABLE history_layouts IS
    'What the events of entity_events carry: one row a set of entities and columns that models use';

CREATE TABLE entity_events (
    key bigint NOT NULL,
    occurred_at timestamptz NOT NULL,
    id_hash bigint,
    known_at timestamptz NOT NULL DEFAULT 'infinity',
    layout smallint NOT NULL,
    entity smallint NOT NULL,
    label smallint NOT NULL DEFAULT -1,
    payload bytea NOT NULL,
    CONSTRAINT entity_events_label_check CHECK (label IN (-1, 0, 1))
) PARTITION BY RANGE (occurred_at);
CREATE UNIQUE INDEX idx_entity_events_newest
    ON entity_events (layout, entity, key, occurred_at DESC, id_hash DESC NULLS LAST)
    INCLUDE (known_at, label, payload);
COMMENT ON TABLE entity_events IS 'Past transactions, once for each entity that took part; hashes, no clear text';
COMMENT ON COLUMN entity_events.entity IS 'Position of the entity in the layout';
COMMENT ON COLUMN entity_events.key IS 'Hash of the entity''s value';
COMMENT ON COLUMN entity_events.id_hash IS 'Hash of the transaction''s id; NULL without one: never a duplicate';
COMMENT ON COLUMN entity_events.label IS '1 fraud, 0 genuine, -1 unknown';
COMMENT ON COLUMN entity_events.known_at IS 'When the label became known; infinity while it is not';
COMMENT ON COLUMN entity_events.payload IS 'The layout''s numbers, then its codes: 8 bytes each, big-endian';
"""

READ = """
CREATE FUNCTION read_entity_events(
    layout_id smallint, entities smallint[], keys bigint[], befores timestamptz[], span interval, history_limit integer
)
RETURNS TABLE (asked integer, events bytea)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET jit = off
SET enable_sort = off
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $function$
DECLARE
    newest timestamptz := (SELECT max(b) FROM unnest(befores) AS b);
    oldest timestamptz := (SELECT min(b) FROM unnest(befores) AS b) - span;
BEGIN
    RETURN QUERY
    SELECT pair.position::integer, history.events
    FROM unnest(entities, keys, befores) WITH ORDINALITY AS pair (entity, key, before, position)
    CROSS JOIN LATERAL (
        SELECT string_agg(
            timestamptz_send(event.occurred_at) || timestamptz_send(event.known_at) || event.payload
            || int2send(event.label),
            ''::bytea
        ) AS events
        FROM (
            SELECT e.occurred_at, e.known_at, e.payload, e.label
            FROM entity_events AS e
            WHERE e.layout = layout_id
              AND e.entity = pair.entity
              AND e.key = pair.key
              AND e.occurred_at < pair.before
              AND e.occurred_at >= pair.before - span
              -- Known before the first row, so that other months are not even opened.
              AND e.occurred_at < newest
              AND e.occurred_at >= oldest
            ORDER BY e.occurred_at DESC, e.id_hash DESC NULLS LAST
            LIMIT history_limit
        ) AS event
    ) AS history
    WHERE history.events IS NOT NULL;
END
$function$;
COMMENT ON FUNCTION read_entity_events(smallint, smallint[], bigint[], timestamptz[], interval, integer) IS
    'The newest events of each (entity, key) within span before a moment: one bytea a pair, newest first';
"""

PARTITIONS = """
CREATE FUNCTION ensure_entity_events_partitions(from_month date, months integer)
RETURNS SETOF text
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET lock_timeout = '2s'
AS $function$
DECLARE
    first_day date;
    partition_name text;
    attached boolean;
BEGIN
    IF from_month IS NULL OR NOT isfinite(from_month) OR months IS NULL OR months NOT BETWEEN 0 AND 120 THEN
        RAISE EXCEPTION 'from_month must be a date and months between 0 and 120, not % and %', from_month, months
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR month_offset IN 0 .. months - 1 LOOP
        first_day := (date_trunc('month', from_month::timestamp) + make_interval(months => month_offset))::date;
        partition_name := 'entity_events_' || to_char(first_day, 'YYYY_MM');
        -- As ensure_predictions_partitions: first without a lock, then again under the lock that ATTACH takes anyway.
        FOR attempt IN 1 .. 2 LOOP
            SELECT EXISTS (
                SELECT FROM pg_partition_ancestors(to_regclass(partition_name)) WHERE relid = 'entity_events'::regclass
            ) INTO attached;
            EXIT WHEN attached OR attempt = 2;
            LOCK TABLE entity_events IN SHARE UPDATE EXCLUSIVE MODE;
        END LOOP;
        CONTINUE WHEN attached;
        -- Vacuumed after every 2 % of new rows: only pages known to be all visible are read from the index alone.
        EXECUTE format(
            'CREATE TABLE %I (LIKE entity_events INCLUDING ALL) WITH '
            '(autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_vacuum_insert_threshold = 10000)',
            partition_name
        );
        EXECUTE format(
            'ALTER TABLE entity_events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            partition_name, first_day, (first_day + interval '1 month')::date
        );
        RETURN NEXT partition_name;
    END LOOP;
END
$function$;
COMMENT ON FUNCTION ensure_entity_events_partitions(date, integer) IS
    'Creates the missing monthly partitions of entity_events, UTC months from from_month on; returns their names';

CREATE FUNCTION drop_entity_events_partitions(before date)
RETURNS SETOF text
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET lock_timeout = '250ms'
AS $function$
DECLARE
    partition_name text;
BEGIN
    IF before IS NULL OR NOT isfinite(before) THEN
        RAISE EXCEPTION 'before must be a date, not %', before USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR partition_name IN
        SELECT relname
        FROM pg_partition_tree('entity_events') AS tree
        JOIN pg_class ON pg_class.oid = tree.relid
        WHERE tree.isleaf
          AND relname ~ '^entity_events_\\d{4,}_\\d\\d$'
          AND to_date(substring(relname FROM '\\d.*'), 'YYYY_MM') + interval '1 month' <= before
        ORDER BY relname
    LOOP
        -- Both need the table for themselves for a moment; readers would queue behind a longer wait for it.
        EXECUTE format('ALTER TABLE entity_events DETACH PARTITION %I', partition_name);
        EXECUTE format('DROP TABLE %I', partition_name);
        RETURN NEXT partition_name;
    END LOOP;
END
$function$;
COMMENT ON FUNCTION drop_entity_events_partitions(date) IS
    'Drops the partitions of entity_events that end on or before a date; returns their names. 55P03 when busy';
"""


def upgrade() -> None:
    limit_waiting()
    execute(TABLES)
    execute(READ)
    execute(PARTITIONS)


def downgrade() -> None:
    limit_waiting()
    execute("DROP FUNCTION drop_entity_events_partitions(date)")
    execute("DROP FUNCTION ensure_entity_events_partitions(date, integer)")
    execute("DROP FUNCTION read_entity_events(smallint, smallint[], bigint[], timestamptz[], interval, integer)")
    execute("DROP TABLE entity_events")
    execute("DROP TABLE history_layouts")
