-- name: insert_feature_set
-- A requested feature set with its complete configuration.
INSERT INTO feature_sets (
    id, dataset_id, name, description, config, plan_given, plan_of, status, progress, storage_path, orchestration_id,
    created_by, created_at
)
VALUES (
    %(id)s, %(dataset_id)s, %(name)s, %(description)s, %(config)s, %(plan_given)s, %(plan_of)s, 'PENDING',
    %(progress)s, %(storage_path)s, %(orchestration_id)s, %(created_by)s, %(now)s
)
RETURNING *;

-- name: get_feature_set
-- One feature set with all its documents.
SELECT *
FROM feature_sets
WHERE id = %(feature_set_id)s;

-- name: lock_feature_set
-- One feature set, held against other writers until the transaction ends.
SELECT *
FROM feature_sets
WHERE id = %(feature_set_id)s
FOR UPDATE;

-- name: list_feature_sets
-- One page without the large documents. The ids are found first, in an index.
SELECT
    fs.id, dataset_id, name, description, status, storage_path, input_rows, feature_count, selected_feature_count,
    error_message, processing_time_seconds, progress, content_hash, plan_given, plan_of, orchestration_id, created_by,
    created_at, completed_at
FROM (
    SELECT fs.id
    FROM feature_sets AS fs
    WHERE (%(status)s::text IS NULL OR fs.status = %(status)s)
      AND (%(dataset_id)s::uuid IS NULL OR fs.dataset_id = %(dataset_id)s)
      AND (%(name)s::text IS NULL OR strpos(lower(fs.name), lower(%(name)s)) > 0)
      AND (%(created_by)s::uuid IS NULL OR fs.created_by = %(created_by)s)
    ORDER BY {order}
    LIMIT %(limit)s OFFSET %(offset)s
) AS page
JOIN feature_sets AS fs ON fs.id = page.id
ORDER BY {order};

-- name: count_feature_sets
-- How many feature sets the same filters leave.
SELECT count(*) AS total
FROM feature_sets AS fs
WHERE (%(status)s::text IS NULL OR fs.status = %(status)s)
  AND (%(dataset_id)s::uuid IS NULL OR fs.dataset_id = %(dataset_id)s)
  AND (%(name)s::text IS NULL OR strpos(lower(fs.name), lower(%(name)s)) > 0)
  AND (%(created_by)s::uuid IS NULL OR fs.created_by = %(created_by)s);

-- name: get_source_dataset
-- What feature engineering reads of a dataset.
SELECT id, name, version, storage_path, status, row_count, schema, statistics
FROM datasets
WHERE id = %(dataset_id)s;

-- name: hold_source_dataset
-- The dataset's status, which cannot change, as the dataset cannot be removed, until the transaction ends.
SELECT status
FROM datasets
WHERE id = %(dataset_id)s
FOR SHARE;

-- name: update_progress
-- Progress of a feature set that has not ended; it is PROCESSING from its first stage on.
UPDATE feature_sets
SET status = 'PROCESSING', progress = %(progress)s, input_rows = coalesce(%(input_rows)s, input_rows)
WHERE id = %(feature_set_id)s AND status IN ('PENDING', 'PROCESSING')
RETURNING *;

-- name: complete_feature_set
-- The results of a feature set that was being computed.
UPDATE feature_sets
SET status = 'COMPLETED',
    progress = %(progress)s,
    all_features = %(all_features)s,
    selected_features = %(selected_features)s,
    selection_report = %(selection_report)s,
    feature_count = %(feature_count)s,
    selected_feature_count = %(selected_feature_count)s,
    content_hash = %(content_hash)s,
    processing_time_seconds = ceil(extract(epoch FROM %(now)s - created_at)),
    completed_at = %(now)s
WHERE id = %(feature_set_id)s AND status = 'PROCESSING'
RETURNING *;

-- name: fail_feature_set
-- The end of a feature set that could not be computed.
UPDATE feature_sets
SET status = 'FAILED',
    progress = %(progress)s,
    error_message = %(error_message)s,
    processing_time_seconds = ceil(extract(epoch FROM %(now)s - created_at)),
    completed_at = %(now)s
WHERE id = %(feature_set_id)s AND status IN ('PENDING', 'PROCESSING')
RETURNING *;

-- name: list_unfinished_feature_sets
-- Feature sets that were asked for before a time and have not ended.
SELECT id, orchestration_id
FROM feature_sets
WHERE status IN ('PENDING', 'PROCESSING') AND created_at < %(before)s AND orchestration_id IS NOT NULL
ORDER BY created_at;
