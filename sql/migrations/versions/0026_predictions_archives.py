"""predictions_archives, and what archiving a month of predictions needs of the database.

Reason: months past their retention become Parquet in Blob and leave the database. The app's role owns no table, so what
it may do to a month is a function with its owner's rights, and the functions hold the rule that matters: a month is
dropped only while it is exactly what was exported and verified, which the database itself finds out in the transaction
that drops it.

digest_predictions_month adds up a hash of each row, whatever their order: a late row, a changed one and a missing one
all give another number. Both it and reading a month work while the month is attached and after it was detached.
"""

from __future__ import annotations

from sql.migrations.statements import execute, limit_waiting

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


TABLE = """
CREATE TABLE predictions_archives (
    month date NOT NULL,
    state varchar(20) NOT NULL,
    predictions bigint NOT NULL,
    labels bigint NOT NULL,
    digest text NOT NULL,
    parts jsonb NOT NULL DEFAULT '[]',
    manifest_sha256 text,
    started_at timestamptz NOT NULL DEFAULT now(),
    verified_at timestamptz,
    archived_at timestamptz,
    restored_at timestamptz,
    kept_until timestamptz,
    CONSTRAINT predictions_archives_pkey PRIMARY KEY (month),
    CONSTRAINT predictions_archives_month_check CHECK (extract(day FROM month) = 1),
    CONSTRAINT predictions_archives_state_check
        CHECK (state IN ('EXPORTING', 'VERIFIED', 'ARCHIVED', 'RESTORING', 'RESTORED')),
    CONSTRAINT predictions_archives_manifest_check CHECK (state = 'EXPORTING' OR manifest_sha256 IS NOT NULL)
);
COMMENT ON TABLE predictions_archives IS 'Months of predictions that are in Blob, or on their way there or back';
COMMENT ON COLUMN predictions_archives.digest IS 'digest_predictions_month when the export began';
COMMENT ON COLUMN predictions_archives.parts IS 'The files written so far: kind, path, rows, bytes, sha256 and bounds';
COMMENT ON COLUMN predictions_archives.kept_until IS 'A restored month stays in the database until then'
"""

STATE = """
CREATE FUNCTION predictions_month_state(month date)
RETURNS text
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $function$
SELECT CASE
    WHEN to_regclass('predictions_' || to_char(month, 'YYYY_MM')) IS NULL THEN 'missing'
    ELSE coalesce((
        SELECT CASE WHEN inhdetachpending THEN 'detaching' ELSE 'attached' END
        FROM pg_inherits
        WHERE inhrelid = to_regclass('predictions_' || to_char(month, 'YYYY_MM'))
          AND inhparent = 'predictions'::regclass
    ), 'detached')
END
$function$;
COMMENT ON FUNCTION predictions_month_state(date) IS
    'Whether the partition of a month is attached, detaching (an interrupted DETACH CONCURRENTLY), detached or missing'
"""

READ = """
CREATE FUNCTION read_predictions_month(month date, after uuid, row_limit integer)
RETURNS SETOF predictions
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = public, pg_temp
AS $function$
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT * FROM %I WHERE id > $1 ORDER BY id LIMIT $2', 'predictions_' || to_char(month, 'YYYY_MM')
    ) USING after, row_limit;
END
$function$;
COMMENT ON FUNCTION read_predictions_month(date, uuid, integer) IS
    'Rows of a month behind an id, in order of ids; whether the month is attached or not'
"""

DIGEST = """
CREATE FUNCTION digest_predictions_month(month date, OUT predictions bigint, OUT labels bigint, OUT digest text)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
SET extra_float_digits = 1
SET bytea_output = 'hex'
AS $function$
DECLARE
    of_predictions numeric;
    of_labels numeric;
BEGIN
    EXECUTE format(
        'SELECT count(*), coalesce(sum(hashtextextended(p::text, 0)), 0) FROM %I AS p',
        'predictions_' || to_char(month, 'YYYY_MM')
    ) INTO predictions, of_predictions;
    SELECT count(*), coalesce(sum(hashtextextended(l::text, 0)), 0)
    INTO labels, of_labels
    FROM prediction_labels AS l
    WHERE prediction_created_at >= month::timestamp AT TIME ZONE 'UTC'
      AND prediction_created_at < (month + interval '1 month') AT TIME ZONE 'UTC';
    digest := of_predictions || '/' || of_labels;
END
$function$;
COMMENT ON FUNCTION digest_predictions_month(date) IS
    'How many predictions and labels a month has, and a number that changes with any of them'
"""

DETACH = """
CREATE FUNCTION detach_predictions_month(month date)
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET lock_timeout = '250ms'
AS $function$
DECLARE
    partition_name text := 'predictions_' || to_char(month, 'YYYY_MM');
BEGIN
    IF NOT EXISTS (SELECT FROM predictions_archives AS a WHERE a.month = $1 AND a.state = 'VERIFIED') THEN
        RAISE EXCEPTION 'the archive of % is not verified', month USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    CASE predictions_month_state(month)
        -- Needs the table for itself for a moment; others would queue behind a longer wait for it.
        WHEN 'attached' THEN EXECUTE format('ALTER TABLE predictions DETACH PARTITION %I', partition_name);
        WHEN 'detaching' THEN EXECUTE format('ALTER TABLE predictions DETACH PARTITION %I FINALIZE', partition_name);
        ELSE NULL;
    END CASE;
END
$function$;
COMMENT ON FUNCTION detach_predictions_month(date) IS
    'Detaches a verified month for any role, or finishes an interrupted DETACH CONCURRENTLY. 55P03 when busy'
"""

DROP = """
CREATE FUNCTION drop_predictions_month(month date)
RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET lock_timeout = '2s'
AS $function$
DECLARE
    partition_name text := 'predictions_' || to_char(month, 'YYYY_MM');
    archive predictions_archives;
BEGIN
    SELECT * INTO archive FROM predictions_archives AS a WHERE a.month = $1 FOR UPDATE;
    IF archive.state IS DISTINCT FROM 'VERIFIED' OR predictions_month_state(month) <> 'detached' THEN
        RAISE EXCEPTION 'the month % is not both verified and detached', month
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    -- Nobody finds a detached month, to label it or to add to it; should somebody write to its table, not from here on.
    EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', partition_name);
    IF (SELECT d.digest FROM digest_predictions_month(month) AS d) <> archive.digest THEN
        RETURN false;
    END IF;
    DELETE FROM prediction_labels
    WHERE prediction_created_at >= month::timestamp AT TIME ZONE 'UTC'
      AND prediction_created_at < (month + interval '1 month') AT TIME ZONE 'UTC';
    EXECUTE format('DROP TABLE %I', partition_name);
    UPDATE predictions_archives AS a SET state = 'ARCHIVED', archived_at = now(), kept_until = NULL WHERE a.month = $1;
    RETURN true;
END
$function$;
COMMENT ON FUNCTION drop_predictions_month(date) IS
    'Drops a detached month and its labels if they are what was verified; false, and nothing dropped, if they are not'
"""

# As in 0009, and a month that is archived is not made anew: rows that came late would be in no archive.
_REFUSAL = """\
        IF EXISTS (SELECT FROM predictions_archives WHERE month = first_day AND state IN ('ARCHIVED', 'RESTORING')) THEN
            RAISE EXCEPTION 'the predictions of % are archived', to_char(first_day, 'YYYY-MM')
                USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Restore the month first.';
        END IF;
"""

ENSURE = """
CREATE OR REPLACE FUNCTION ensure_predictions_partitions(from_month date, months integer)
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
        partition_name := 'predictions_' || to_char(first_day, 'YYYY_MM');
        -- First without a lock: the usual call finds everything there. Then again under the lock ATTACH takes anyway;
        -- getting it also brings this session's view of the catalogue up to date, whatever its isolation level.
        FOR attempt IN 1 .. 2 LOOP
            SELECT EXISTS (
                SELECT FROM pg_partition_ancestors(to_regclass(partition_name)) WHERE relid = 'predictions'::regclass
            ) INTO attached;
            EXIT WHEN attached OR attempt = 2;
            LOCK TABLE predictions IN SHARE UPDATE EXCLUSIVE MODE;
        END LOOP;
        CONTINUE WHEN attached;
        IF EXISTS (SELECT FROM predictions_archives WHERE month = first_day AND state IN ('ARCHIVED', 'RESTORING')) THEN
            RAISE EXCEPTION 'the predictions of % are archived', to_char(first_day, 'YYYY-MM')
                USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Restore the month first.';
        END IF;
        IF to_regclass(partition_name) IS NOT NULL THEN
            RAISE EXCEPTION 'table % exists and is not attached to predictions', partition_name
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      HINT = 'It is being archived, or was left over by hand: drop it or attach it.';
        END IF;
        -- ATTACH locks predictions against other schema changes only, readers and writers go on;
        -- CREATE TABLE ... PARTITION OF would stop them all.
        EXECUTE format('CREATE TABLE %I (LIKE predictions INCLUDING ALL)', partition_name);
        EXECUTE format(
            'ALTER TABLE predictions ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            partition_name, first_day, (first_day + interval '1 month')::date
        );
        RETURN NEXT partition_name;
    END LOOP;
END
$function$;
"""

ENSURE_BEFORE = ENSURE.replace(_REFUSAL, "")

FUNCTIONS = {
    "predictions_month_state(date)": STATE,
    "read_predictions_month(date, uuid, integer)": READ,
    "digest_predictions_month(date)": DIGEST,
    "detach_predictions_month(date)": DETACH,
    "drop_predictions_month(date)": DROP,
}


def upgrade() -> None:
    limit_waiting()
    execute(TABLE)
    for definition in FUNCTIONS.values():
        execute(definition)
    execute(ENSURE)


def downgrade() -> None:
    limit_waiting()
    for name in reversed(FUNCTIONS):
        execute(f"DROP FUNCTION {name}")
    execute(ENSURE_BEFORE)
    execute("DROP TABLE predictions_archives")
