-- Routing: rules, the health of accounts, and what is measured of them.

-- name: routing_now
-- $2 live, $3 whose rules are the default. The newest rules of both, health and statistics.
SELECT
  (SELECT to_jsonb(v) FROM routing_version v WHERE v.merchant_id = $1 AND v.live = $2
   ORDER BY v.version DESC LIMIT 1) AS own,
  (SELECT to_jsonb(v) FROM routing_version v WHERE v.merchant_id = $3 AND v.live = $2
   ORDER BY v.version DESC LIMIT 1) AS platform,
  (SELECT coalesce(jsonb_agg(h), '[]') FROM account_health h WHERE h.merchant_id = $1) AS health,
  -- Older ones are of attempts that no window holds any more.
  (SELECT coalesce(jsonb_agg(s), '[]') FROM account_statistics s
   WHERE s.merchant_id = $1 AND s.measured_at > now() - interval '15 minutes') AS statistics;

-- name: put_routing
-- $6: the version that it is to replace; no row comes back when another one is the newest.
WITH newest AS (
  SELECT coalesce(max(version), 0) AS version FROM routing_version
  WHERE merchant_id = $1 AND live = $2
)
INSERT INTO routing_version (merchant_id, live, version, rules, note, created_at)
SELECT $1, $2, newest.version + 1, $3, $4, $5 FROM newest
WHERE $6::integer IS NULL OR newest.version = $6
ON CONFLICT DO NOTHING
RETURNING *;

-- name: routing_versions
SELECT * FROM routing_version
WHERE merchant_id = $1 AND live = $2 AND ($3::integer IS NULL OR version < $3)
ORDER BY version DESC LIMIT $4;

-- name: health_of_accounts
-- With every account that is enabled, also those of which nothing is known yet.
SELECT a.account_id, a.live, h.state, h.changed_at, h.open_until, h.openings, h.reason
FROM channel_account a
LEFT JOIN account_health h ON h.merchant_id = a.merchant_id AND h.account_id = a.account_id
WHERE a.merchant_id = $1 AND a.enabled ORDER BY a.account_id;

-- name: troubles
-- Attempts since an id (an id tells its time), of each account since its health last changed.
SELECT a.account_id, count(*) AS attempts,
  count(*) FILTER (WHERE a.state = 'not_sent' OR a.lost_at IS NOT NULL) AS troubles
FROM attempt a
LEFT JOIN account_health h ON h.merchant_id = a.merchant_id AND h.account_id = a.account_id
WHERE a.merchant_id = $1 AND a.attempt_id >= $2 AND a.state NOT IN ('created', 'sending')
  AND (h.changed_at IS NULL OR a.sent_at > h.changed_at)
GROUP BY a.account_id;

-- name: put_health
-- $8: when it last changed; no row comes back when somebody else has changed it meanwhile.
INSERT INTO account_health AS h (merchant_id, account_id, state, changed_at, open_until, openings,
                                 reason)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (merchant_id, account_id) DO UPDATE
SET state = excluded.state, changed_at = excluded.changed_at, open_until = excluded.open_until,
    openings = excluded.openings, reason = excluded.reason
WHERE h.changed_at = $8::timestamptz
RETURNING h.account_id;

-- name: measure
-- $2: attempts since this id. $3: codes of declines that are the account's own fault. $4: now.
WITH measured AS (
  SELECT account_id, product,
    count(*) FILTER (WHERE state IN ('succeeded', 'surplus'))::integer AS succeeded,
    count(*) FILTER (WHERE state = 'not_sent' OR (state = 'declined' AND code = ANY ($3::text[]))
                     OR (lost_at IS NOT NULL AND state NOT IN ('succeeded', 'surplus'))
                    )::integer AS failed,
    coalesce(avg(greatest(0, least(extract(epoch FROM answered_at - sent_at) * 1000, 600000))),
             0)::integer AS latency_ms,
    count(answered_at)::integer AS answers
  FROM attempt WHERE merchant_id = $1 AND attempt_id >= $2
  GROUP BY account_id, product
), old AS (
  DELETE FROM account_statistics s WHERE s.merchant_id = $1
    AND NOT EXISTS (SELECT FROM measured m
                    WHERE m.account_id = s.account_id AND m.product = s.product)
)
INSERT INTO account_statistics AS s (merchant_id, account_id, product, succeeded, failed,
                                     latency_ms, answers, measured_at)
SELECT $1, account_id, product, succeeded, failed, latency_ms, answers, $4 FROM measured
ON CONFLICT (merchant_id, account_id, product) DO UPDATE
SET succeeded = excluded.succeeded, failed = excluded.failed, latency_ms = excluded.latency_ms,
    answers = excluded.answers, measured_at = excluded.measured_at;

-- name: past_attempts
-- A page of the first attempts of payments, between two ids, after the last of the page before.
SELECT a.attempt_id, a.payment_id, a.account_id, a.channel, a.product, a.amount_minor, a.currency,
  a.captured_minor, a.routing, a.sent_at, p.metadata, p.methods, p.app_id, p.capture
FROM attempt a JOIN payment p ON p.merchant_id = a.merchant_id AND p.payment_id = a.payment_id
WHERE a.merchant_id = $1 AND p.live = $2 AND a.attempt_id > $3 AND a.attempt_id < $4
  AND a.replaces IS NULL
  AND NOT EXISTS (SELECT FROM attempt b WHERE b.merchant_id = a.merchant_id
                  AND b.payment_id = a.payment_id AND b.attempt_id < a.attempt_id)
ORDER BY a.attempt_id LIMIT $5;
