-- name: register_layout
-- The id of a layout, given one the first time: its events bring the labels along that are known by then. Nothing is returned when somebody else took the id or made the layout
-- in this moment: ask again.
WITH known AS (
    SELECT id FROM history_layouts WHERE fingerprint = %(fingerprint)s
),
created AS (
    INSERT INTO history_layouts (id, fingerprint, columns, labels_told)
    SELECT
        (SELECT coalesce(max(id), 0) + 1 FROM history_layouts), %(fingerprint)s, %(columns)s::jsonb,
        (SELECT coalesce(max(id), 0) FROM prediction_labels)
    WHERE NOT EXISTS (SELECT FROM known)
    ON CONFLICT DO NOTHING
    RETURNING id
)
SELECT id FROM known
UNION ALL
SELECT id FROM created;

-- name: get_complete_until
-- Up to when a layout holds what was scored, whichever model scored it.
SELECT complete_until
FROM history_layouts
WHERE id = %(layout)s::smallint;

-- name: advance_complete_until
-- A layout holds more of what was scored; never less.
UPDATE history_layouts
SET complete_until = greatest(complete_until, %(until)s)
WHERE id = %(layout)s::smallint;

-- name: begin_complete_until
-- A layout has just got its first events, those of a dataset that ends at a moment.
UPDATE history_layouts
SET complete_until = %(until)s
WHERE id = %(layout)s::smallint
  AND complete_until IS NULL;

-- name: read_events
-- The newest events of every asked (entity, key) before its moment, one bytea for each that has any.
SELECT asked, events
FROM read_entity_events(
    %(layout)s::smallint, %(entities)b::smallint[], %(keys)b::bigint[], %(befores)b::timestamptz[],
    %(span)s::interval, %(history_limit)s::int
);

-- name: set_labels
-- What became known of events; each is found by its full key. OFFSET 0 keeps the planner from looking for all events of
-- the layout first: where it knows nothing of a new partition yet, it thinks that those are few.
UPDATE entity_events AS e
SET label = known.label, known_at = known.known_at
FROM (
    SELECT %(layout)s::smallint AS layout, told.*
    FROM unnest(
        %(entities)b::smallint[], %(keys)b::bigint[], %(occurred)b::timestamptz[], %(id_hashes)b::bigint[],
        %(labels)b::smallint[], %(known)b::timestamptz[]
    ) AS told (entity, key, occurred_at, id_hash, label, known_at)
    OFFSET 0
) AS known
WHERE e.layout = known.layout
  AND e.entity = known.entity
  AND e.key = known.key
  AND e.occurred_at = known.occurred_at
  AND e.id_hash = known.id_hash
  AND (e.label, e.known_at) IS DISTINCT FROM (known.label, known.known_at);

-- name: take_label_turn
-- Labels are recorded, and told to history, by one transaction at a time; until it ends. Its rows are found one by one
-- by their full keys, each in the one partition that its time tells: the planner, which does not count on that, would
-- rather read every partition and hash.
SELECT
    pg_advisory_xact_lock(7311842028),
    set_config('enable_hashjoin', 'off', true),
    set_config('enable_mergejoin', 'off', true);

-- name: get_labels_told
-- Up to which label a layout's events know them.
SELECT labels_told
FROM history_layouts
WHERE id = %(layout)s::smallint;

-- name: list_following
-- Those of some layouts whose events know every label so far.
SELECT id
FROM history_layouts
WHERE id = ANY(%(layouts)s::smallint[])
  AND labels_told >= (SELECT coalesce(max(id), 0) FROM prediction_labels);

-- name: advance_labels_told
-- The events of layouts know the labels up to one, or all there are; never fewer than before.
UPDATE history_layouts
SET labels_told = greatest(
    labels_told, coalesce(%(until)s::bigint, (SELECT max(id) FROM prediction_labels), 0)
)
WHERE id = ANY(%(layouts)s::smallint[]);

-- name: copy_events
-- Store a chunk of a backfill; the order of the columns is that of the records.
COPY entity_events (key, occurred_at, id_hash, known_at, layout, entity, label, payload) FROM STDIN (FORMAT binary);

-- name: merge_events
-- Store events of which some are there already. Of duplicates the first counts; a label that was unknown is taken over.
INSERT INTO entity_events AS e (layout, entity, key, occurred_at, id_hash, known_at, label, payload)
SELECT DISTINCT ON (entity, key, occurred_at, id_hash)
    %(layout)s::smallint, entity, key, occurred_at, id_hash, coalesce(known_at, 'infinity'), label, payload
FROM unnest(
    %(entities)b::smallint[], %(keys)b::bigint[], %(occurred)b::timestamptz[], %(id_hashes)b::bigint[],
    %(known)b::timestamptz[], %(labels)b::smallint[], %(payloads)b::bytea[]
) WITH ORDINALITY AS event (entity, key, occurred_at, id_hash, known_at, label, payload, place)
ORDER BY entity, key, occurred_at, id_hash, place
ON CONFLICT (layout, entity, key, occurred_at, id_hash) DO UPDATE
SET label = excluded.label, known_at = excluded.known_at
WHERE e.label = -1 AND excluded.label <> -1;

-- name: ensure_partitions
-- Make the missing partitions of some months.
SELECT ensure_entity_events_partitions((%(first_month)s::timestamptz AT TIME ZONE 'UTC')::date, %(months)s::int);

-- name: drop_partitions
-- Drop the months that end on or before a moment; returns their names.
SELECT drop_entity_events_partitions((%(before)s::timestamptz AT TIME ZONE 'UTC')::date) AS name;
