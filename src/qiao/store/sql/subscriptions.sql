-- Subscriptions and their periods. Guards are arrays of states: the tables of qiao.domain.states.

-- name: hold_agreement
-- Until the end of the transaction no charge by it starts, and nobody else begins to charge by it.
SELECT agreement_id FROM agreement
WHERE merchant_id = $1 AND agreement_id = $2
FOR NO KEY UPDATE;

-- name: charged_by
-- Of an agreement: whether a subscription on it goes on ($3 those states), and the last period
-- (0: none) that was paid by an earlier one, or may yet be.
SELECT
  EXISTS (SELECT FROM subscription
          WHERE merchant_id = $1 AND agreement_id = $2 AND state = ANY ($3::text[])) AS in_use,
  coalesce(max(p.number), 0) AS last_period
FROM subscription s
JOIN subscription_period p ON p.merchant_id = s.merchant_id
  AND p.subscription_id = s.subscription_id
LEFT JOIN payment ON payment.merchant_id = p.merchant_id AND payment.payment_id = p.payment_id
WHERE s.merchant_id = $1 AND s.agreement_id = $2
  AND (p.state = 'paid' OR payment.state <> 'closed');

-- name: create_subscription
-- Only on an agreement that is signed and is not being ended; no row comes back otherwise.
-- $27 its first period.
WITH charged_by AS (
  SELECT merchant_id, agreement_id FROM agreement
  WHERE merchant_id = $1 AND live = $3 AND agreement_id = $6
    AND state = 'active' AND end_requested_at IS NULL
  FOR SHARE
), key AS (
  INSERT INTO idempotency_key (merchant_id, live, key, body_digest, resource_id)
  SELECT $1, $3, $23, $24, $2 FROM charged_by WHERE $23::text IS NOT NULL
), made AS (
  INSERT INTO subscription (merchant_id, subscription_id, live, app_id, number, agreement_id,
                            amount_minor, currency, description, period_unit, period_count,
                            first_charge_on, anchor_day, charge_time, time_zone, periods, ends_on,
                            lead_days, retry_days, when_unpaid, metadata, next_charge_at,
                            created_at, next_period)
  SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
         $21, $22, $25, $27
  FROM charged_by
  RETURNING subscription AS row
), told AS (
  INSERT INTO event (merchant_id, event_id, live, type, data)
  SELECT $1, $26, $3, 'subscription.created', subscription_document(row) FROM made
), begun AS (
  INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
  SELECT $1, 'work_subscription', $2, '{}', $22 FROM made
)
SELECT (row).* FROM made;

-- name: subscription_of_id
SELECT * FROM subscription WHERE merchant_id = $1 AND live = $2 AND subscription_id = $3;

-- name: subscription_of_number
SELECT * FROM subscription WHERE merchant_id = $1 AND live = $2 AND number = $3;

-- name: subscription_of_any_mode
SELECT * FROM subscription WHERE merchant_id = $1 AND subscription_id = $2;

-- name: subscriptions
SELECT * FROM subscription
WHERE merchant_id = $1 AND live = $2 AND ($3::text IS NULL OR subscription_id < $3)
  AND ($4::text IS NULL OR state = $4) AND ($5::text IS NULL OR agreement_id = $5)
ORDER BY subscription_id DESC LIMIT $6;

-- name: periods
-- The newest first.
SELECT * FROM subscription_period
WHERE merchant_id = $1 AND subscription_id = $2 ORDER BY number DESC LIMIT $3;

-- name: period
SELECT * FROM subscription_period
WHERE merchant_id = $1 AND subscription_id = $2 AND number = $3;

-- name: move_subscription
-- $4 its new state, $5 the event's type, $6 why, $9 when it is charged next (null: not).
WITH moved AS (
  UPDATE subscription
  SET state = $4::text, reason = $6, next_charge_at = $9::timestamptz,
      ended_at = CASE WHEN $4::text IN ('cancelled', 'completed')
                      THEN $8::timestamptz ELSE ended_at END
  WHERE merchant_id = $1 AND subscription_id = $2 AND state = ANY ($3::text[])
  RETURNING subscription AS row
), told AS (
  INSERT INTO event (merchant_id, event_id, live, type, data)
  SELECT $1, $7, (row).live, $5, subscription_document(row) FROM moved
), work AS (
  -- What is open is closed, or charged again.
  INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
  SELECT $1, 'work_subscription', $2, '{}', $8::timestamptz FROM moved
  ON CONFLICT (merchant_id, kind, subject_id)
  DO UPDATE SET run_at = least(job.run_at, excluded.run_at)
)
SELECT (row).* FROM moved;

-- name: open_period
WITH opened AS (
  INSERT INTO subscription_period (merchant_id, subscription_id, number, due_on, next_try_at)
  SELECT $1, $2, $3::integer, $4, $5 FROM subscription
  WHERE merchant_id = $1 AND subscription_id = $2 AND next_period = $3 AND state = ANY ($6::text[])
  ON CONFLICT DO NOTHING
  RETURNING *
)
SELECT * FROM opened;

-- name: miss_period
-- Its time went by while nothing was charged: it is passed over, and told.
WITH missed AS (
  INSERT INTO subscription_period (merchant_id, subscription_id, number, due_on, state, settled_at)
  SELECT $1, $2, $3::integer, $4, 'missed', $5 FROM subscription
  WHERE merchant_id = $1 AND subscription_id = $2 AND next_period = $3
  ON CONFLICT DO NOTHING
  RETURNING subscription_period AS row
), onward AS (
  UPDATE subscription s SET next_period = $3::integer + 1
  FROM missed WHERE s.merchant_id = $1 AND s.subscription_id = $2 AND s.next_period = $3
  RETURNING s AS row
)
INSERT INTO event (merchant_id, event_id, live, type, data)
SELECT $1, $6, (onward.row).live, 'subscription.period_missed',
       subscription_document(onward.row)
       || jsonb_build_object('charged_period', period_document(missed.row))
FROM onward, missed;

-- name: link_payment
WITH linked AS (
  UPDATE subscription_period SET payment_id = $4
  WHERE merchant_id = $1 AND subscription_id = $2 AND number = $3 AND payment_id IS NULL
    AND state = 'open'
  RETURNING *
), marked AS (
  UPDATE payment SET subscription_id = $2 FROM linked
  WHERE payment.merchant_id = $1 AND payment.payment_id = $4
)
SELECT * FROM linked;

-- name: hold_for_charge
-- Until the charge's attempt is committed, neither the subscription nor its agreement may end.
-- Another look may have been faster: every charge before is judged, and $5 (now) is not too early.
SELECT s.subscription_id FROM subscription s
JOIN agreement a ON a.merchant_id = s.merchant_id AND a.agreement_id = s.agreement_id
JOIN subscription_period p ON p.merchant_id = s.merchant_id
  AND p.subscription_id = s.subscription_id AND p.number = s.next_period
WHERE s.merchant_id = $1 AND s.subscription_id = $2 AND s.state = ANY ($3::text[])
  AND a.state = 'active' AND a.end_requested_at IS NULL
  AND p.state = 'open' AND p.payment_id = $4 AND p.next_try_at <= $5::timestamptz
  AND p.judged_attempt_id IS NOT DISTINCT FROM (
    SELECT max(attempt_id) FROM attempt
    WHERE merchant_id = $1 AND payment_id = $4 AND product = 'agreement')
FOR SHARE OF s, a, p;

-- name: note_refusal
-- $4 the attempt (null: none was made), $5 and $6 why, $7 when it is tried again (null: no more).
WITH noted AS (
  UPDATE subscription_period
  SET tries = tries + 1, judged_attempt_id = coalesce($4::text, judged_attempt_id), code = $5,
      channel_code = $6, next_try_at = $7::timestamptz,
      state = CASE WHEN $7::timestamptz IS NULL THEN 'unpaid' ELSE state END,
      settled_at = CASE WHEN $7::timestamptz IS NULL THEN $8::timestamptz ELSE settled_at END
  WHERE merchant_id = $1 AND subscription_id = $2 AND number = $3::integer AND state = 'open'
    AND ($4::text IS NULL OR judged_attempt_id IS DISTINCT FROM $4::text)
  RETURNING subscription_period AS row
), behind AS (
  UPDATE subscription s
  SET state = CASE WHEN s.state = 'active' THEN 'past_due' ELSE s.state END,
      next_charge_at = CASE WHEN s.state IN ('active', 'past_due') THEN $7::timestamptz END,
      next_period = CASE WHEN $7::timestamptz IS NULL THEN $3::integer + 1 ELSE s.next_period END
  FROM noted, subscription before
  WHERE s.merchant_id = $1 AND s.subscription_id = $2
    AND before.merchant_id = $1 AND before.subscription_id = $2
  RETURNING s AS row, before.state AS state_before
), told AS (
  INSERT INTO event (merchant_id, event_id, live, type, data)
  SELECT $1, given.event_id, (behind.row).live, given.type,
         subscription_document(behind.row)
         || jsonb_build_object('charged_period', period_document(noted.row))
  FROM behind, noted, (VALUES ($9::text, 'subscription.charge_failed'), ($10::text, 'subscription.past_due'))
    AS given (event_id, type)
  WHERE given.type = 'subscription.charge_failed' OR state_before = 'active'
), closing AS (
  INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
  SELECT $1, 'close_payment', (row).payment_id, '{}', $8::timestamptz FROM noted
  WHERE $7::timestamptz IS NULL AND (row).payment_id IS NOT NULL
  ON CONFLICT (merchant_id, kind, subject_id)
  DO UPDATE SET run_at = least(job.run_at, excluded.run_at)
)
SELECT (noted.row).* FROM noted;

-- name: try_again_at
UPDATE subscription_period SET next_try_at = $4, judged_attempt_id = $5
WHERE merchant_id = $1 AND subscription_id = $2 AND number = $3 AND state = 'open'
RETURNING *;

-- name: settle_paid
-- Every period whose payment is paid; the one in hand moves the subscription on.
WITH settled AS (
  UPDATE subscription_period p SET state = 'paid', settled_at = $4, next_try_at = NULL
  FROM payment
  WHERE p.merchant_id = $1 AND p.subscription_id = $2 AND p.state = ANY ($3::text[])
    AND payment.merchant_id = $1 AND payment.payment_id = p.payment_id AND payment.state = 'paid'
  RETURNING p.number
), newest AS (
  SELECT max(number) AS number FROM settled HAVING count(*) > 0
), onward AS (
  UPDATE subscription s
  SET next_period = greatest(s.next_period, newest.number + 1),
      state = CASE WHEN s.state = 'past_due' THEN 'active' ELSE s.state END
  FROM newest, subscription before
  WHERE s.merchant_id = $1 AND s.subscription_id = $2
    AND before.merchant_id = $1 AND before.subscription_id = $2
  RETURNING s AS row, before.state AS state_before
), told AS (
  INSERT INTO event (merchant_id, event_id, live, type, data)
  SELECT $1, $5, (row).live, 'subscription.recovered', subscription_document(row) FROM onward
  WHERE state_before = 'past_due'
)
SELECT (row).* FROM onward;

-- name: expect_charge
UPDATE subscription SET next_charge_at = $3::timestamptz
WHERE merchant_id = $1 AND subscription_id = $2 AND next_charge_at IS DISTINCT FROM $3::timestamptz
  AND state IN ('active', 'past_due');

-- name: give_up_open
-- The subscription is over: what is open of it is charged no more.
WITH given_up AS (
  UPDATE subscription_period p
  SET state = 'unpaid', settled_at = $3::timestamptz, next_try_at = NULL
  FROM subscription s
  WHERE p.merchant_id = $1 AND p.subscription_id = $2 AND p.state = 'open'
    AND s.merchant_id = $1 AND s.subscription_id = $2 AND s.state IN ('cancelled', 'completed')
  RETURNING p.payment_id
)
INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
SELECT $1, 'close_payment', payment_id, '{}', $3::timestamptz FROM given_up WHERE payment_id IS NOT NULL
ON CONFLICT (merchant_id, kind, subject_id)
DO UPDATE SET run_at = least(job.run_at, excluded.run_at);
