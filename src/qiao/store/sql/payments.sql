-- Payments and their attempts. Guards are arrays of states: the tables of qiao.domain.states.

-- name: accept_payment
-- $16 the app. Nothing is written and no row comes back when it or who it belongs to is suspended.
WITH taking AS (
  SELECT FROM merchant m
  LEFT JOIN organisation o ON o.organisation_id = m.organisation_id
  LEFT JOIN app a ON a.merchant_id = m.merchant_id AND a.app_id = $16
  WHERE m.merchant_id = $1 AND m.status = 'active'
    AND o.status IS DISTINCT FROM 'suspended' AND a.status IS DISTINCT FROM 'suspended'
), key AS (
  INSERT INTO idempotency_key (merchant_id, live, key, body_digest, resource_id)
  SELECT $1, $3, $14, $15, $2 FROM taking WHERE $14::text IS NOT NULL
), accepted AS (
  INSERT INTO payment (merchant_id, payment_id, live, order_id, amount_minor, currency,
                       description, methods, return_url, metadata, cashier_token, expires_at,
                       app_id, capture, profit_sharing)
  SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $16, $17, $18 FROM taking
  RETURNING payment AS row
), told AS (
  INSERT INTO event (merchant_id, event_id, live, payment_id, type, data)
  SELECT $1, $13, $3, $2, 'payment.created', payment_document(accepted.row) FROM accepted
), expiry AS (
  INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
  SELECT $1, 'close_payment', $2, '{}', $12 FROM taking
)
SELECT (accepted.row).* FROM accepted;

-- name: accept_and_attempt
-- accept_payment and start_attempt in one. $17 and $18: the account and its version; when it has
-- changed or was disabled, nothing is written and no row comes back. $25 the app, as there.
-- $27: what chose the account. $28 what the operator charges, $29 what the channel keeps.
-- $30 whether it may be shared.
WITH taking AS (
  SELECT FROM merchant m
  LEFT JOIN organisation o ON o.organisation_id = m.organisation_id
  LEFT JOIN app a ON a.merchant_id = m.merchant_id AND a.app_id = $25
  WHERE m.merchant_id = $1 AND m.status = 'active'
    AND o.status IS DISTINCT FROM 'suspended' AND a.status IS DISTINCT FROM 'suspended'
), account AS (
  SELECT account_id FROM channel_account, taking
  WHERE merchant_id = $1 AND account_id = $17 AND enabled AND updated_at = $18
), key AS (
  INSERT INTO idempotency_key (merchant_id, live, key, body_digest, resource_id)
  SELECT $1, $3, given.key, $15, given.resource_id
  FROM account, (VALUES ($14::text, $2), ($14::text || '/attempt', $16)) AS given (key, resource_id)
  WHERE $14::text IS NOT NULL
), accepted AS (
  INSERT INTO payment (merchant_id, payment_id, live, order_id, amount_minor, currency,
                       description, methods, return_url, metadata, cashier_token, expires_at,
                       app_id, capture, profit_sharing)
  SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $25, $26, $30 FROM account
  RETURNING payment AS row
), told AS (
  INSERT INTO event (merchant_id, event_id, live, payment_id, type, data)
  SELECT $1, $13, $3, $2, 'payment.created', payment_document(accepted.row) FROM accepted
), started AS (
  INSERT INTO attempt (merchant_id, attempt_id, payment_id, account_id, channel, product,
                       reference, amount_minor, currency, state, expires_at, sent_at,
                       traceparent, manual, routing, price, cost)
  SELECT $1, $16, $2, account_id, $19, $20, $21, $5, $6, 'sending', $12, $22, $24, $26 = 'manual',
         $27, $28, $29
  FROM account
), later AS (
  INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
  SELECT $1, given.kind, given.subject_id, '{}', given.run_at
  FROM account, (VALUES ('close_payment', $2, $12::timestamptz),
                        ('query_attempt', $16, $22::timestamptz + $23)
                ) AS given (kind, subject_id, run_at)
)
SELECT (accepted.row).* FROM accepted;

-- name: idempotent
SELECT body_digest, resource_id FROM idempotency_key
WHERE merchant_id = $1 AND live = $2 AND key = $3;

-- name: payment_of_id
SELECT * FROM payment WHERE merchant_id = $1 AND live = $2 AND payment_id = $3;

-- name: payment_in_full
-- The payment, and as JSON its attempts, captures and refunds, the oldest first.
SELECT p.*,
  (SELECT coalesce(json_agg(a ORDER BY a.attempt_id), '[]')::text FROM attempt a
   WHERE a.merchant_id = $1 AND a.payment_id = $3) AS attempts,
  (SELECT coalesce(json_agg(c ORDER BY c.capture_id), '[]')::text FROM capture c
   WHERE c.merchant_id = $1 AND c.payment_id = $3) AS captures,
  (SELECT coalesce(json_agg(r ORDER BY r.refund_id), '[]')::text FROM refund r
   WHERE r.merchant_id = $1 AND r.payment_id = $3) AS refunds
FROM payment p WHERE p.merchant_id = $1 AND p.live = $2 AND p.payment_id = $3;

-- name: payment_of_order
SELECT * FROM payment WHERE merchant_id = $1 AND live = $2 AND order_id = $3;

-- name: payment_of_any_mode
SELECT * FROM payment WHERE merchant_id = $1 AND payment_id = $2;

-- name: payments
SELECT * FROM payment
WHERE merchant_id = $1 AND live = $2 AND ($3::text IS NULL OR payment_id < $3)
  AND ($4::text IS NULL OR state = $4)
ORDER BY payment_id DESC LIMIT $5;

-- name: start_attempt
-- $4 and $13: the account and its version; on one that has changed or was disabled nothing starts,
-- nor where the payment's app, or who it belongs to, is suspended. $15: what chose the account.
-- $16: the attempt that it replaces. $17 what the operator charges, $18 what the channel keeps.
WITH open AS (
  SELECT * FROM payment p
  WHERE merchant_id = $1 AND payment_id = $2 AND state = ANY ($9::text[])
    AND expires_at > $12 AND close_requested_at IS NULL
    AND EXISTS (
      SELECT FROM merchant m
      LEFT JOIN organisation o ON o.organisation_id = m.organisation_id
      LEFT JOIN app a ON a.merchant_id = m.merchant_id AND a.app_id = p.app_id
      WHERE m.merchant_id = $1 AND m.status = 'active'
        AND o.status IS DISTINCT FROM 'suspended' AND a.status IS DISTINCT FROM 'suspended')
    AND EXISTS (SELECT FROM channel_account WHERE merchant_id = $1 AND account_id = $4
                AND enabled AND updated_at = $13)
  FOR UPDATE
), key AS (
  INSERT INTO idempotency_key (merchant_id, live, key, body_digest, resource_id)
  SELECT $1, open.live, $10, $11, $3 FROM open WHERE $10::text IS NOT NULL
), started AS (
  INSERT INTO attempt (merchant_id, attempt_id, payment_id, account_id, channel, product,
                       reference, amount_minor, currency, state, expires_at, sent_at,
                       traceparent, manual, routing, replaces, price, cost)
  SELECT $1, $3, $2, $4, $5, $6, $7, amount_minor, currency, 'sending', expires_at, $12, $14,
         capture = 'manual', $15, $16, $17, $18
  FROM open
  RETURNING *
), watch AS (
  INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
  SELECT $1, 'query_attempt', attempt_id, '{}', $12::timestamptz + $8 FROM started
)
SELECT * FROM started;

-- name: attempt_of_id
SELECT * FROM attempt WHERE merchant_id = $1 AND attempt_id = $2;

-- name: attempt_of_reference
SELECT * FROM attempt WHERE merchant_id = $1 AND reference = $2;

-- name: versions
-- What of these payments a customer's page shows: $1 merchants, $2 payments.
SELECT p.merchant_id, p.payment_id, p.state, p.refunded_minor,
       last.attempt_id, last.state AS attempt_state
FROM unnest($1::text[], $2::text[]) AS watched (merchant_id, payment_id)
JOIN payment p ON p.merchant_id = watched.merchant_id AND p.payment_id = watched.payment_id
LEFT JOIN LATERAL (
  SELECT a.attempt_id, a.state FROM attempt a
  WHERE a.merchant_id = p.merchant_id AND a.payment_id = p.payment_id
  ORDER BY a.attempt_id DESC LIMIT 1
) last ON true;

-- name: attempts_of_payment
SELECT * FROM attempt WHERE merchant_id = $1 AND payment_id = $2 ORDER BY attempt_id;

-- name: settle_paid
-- The ordinary success, in one statement. $10 and $11: the account and the id of the notification
-- that told it (null when it was asked for); an account that is not the attempt's settles nothing.
WITH payable AS (
  SELECT p.merchant_id, p.payment_id FROM attempt a
  JOIN payment p ON p.merchant_id = a.merchant_id AND p.payment_id = a.payment_id
  WHERE a.merchant_id = $1 AND a.reference = $2 AND p.state = ANY ($8::text[])
  FOR UPDATE OF p
), settled AS (
  UPDATE attempt a
  SET state = 'succeeded', channel_reference = $5, paid_at = $6, captured_minor = a.amount_minor,
      action = NULL, answered_at = coalesce(a.answered_at, now()),
      fee_minor = fee_of(a.price, a.amount_minor),
      channel_fee_minor = fee_of(a.cost, a.amount_minor)
  FROM payable
  WHERE a.merchant_id = $1 AND a.reference = $2 AND a.state = ANY ($7::text[])
    AND a.amount_minor = $3 AND a.currency = $4
    AND a.account_id = coalesce($10::text, a.account_id)
  RETURNING a.payment_id, a.attempt_id, a.account_id, a.amount_minor, a.channel, a.product,
            a.traceparent, a.fee_minor, a.channel_fee_minor
), noted AS (
  INSERT INTO notification (merchant_id, account_id, notification_id, kind, reference)
  SELECT $1, $10, $11::text, 'payment', $2 FROM settled WHERE $10::text IS NOT NULL
  ON CONFLICT DO NOTHING
), paid AS (
  UPDATE payment p SET state = 'paid', captured_minor = settled.amount_minor, paid_at = $6
  FROM settled WHERE p.merchant_id = $1 AND p.payment_id = settled.payment_id
  RETURNING p AS row
), told AS (
  INSERT INTO event (merchant_id, event_id, live, payment_id, type, data)
  SELECT $1, $9, (row).live, (row).payment_id, 'payment.paid', payment_document(row) FROM paid
), booked AS (
  INSERT INTO ledger_entry (merchant_id, event_id, line, live, debit, credit, amount_minor,
                            currency, payment_id, subject_id)
  SELECT $1, $9, entry.line, (row).live, entry.debit, entry.credit, entry.amount_minor,
         (row).currency, (row).payment_id, settled.attempt_id
  FROM paid, settled, LATERAL (VALUES
    (1, 'channel_receivable:' || account_id, 'merchant_payable', amount_minor),
    (2, 'merchant_payable', 'platform_fees', fee_minor),
    (3, 'channel_fees', 'channel_receivable:' || account_id, channel_fee_minor)
  ) AS entry (line, debit, credit, amount_minor)
  WHERE entry.amount_minor > 0
)
SELECT (row).payment_id, settled.channel, settled.product, settled.traceparent FROM paid, settled;

-- name: lock_attempt
-- The payment first, as settle_paid does, so that two of them never wait for each other.
WITH owner AS (
  SELECT p.* FROM payment p WHERE p.merchant_id = $1 AND p.payment_id =
    (SELECT payment_id FROM attempt WHERE merchant_id = $1 AND reference = $2)
  FOR UPDATE
)
SELECT a.*, owner.state AS payment_state FROM attempt a JOIN owner USING (merchant_id, payment_id)
WHERE a.reference = $2
FOR UPDATE OF a;

-- name: book_surplus
WITH moved AS (
  UPDATE attempt
  SET state = 'surplus', channel_reference = $3, paid_at = $4, captured_minor = amount_minor,
      reserved_minor = amount_minor, action = NULL
  WHERE merchant_id = $1 AND attempt_id = $2 AND state = ANY ($5::text[])
  RETURNING *
), asked AS (
  INSERT INTO refund (merchant_id, refund_id, payment_id, attempt_id, reference, amount_minor,
                      currency, surplus, reason)
  SELECT $1, $6, payment_id, attempt_id, $7, amount_minor, currency, true, $9 FROM moved
  RETURNING *
), told AS (
  INSERT INTO event (merchant_id, event_id, live, payment_id, type, data)
  SELECT $1, $8, p.live, p.payment_id, 'payment.surplus',
         payment_document(p) || jsonb_build_object('surplus', asked.amount_minor)
  FROM asked JOIN payment p ON p.merchant_id = $1 AND p.payment_id = asked.payment_id
  RETURNING live
), booked AS (
  INSERT INTO ledger_entry (merchant_id, event_id, line, live, debit, credit, amount_minor,
                            currency, payment_id, subject_id)
  SELECT $1, $8, entry.line, told.live, entry.debit, entry.credit, moved.amount_minor,
         moved.currency, moved.payment_id, entry.subject_id
  FROM moved, told, asked, LATERAL (VALUES
    (1, 'channel_receivable:' || moved.account_id, 'surplus', moved.attempt_id),
    (2, 'surplus', 'refunds_in_transit', asked.refund_id)
  ) AS entry (line, debit, credit, subject_id)
), work AS (
  INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
  SELECT $1, 'work_refund', refund_id, '{}', now() FROM asked
)
SELECT refund_id FROM asked;

-- name: move_attempt
-- $11: the channel's answer was lost.
UPDATE attempt
SET state = $3,
    action = CASE WHEN action IS NULL OR action ->> 'type' = 'await_customer'
                  THEN coalesce($5, action) ELSE action END,
    channel_reference = coalesce($6, channel_reference),
    code = $7, channel_code = $8, channel_message = $9, reason = $10,
    answered_at = CASE WHEN $3 IN ('unknown', 'not_sent') THEN answered_at
                       ELSE coalesce(answered_at, now()) END,
    lost_at = CASE WHEN $11 THEN coalesce(lost_at, now()) ELSE lost_at END
WHERE merchant_id = $1 AND reference = $2 AND state = ANY ($4::text[])
RETURNING *;

-- name: request_close
UPDATE payment SET close_requested_at = coalesce(close_requested_at, now())
WHERE merchant_id = $1 AND payment_id = $2
RETURNING *;

-- name: close_payment
WITH locked AS (
  SELECT merchant_id, payment_id FROM payment
  WHERE merchant_id = $1 AND payment_id = $2 AND state = ANY ($3::text[])
  FOR UPDATE
), closed AS (
  UPDATE payment p SET state = 'closed', closed_at = now()
  FROM locked
  WHERE p.merchant_id = $1 AND p.payment_id = $2
    AND NOT EXISTS (SELECT FROM attempt a WHERE a.merchant_id = $1 AND a.payment_id = $2
                    AND a.state = ANY ($4::text[]))
  RETURNING p AS row
), told AS (
  INSERT INTO event (merchant_id, event_id, live, payment_id, type, data)
  SELECT $1, $5, (row).live, $2, 'payment.closed', payment_document(row) FROM closed
)
SELECT (row).* FROM closed;

-- name: note_notification
INSERT INTO notification (merchant_id, account_id, notification_id, kind, reference)
VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING;

-- name: note_anomaly
INSERT INTO anomaly (merchant_id, anomaly_id, payment_id, attempt_id, kind, detail)
VALUES ($1, $2, $3, $4, $5, $6);

-- name: anomalies
SELECT * FROM anomaly WHERE merchant_id = $1 ORDER BY anomaly_id DESC LIMIT $2;

-- name: events
SELECT event_id, type, payment_id, data, created_at FROM event
WHERE merchant_id = $1 AND live = $2 AND ($3::text IS NULL OR payment_id = $3)
  AND ($4::text IS NULL OR event_id < $4)
ORDER BY event_id DESC LIMIT $5;

-- name: events_after
SELECT event_id, type, payment_id, data, created_at FROM event
WHERE merchant_id = $1 AND live = $2 AND ($3::text IS NULL OR payment_id = $3) AND event_id > $4
ORDER BY event_id LIMIT $5;
