-- name: insert_dataset
-- A dataset whose file and profile are complete.
INSERT INTO datasets (
    id, name, description, version, storage_path, file_format, file_size_bytes,
    row_count, column_count, schema, statistics, quality, status, parent_id, created_by
)
VALUES (
    %(id)s, %(name)s, %(description)s, %(version)s, %(storage_path)s, %(file_format)s, %(file_size_bytes)s,
    %(row_count)s, %(column_count)s, %(schema)s, %(statistics)s, %(quality)s, 'ACTIVE', %(parent_id)s, %(created_by)s
)
RETURNING *;

-- name: get_dataset
-- One dataset by id.
SELECT *
FROM datasets
WHERE id = %(dataset_id)s;

-- name: lock_dataset
-- One dataset by id; until the transaction ends nothing can be made from it, and nobody else changes it.
SELECT *
FROM datasets
WHERE id = %(dataset_id)s
FOR UPDATE;

-- name: lock_line
-- The first version of a dataset's line; whoever changes the line holds it until the transaction ends.
SELECT id
FROM datasets
WHERE id = (
    WITH RECURSIVE line AS (
        SELECT id, parent_id
        FROM datasets
        WHERE id = %(dataset_id)s
        UNION ALL
        SELECT d.id, d.parent_id
        FROM line
        JOIN datasets AS d ON d.id = line.parent_id
    )
    SELECT id
    FROM line
    WHERE parent_id IS NULL
)
FOR NO KEY UPDATE;

-- name: list_line
-- Id and number of every version that descends from the first one, the last of the line first.
WITH RECURSIVE line AS (
    SELECT id, version, created_at, 1 AS place
    FROM datasets
    WHERE id = %(root_id)s
    UNION ALL
    SELECT d.id, d.version, d.created_at, line.place + 1
    FROM line
    JOIN datasets AS d ON d.parent_id = line.id
)
SELECT id, version
FROM line
ORDER BY place DESC, created_at DESC, id DESC;

-- name: list_versions
-- One page of the versions of a dataset's line, newest first, each with the columns of the version it was made from.
WITH RECURSIVE ancestors AS (
    SELECT id, parent_id
    FROM datasets
    WHERE id = %(dataset_id)s
    UNION ALL
    SELECT d.id, d.parent_id
    FROM ancestors
    JOIN datasets AS d ON d.id = ancestors.parent_id
),
line AS (
    SELECT id, created_at, 1 AS place
    FROM datasets
    WHERE id = (SELECT id FROM ancestors WHERE parent_id IS NULL)
    UNION ALL
    SELECT d.id, d.created_at, line.place + 1
    FROM line
    JOIN datasets AS d ON d.parent_id = line.id
),
page AS (
    SELECT id, created_at, place, count(*) OVER () AS total
    FROM line
    ORDER BY place DESC, created_at DESC, id DESC
    LIMIT %(limit)s OFFSET %(offset)s
)
SELECT d.id, d.name, d.description, d.version, d.storage_path, d.file_format, d.file_size_bytes, d.row_count,
       d.column_count, d.status, d.parent_id, d.created_by, d.created_at, d.updated_at, d.schema,
       parent.schema AS parent_schema, page.total
FROM page
JOIN datasets AS d ON d.id = page.id
LEFT JOIN datasets AS parent ON parent.id = d.parent_id
ORDER BY page.place DESC, page.created_at DESC, page.id DESC;

-- name: set_status
-- Archive or restore.
UPDATE datasets
SET status = %(status)s, updated_at = %(now)s
WHERE id = %(dataset_id)s
RETURNING *;

-- name: delete_dataset
-- Only where nothing was made from it: feature sets would go along.
DELETE FROM datasets
WHERE id = %(dataset_id)s;

-- name: list_dependents
-- What was made from a dataset, a page of it, and how much there is.
SELECT kind, id, name, count(*) OVER () AS total
FROM (
    SELECT 'version' AS kind, id, name || ' ' || version AS name, created_at
    FROM datasets
    WHERE parent_id = %(dataset_id)s
    UNION ALL
    SELECT 'feature_set', id, name, created_at
    FROM feature_sets
    WHERE dataset_id = %(dataset_id)s
) AS made
ORDER BY kind DESC, created_at DESC, id
LIMIT %(limit)s;

-- name: list_existing
-- Which of these datasets exist.
SELECT id
FROM datasets
WHERE id = ANY(%(ids)s);

-- name: prefer_indexes
-- Until the transaction ends. The planner reckons a search of words that many datasets have cheap without the index of
-- words, because it does not know what making them anew for every row costs.
SELECT set_config('enable_seqscan', 'off', true);

-- name: list_datasets
-- One page of the catalogue. The page is found in an index alone, unless words are searched for; the same expression
-- is indexed by idx_datasets_words. The status is wrapped so that its own index, which hardly narrows anything down, is
-- not preferred to those.
SELECT d.id, d.name, d.description, d.version, d.storage_path, d.file_format, d.file_size_bytes, d.row_count,
       d.column_count, d.status, d.parent_id, d.created_by, d.created_at, d.updated_at
FROM (
    SELECT d.id
    FROM datasets AS d
    WHERE coalesce(d.status, '') = ANY(%(statuses)s)
      AND (%(name)s::text IS NULL OR strpos(lower(d.name COLLATE "C"), lower(%(name)s COLLATE "C")) > 0)
      AND (%(created_by)s::uuid IS NULL OR d.created_by = %(created_by)s)
      AND (%(min_rows)s::bigint IS NULL OR d.row_count >= %(min_rows)s)
      AND (%(max_rows)s::bigint IS NULL OR d.row_count <= %(max_rows)s)
      AND (%(created_since)s::timestamptz IS NULL OR d.created_at >= %(created_since)s)
      AND (%(created_until)s::timestamptz IS NULL OR d.created_at < %(created_until)s)
      AND (
          %(search)s::text IS NULL
          OR to_tsvector('simple', regexp_replace(lower(
              d.name || ' ' || coalesce(d.description, '') || ' '
              || coalesce(jsonb_path_query_array(d.schema, '$.columns[*].name')::text, '')
          ), '[^[:alnum:]]+', ' ', 'g'))
          @@ to_tsquery('simple', replace(
              nullif(btrim(regexp_replace(lower(%(search)s), '[^[:alnum:]]+', ' ', 'g')), ''), ' ', ':* & '
          ) || ':*')
      )
    ORDER BY {order}
    LIMIT %(limit)s OFFSET %(offset)s
) AS page
JOIN datasets AS d ON d.id = page.id
ORDER BY {order};

-- name: count_datasets
-- How many datasets the same filters leave.
SELECT count(*) AS total
FROM datasets AS d
WHERE coalesce(d.status, '') = ANY(%(statuses)s)
  AND (%(name)s::text IS NULL OR strpos(lower(d.name COLLATE "C"), lower(%(name)s COLLATE "C")) > 0)
  AND (%(created_by)s::uuid IS NULL OR d.created_by = %(created_by)s)
  AND (%(min_rows)s::bigint IS NULL OR d.row_count >= %(min_rows)s)
  AND (%(max_rows)s::bigint IS NULL OR d.row_count <= %(max_rows)s)
  AND (%(created_since)s::timestamptz IS NULL OR d.created_at >= %(created_since)s)
  AND (%(created_until)s::timestamptz IS NULL OR d.created_at < %(created_until)s)
  AND (
      %(search)s::text IS NULL
      OR to_tsvector('simple', regexp_replace(lower(
          d.name || ' ' || coalesce(d.description, '') || ' '
          || coalesce(jsonb_path_query_array(d.schema, '$.columns[*].name')::text, '')
      ), '[^[:alnum:]]+', ' ', 'g'))
      @@ to_tsquery('simple', replace(
          nullif(btrim(regexp_replace(lower(%(search)s), '[^[:alnum:]]+', ' ', 'g')), ''), ' ', ':* & '
      ) || ':*')
  );
