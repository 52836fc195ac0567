-- name: insert_dataset
-- A dataset whose file and profile are complete.
INSERT INTO datasets (
    id, name, description, version, storage_path, file_format, file_size_bytes,
    row_count, column_count, schema, statistics, status, created_by
)
VALUES (
    %(id)s, %(name)s, %(description)s, %(version)s, %(storage_path)s, %(file_format)s, %(file_size_bytes)s,
    %(row_count)s, %(column_count)s, %(schema)s, %(statistics)s, 'ACTIVE', %(created_by)s
)
RETURNING *;

-- name: get_dataset
-- One dataset by id.
SELECT *
FROM datasets
WHERE id = %(dataset_id)s;

-- name: list_datasets
-- One page of datasets, newest first, optionally those whose name contains a text.
SELECT *
FROM datasets
WHERE (%(name)s::text IS NULL OR name ILIKE '%%' || %(name)s || '%%')
  AND (%(status)s::text IS NULL OR status = %(status)s)
ORDER BY created_at DESC, id
LIMIT %(limit)s OFFSET %(offset)s;

-- name: count_datasets
-- How many datasets the same filters leave.
SELECT count(*) AS total
FROM datasets
WHERE (%(name)s::text IS NULL OR name ILIKE '%%' || %(name)s || '%%')
  AND (%(status)s::text IS NULL OR status = %(status)s);
