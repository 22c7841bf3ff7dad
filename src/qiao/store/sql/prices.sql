-- Price lists: what the platform's operator charges a merchant.

-- name: prices_now
-- $2 live, $3 whose prices are the default. The newest list of both.
SELECT
  (SELECT to_jsonb(v) FROM price_version v WHERE v.merchant_id = $1 AND v.live = $2
   ORDER BY v.version DESC LIMIT 1) AS own,
  (SELECT to_jsonb(v) FROM price_version v WHERE v.merchant_id = $3 AND v.live = $2
   ORDER BY v.version DESC LIMIT 1) AS platform;

-- name: put_prices
-- $6: the version that it is to replace; no row comes back when another one is the newest.
WITH newest AS (
  SELECT coalesce(max(version), 0) AS version FROM price_version
  WHERE merchant_id = $1 AND live = $2
)
INSERT INTO price_version (merchant_id, live, version, prices, note, created_at)
SELECT $1, $2, newest.version + 1, $3, $4, $5 FROM newest
WHERE $6::integer IS NULL OR newest.version = $6
ON CONFLICT DO NOTHING
RETURNING *;

-- name: price_versions
SELECT * FROM price_version WHERE merchant_id = $1 AND live = $2 ORDER BY version DESC LIMIT $3;
