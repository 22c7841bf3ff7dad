-- Limits of payments. They are checked and counted by take_limits, in the database.

-- name: put_limit
-- A time zone that PostgreSQL does not know is refused here, and not when somebody wants to pay.
INSERT INTO payment_limit (merchant_id, limit_id, live, app_id, channel, currency, kind, maximum,
                           time_zone)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9 WHERE (now() AT TIME ZONE $9) IS NOT NULL
ON CONFLICT (merchant_id, live, currency, kind, coalesce(app_id, ''), coalesce(channel, ''))
DO UPDATE SET maximum = excluded.maximum, time_zone = excluded.time_zone, updated_at = now()
RETURNING *, 0::bigint AS used_today;

-- name: limits
SELECT l.*, coalesce(u.used, 0) AS used_today FROM payment_limit l
LEFT JOIN limit_use u ON u.merchant_id = l.merchant_id AND u.limit_id = l.limit_id
  AND u.day = (now() AT TIME ZONE l.time_zone)::date
WHERE l.merchant_id = $1 ORDER BY l.limit_id;

-- name: remove_limit
DELETE FROM payment_limit WHERE merchant_id = $1 AND limit_id = $2 RETURNING live;
