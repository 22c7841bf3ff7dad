-- Organisations, merchants and apps: who is paid, and whether they take new payments.

-- name: add_organisation
INSERT INTO organisation (organisation_id, name) VALUES ($1, $2) RETURNING *;

-- name: organisations
SELECT * FROM organisation ORDER BY organisation_id;

-- name: organisation
SELECT * FROM organisation WHERE organisation_id = $1;

-- name: change_organisation
WITH before AS (SELECT * FROM organisation WHERE organisation_id = $1 FOR UPDATE)
UPDATE organisation o SET name = coalesce($2, o.name), status = coalesce($3, o.status)
FROM before WHERE o.organisation_id = before.organisation_id
RETURNING o.*, o.name <> before.name AS new_name, o.status <> before.status AS new_status;

-- name: merchants
SELECT * FROM merchant WHERE $1::text IS NULL OR organisation_id = $1 ORDER BY merchant_id;

-- name: merchant
SELECT * FROM merchant WHERE merchant_id = $1;

-- name: change_merchant
WITH before AS (SELECT * FROM merchant WHERE merchant_id = $1 FOR UPDATE)
UPDATE merchant m
SET name = coalesce($2, m.name), status = coalesce($3, m.status),
    organisation_id = coalesce($4, m.organisation_id)
FROM before WHERE m.merchant_id = before.merchant_id
RETURNING m.*, m.name <> before.name AS new_name, m.status <> before.status AS new_status,
          m.organisation_id IS DISTINCT FROM before.organisation_id AS new_organisation_id;

-- name: add_app
INSERT INTO app (merchant_id, app_id, name) VALUES ($1, $2, $3) RETURNING *;

-- name: apps
SELECT * FROM app WHERE merchant_id = $1 ORDER BY app_id;

-- name: app
SELECT * FROM app WHERE merchant_id = $1 AND app_id = $2;

-- name: change_app
WITH before AS (SELECT * FROM app WHERE merchant_id = $1 AND app_id = $2 FOR UPDATE)
UPDATE app a SET name = coalesce($3, a.name), status = coalesce($4, a.status)
FROM before WHERE a.merchant_id = before.merchant_id AND a.app_id = before.app_id
RETURNING a.*, a.name <> before.name AS new_name, a.status <> before.status AS new_status;

-- name: statuses
SELECT m.status AS merchant, o.status AS organisation, a.status AS app
FROM merchant m
LEFT JOIN organisation o ON o.organisation_id = m.organisation_id
LEFT JOIN app a ON a.merchant_id = m.merchant_id AND a.app_id = $2
WHERE m.merchant_id = $1;
