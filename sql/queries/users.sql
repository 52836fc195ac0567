-- name: get_user_by_subject
-- The user with this subject of the identity provider.
SELECT id, azure_ad_id, email, display_name, role, is_active, created_at, last_login_at
FROM users
WHERE azure_ad_id = %(subject)s;

-- name: get_user
-- One user by id.
SELECT id, azure_ad_id, email, display_name, role, is_active, created_at, last_login_at
FROM users
WHERE id = %(user_id)s;

-- name: get_user_for_update
-- One user by id, locked until the transaction ends.
SELECT id, azure_ad_id, email, display_name, role, is_active, created_at, last_login_at
FROM users
WHERE id = %(user_id)s
FOR UPDATE;

-- name: insert_user
-- A first sign-in; returns nothing when another request created the user meanwhile.
INSERT INTO users (azure_ad_id, email, display_name, role, last_login_at)
VALUES (%(subject)s, %(email)s, %(display_name)s, %(role)s, %(now)s)
ON CONFLICT (azure_ad_id) DO NOTHING
RETURNING id, azure_ad_id, email, display_name, role, is_active, created_at, last_login_at;

-- name: touch_login
-- Keep the time of the latest sign-in; never moves backwards.
UPDATE users
SET last_login_at = GREATEST(last_login_at, %(at)s)
WHERE id = %(user_id)s;

-- name: take_turn
-- Changes of roles and activity take turns until the transaction ends. Row locks would not do: a transaction that waited
-- for the row of an administrator who is none any more keeps that lock, and two such changes can wait for each other.
SELECT pg_advisory_xact_lock(7311842028);

-- name: list_active_admins
-- The active administrators.
SELECT id
FROM users
WHERE role = 'admin' AND is_active;

-- name: update_user
-- Change role and activity.
UPDATE users
SET role = %(role)s, is_active = %(is_active)s
WHERE id = %(user_id)s
RETURNING id, azure_ad_id, email, display_name, role, is_active, created_at, last_login_at;

-- name: list_users
-- One page of users. The ids are found first, in an index.
SELECT u.id, azure_ad_id, email, display_name, role, is_active, created_at, last_login_at
FROM (
    SELECT u.id
    FROM users AS u
    WHERE (%(role)s::text IS NULL OR u.role = %(role)s)
      AND (%(is_active)s::boolean IS NULL OR u.is_active = %(is_active)s)
      AND (%(search)s::text IS NULL OR strpos(lower(u.email || ' ' || coalesce(u.display_name, '')), lower(%(search)s)) > 0)
    ORDER BY {order}
    LIMIT %(limit)s OFFSET %(offset)s
) AS page
JOIN users AS u ON u.id = page.id
ORDER BY {order};

-- name: count_users
-- How many users the same filters leave.
SELECT count(*) AS total
FROM users AS u
WHERE (%(role)s::text IS NULL OR u.role = %(role)s)
  AND (%(is_active)s::boolean IS NULL OR u.is_active = %(is_active)s)
  AND (%(search)s::text IS NULL OR strpos(lower(u.email || ' ' || coalesce(u.display_name, '')), lower(%(search)s)) > 0);
