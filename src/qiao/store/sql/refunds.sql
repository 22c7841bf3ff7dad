-- Refunds: requested under a guard on what is left, sent, asked about, settled.

-- name: request_refund
WITH reserved AS (
  UPDATE attempt SET reserved_minor = reserved_minor + $5
  WHERE merchant_id = $1 AND payment_id = $2 AND state = 'succeeded'
    AND reserved_minor + $5 <= captured_minor
  RETURNING *
), key AS (
  INSERT INTO idempotency_key (merchant_id, live, key, body_digest, resource_id)
  SELECT $1, $8, $9, $10, $3 FROM reserved WHERE $9::text IS NOT NULL
), asked AS (
  INSERT INTO refund (merchant_id, refund_id, payment_id, attempt_id, reference, amount_minor,
                      currency, reason)
  SELECT $1, $3, $2, attempt_id, $4, $5, currency, $6 FROM reserved
  RETURNING refund AS row
), told AS (
  INSERT INTO event (merchant_id, event_id, live, payment_id, type, data)
  SELECT $1, $7, $8, $2, 'refund.created', refund_document(row) FROM asked
), booked AS (
  INSERT INTO ledger_entry (merchant_id, event_id, line, live, debit, credit, amount_minor,
                            currency, payment_id, subject_id)
  SELECT $1, $7, 1, $8, 'merchant_payable', 'refunds_in_transit', $5, (row).currency, $2, $3
  FROM asked
), work AS (
  INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
  SELECT $1, 'work_refund', $3, '{}', $12::timestamptz + $11 FROM asked
)
SELECT (row).* FROM asked;

-- name: refund_of_id
SELECT r.* FROM refund r
JOIN payment p ON p.merchant_id = r.merchant_id AND p.payment_id = r.payment_id
WHERE r.merchant_id = $1 AND p.live = $2 AND r.refund_id = $3;

-- name: refund_of_any_mode
SELECT * FROM refund WHERE merchant_id = $1 AND refund_id = $2;

-- name: refund_of_reference
SELECT * FROM refund WHERE merchant_id = $1 AND reference = $2;

-- name: refunds_of_payment
SELECT * FROM refund WHERE merchant_id = $1 AND payment_id = $2 ORDER BY refund_id;

-- name: send_refund
UPDATE refund SET state = 'sending', sent_at = $4
WHERE merchant_id = $1 AND refund_id = $2 AND state = ANY ($3::text[])
RETURNING *;

-- name: move_refund
UPDATE refund
SET state = $3, channel_reference = coalesce($5, channel_reference)
WHERE merchant_id = $1 AND refund_id = $2 AND state = ANY ($4::text[])
RETURNING *;

-- name: settle_refunded
-- The payment is locked first: what has been refunded before says how much of the fees goes back.
WITH owner AS (
  SELECT merchant_id, payment_id, captured_minor, refunded_minor FROM payment
  WHERE merchant_id = $1 AND payment_id =
    (SELECT payment_id FROM refund WHERE merchant_id = $1 AND refund_id = $2)
  FOR UPDATE
), settled AS (
  UPDATE refund r
  SET state = 'succeeded', channel_reference = coalesce($4, r.channel_reference),
      refunded_at = coalesce($5, now()),
      fee_returned_minor = fee_returned(
        a.price, a.fee_minor, o.captured_minor, o.refunded_minor, r.amount_minor),
      channel_fee_returned_minor = fee_returned(
        a.cost, a.channel_fee_minor, o.captured_minor, o.refunded_minor, r.amount_minor)
  FROM owner o JOIN attempt a USING (merchant_id, payment_id)
  WHERE r.merchant_id = $1 AND r.refund_id = $2 AND r.state = ANY ($3::text[])
    AND a.attempt_id = r.attempt_id
  RETURNING r AS row, a.account_id
), counted AS (
  UPDATE payment p SET refunded_minor = p.refunded_minor + (settled.row).amount_minor
  FROM settled
  WHERE p.merchant_id = $1 AND p.payment_id = (settled.row).payment_id AND NOT (settled.row).surplus
), told AS (
  INSERT INTO event (merchant_id, event_id, live, payment_id, type, data)
  SELECT $1, $6, p.live, p.payment_id, 'refund.succeeded', refund_document(settled.row)
  FROM settled JOIN payment p ON p.merchant_id = $1 AND p.payment_id = (settled.row).payment_id
  RETURNING live
), booked AS (
  INSERT INTO ledger_entry (merchant_id, event_id, line, live, debit, credit, amount_minor,
                            currency, payment_id, subject_id)
  SELECT $1, $6, entry.line, told.live, entry.debit, entry.credit, entry.amount_minor,
         (row).currency, (row).payment_id, (row).refund_id
  FROM told, settled, LATERAL (VALUES
    (1, 'refunds_in_transit', 'channel_receivable:' || account_id, (row).amount_minor),
    (2, 'platform_fees', 'merchant_payable', (row).fee_returned_minor),
    (3, 'channel_receivable:' || account_id, 'channel_fees', (row).channel_fee_returned_minor)
  ) AS entry (line, debit, credit, amount_minor)
  WHERE entry.amount_minor > 0
)
SELECT (row).* FROM settled;

-- name: settle_refund_failed
WITH settled AS (
  UPDATE refund SET state = 'failed', code = $4, channel_code = $5, channel_message = $6
  WHERE merchant_id = $1 AND refund_id = $2 AND state = ANY ($3::text[])
  RETURNING refund AS row
), released AS (
  UPDATE attempt a SET reserved_minor = a.reserved_minor - (settled.row).amount_minor
  FROM settled WHERE a.merchant_id = $1 AND a.attempt_id = (settled.row).attempt_id
), told AS (
  INSERT INTO event (merchant_id, event_id, live, payment_id, type, data)
  SELECT $1, $7, p.live, p.payment_id, 'refund.failed', refund_document(settled.row)
  FROM settled JOIN payment p ON p.merchant_id = $1 AND p.payment_id = (settled.row).payment_id
  RETURNING live
), booked AS (
  INSERT INTO ledger_entry (merchant_id, event_id, line, live, debit, credit, amount_minor,
                            currency, payment_id, subject_id)
  SELECT $1, $7, 1, told.live, 'refunds_in_transit',
         CASE WHEN (row).surplus THEN 'surplus' ELSE 'merchant_payable' END,
         (row).amount_minor, (row).currency, (row).payment_id, (row).refund_id
  FROM told, settled
)
SELECT (row).* FROM settled;
