"""ensure_predictions_partitions.

Reason: there is no default partition, so a month without a partition refuses predictions. A timer makes partitions
ahead, and the scoring path makes a missing one on demand: both call this function. It runs with its owner's rights, so
the application's role needs none on the table's definition.
"""

from __future__ import annotations

from sql.migrations.statements import execute, limit_waiting

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


FUNCTION = """
CREATE FUNCTION ensure_predictions_partitions(from_month date, months integer)
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
COMMENT ON FUNCTION ensure_predictions_partitions(date, integer) IS
    'Creates the missing monthly partitions of predictions, UTC months from from_month on; returns their names';
"""


def upgrade() -> None:
    limit_waiting()
    execute(FUNCTION)


def downgrade() -> None:
    limit_waiting()
    execute("DROP FUNCTION ensure_predictions_partitions(date, integer)")
