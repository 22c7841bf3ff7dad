-- Authorizations: held, captured or let go. The payment is always locked before its attempt.

-- name: settle_authorized
-- $3 when the channel lets go by itself, $4 its number, $5 and $6 the guards of attempt and payment.
WITH holdable AS (
  SELECT p.merchant_id, p.payment_id FROM attempt a
  JOIN payment p ON p.merchant_id = a.merchant_id AND p.payment_id = a.payment_id
  WHERE a.merchant_id = $1 AND a.reference = $2 AND p.state = ANY ($6::text[])
  FOR UPDATE OF p
), held AS (
  UPDATE attempt a
  SET state = 'authorized', channel_reference = coalesce($4, a.channel_reference),
      hold_expires_at = $3, action = NULL
  FROM holdable
  WHERE a.merchant_id = $1 AND a.reference = $2 AND a.manual AND a.state = ANY ($5::text[])
  RETURNING a.payment_id, a.attempt_id, a.amount_minor
), authorized AS (
  UPDATE payment p
  SET state = 'authorized', authorized_minor = held.amount_minor, authorized_at = now()
  FROM held WHERE p.merchant_id = $1 AND p.payment_id = held.payment_id
  RETURNING p AS row
), told AS (
  INSERT INTO event (merchant_id, event_id, live, payment_id, type, data)
  SELECT $1, $7, (row).live, (row).payment_id, 'payment.authorized', payment_document(row)
  FROM authorized
), lapse AS (
  INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
  SELECT $1, 'close_payment', (row).payment_id, '{}',
         CASE WHEN (row).close_requested_at IS NULL THEN $3 ELSE now() END
  FROM authorized
  ON CONFLICT (merchant_id, kind, subject_id)
  DO UPDATE SET run_at = least(job.run_at, excluded.run_at)
)
SELECT (row).payment_id FROM authorized;

-- name: release_attempt
-- Nothing is held any more. While a capture may yet take it, only the capture's end tells.
WITH owner AS (
  SELECT merchant_id, payment_id FROM payment WHERE merchant_id = $1 AND payment_id = $2
  FOR UPDATE
), released AS (
  UPDATE attempt a SET state = 'closed', reason = $4
  FROM owner
  WHERE a.merchant_id = $1 AND a.attempt_id = $3 AND a.state = 'authorized'
    AND a.capturing_minor = 0
  RETURNING a.*
), closing AS (
  UPDATE payment p SET close_requested_at = coalesce(p.close_requested_at, now())
  FROM released WHERE p.merchant_id = $1 AND p.payment_id = $2
), close AS (
  INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
  SELECT $1, 'close_payment', payment_id, '{}', now() FROM released
  ON CONFLICT (merchant_id, kind, subject_id)
  DO UPDATE SET run_at = least(job.run_at, excluded.run_at)
)
SELECT * FROM released;

-- name: request_capture
WITH holding AS (
  SELECT merchant_id, payment_id FROM payment
  WHERE merchant_id = $1 AND payment_id = $2 AND state = 'authorized'
    AND close_requested_at IS NULL
  FOR UPDATE
), reserved AS (
  UPDATE attempt a SET capturing_minor = $5
  FROM holding
  WHERE a.merchant_id = $1 AND a.payment_id = $2 AND a.state = 'authorized'
    AND a.capturing_minor = 0 AND $5 <= a.amount_minor
  RETURNING a.*
), key AS (
  INSERT INTO idempotency_key (merchant_id, live, key, body_digest, resource_id)
  SELECT $1, $6, $7, $8, $3 FROM reserved WHERE $7::text IS NOT NULL
), asked AS (
  INSERT INTO capture (merchant_id, capture_id, payment_id, attempt_id, reference, amount_minor,
                       currency)
  SELECT $1, $3, $2, attempt_id, $4, $5, currency FROM reserved
  RETURNING *
), work AS (
  INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
  SELECT $1, 'work_capture', $3, '{}', $10::timestamptz + $9 FROM asked
)
SELECT * FROM asked;

-- name: capture_of_any_mode
SELECT * FROM capture WHERE merchant_id = $1 AND capture_id = $2;

-- name: capture_of_reference
SELECT * FROM capture WHERE merchant_id = $1 AND reference = $2;

-- name: captures_of_payment
SELECT * FROM capture WHERE merchant_id = $1 AND payment_id = $2 ORDER BY capture_id;

-- name: send_capture
UPDATE capture SET state = 'sending', sent_at = $4
WHERE merchant_id = $1 AND capture_id = $2 AND state = ANY ($3::text[])
RETURNING *;

-- name: move_capture
UPDATE capture SET state = $3, channel_reference = coalesce($5, channel_reference)
WHERE merchant_id = $1 AND capture_id = $2 AND state = ANY ($4::text[])
RETURNING *;

-- name: settle_captured
WITH owner AS (
  SELECT merchant_id, payment_id FROM payment WHERE merchant_id = $1 AND payment_id = $2
  FOR UPDATE
), settled AS (
  UPDATE capture c SET state = 'succeeded', channel_reference = $5, captured_at = $6
  FROM owner
  WHERE c.merchant_id = $1 AND c.capture_id = $3 AND c.state = ANY ($4::text[])
  RETURNING c.*
), taken AS (
  UPDATE attempt a
  SET state = 'succeeded', paid_at = $6, captured_minor = settled.amount_minor,
      capturing_minor = 0, capture_reference = settled.reference,
      fee_minor = fee_of(a.price, settled.amount_minor),
      channel_fee_minor = fee_of(a.cost, settled.amount_minor)
  FROM settled
  WHERE a.merchant_id = $1 AND a.attempt_id = settled.attempt_id AND a.state = 'authorized'
  RETURNING a.attempt_id, a.payment_id, a.account_id, a.captured_minor, a.fee_minor,
            a.channel_fee_minor
), paid AS (
  UPDATE payment p SET state = 'paid', captured_minor = taken.captured_minor, paid_at = $6
  FROM taken WHERE p.merchant_id = $1 AND p.payment_id = taken.payment_id
  RETURNING p AS row
), told AS (
  INSERT INTO event (merchant_id, event_id, live, payment_id, type, data)
  SELECT $1, $7, (row).live, (row).payment_id, 'payment.paid', payment_document(row) FROM paid
), booked AS (
  INSERT INTO ledger_entry (merchant_id, event_id, line, live, debit, credit, amount_minor,
                            currency, payment_id, subject_id)
  SELECT $1, $7, entry.line, (row).live, entry.debit, entry.credit, entry.amount_minor,
         (row).currency, (row).payment_id, taken.attempt_id
  FROM paid, taken, LATERAL (VALUES
    (1, 'channel_receivable:' || account_id, 'merchant_payable', captured_minor),
    (2, 'merchant_payable', 'platform_fees', fee_minor),
    (3, 'channel_fees', 'channel_receivable:' || account_id, channel_fee_minor)
  ) AS entry (line, debit, credit, amount_minor)
  WHERE entry.amount_minor > 0
)
SELECT (row).payment_id FROM paid;

-- name: settle_capture_failed
WITH owner AS (
  SELECT merchant_id, payment_id, live FROM payment WHERE merchant_id = $1 AND payment_id = $2
  FOR UPDATE
), settled AS (
  UPDATE capture c SET state = 'failed', code = $5, channel_code = $6, channel_message = $7
  FROM owner
  WHERE c.merchant_id = $1 AND c.capture_id = $3 AND c.state = ANY ($4::text[])
  RETURNING c AS row
), freed AS (
  UPDATE attempt a SET capturing_minor = 0
  FROM settled WHERE a.merchant_id = $1 AND a.attempt_id = (settled.row).attempt_id
), told AS (
  INSERT INTO event (merchant_id, event_id, live, payment_id, type, data)
  SELECT $1, $8, owner.live, $2, 'capture.failed', capture_document(settled.row)
  FROM settled, owner
)
SELECT (row).* FROM settled;
