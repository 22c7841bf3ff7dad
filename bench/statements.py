"""The floors' statements, one for each; and how the bench fills the tables beforehand.

They write the rows that Qiao writes, through the same indexes, foreign keys and triggers.
"""

CREATE = """
WITH accepted AS (
  INSERT INTO payment (merchant_id, payment_id, live, order_id, amount_minor, currency,
                       description, cashier_token, expires_at)
  VALUES ($1, $2, false, $3, $4, 'CNY', $5, $6, $7)
  RETURNING payment AS row
), told AS (
  INSERT INTO event (merchant_id, event_id, live, payment_id, type, data)
  SELECT $1, $8, false, $2, 'payment.created', payment_document(accepted.row) FROM accepted
), attempted AS (
  INSERT INTO attempt (merchant_id, attempt_id, payment_id, account_id, channel, product,
                       reference, amount_minor, currency, state, action, expires_at, sent_at)
  VALUES ($1, $9, $2, $10, $11, $12, $13, $4, 'CNY', 'pending', $14::jsonb, $7, $15)
)
INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
VALUES ($1, 'close_payment', $2, '{}', $7),
       ($1, 'query_attempt', $9, '{}', $15 + interval '30 seconds')
"""

SETTLE = """
WITH settled AS (
  UPDATE attempt
  SET state = 'succeeded', channel_reference = $5, paid_at = $6, captured_minor = amount_minor,
      action = NULL
  WHERE merchant_id = $1 AND reference = $2 AND state = 'pending'
    AND amount_minor = $3 AND currency = $4 AND account_id = $8
  RETURNING payment_id, attempt_id, amount_minor, currency
), noted AS (
  INSERT INTO notification (merchant_id, account_id, notification_id, kind, reference)
  SELECT $1, $8, $9, 'payment', $2 FROM settled
), paid AS (
  UPDATE payment p SET state = 'paid', captured_minor = settled.amount_minor, paid_at = $6
  FROM settled
  WHERE p.merchant_id = $1 AND p.payment_id = settled.payment_id AND p.state = 'open'
  RETURNING p AS row
), told AS (
  INSERT INTO event (merchant_id, event_id, live, payment_id, type, data)
  SELECT $1, $7, (row).live, (row).payment_id, 'payment.paid', payment_document(row) FROM paid
), booked AS (
  INSERT INTO ledger_entry (merchant_id, event_id, line, live, debit, credit, amount_minor,
                            currency, payment_id, subject_id)
  SELECT $1, $7, 1, (row).live, 'channel_receivable:' || $8, 'merchant_payable',
         settled.amount_minor, settled.currency, settled.payment_id, settled.attempt_id
  FROM paid, settled
)
SELECT (row).payment_id FROM paid
"""

SHOW = """
SELECT payment_id, live, order_id, amount_minor, currency, description, state, captured_minor,
       refunded_minor, methods, return_url, metadata, cashier_token, expires_at, paid_at, closed_at,
       created_at,
       (SELECT coalesce(jsonb_agg(to_jsonb(a) ORDER BY attempt_id), '[]') FROM attempt a
        WHERE a.merchant_id = p.merchant_id AND a.payment_id = p.payment_id) AS attempts,
       (SELECT coalesce(jsonb_agg(to_jsonb(r) ORDER BY refund_id), '[]') FROM refund r
        WHERE r.merchant_id = p.merchant_id AND r.payment_id = p.payment_id) AS refunds
FROM payment p WHERE merchant_id = $1 AND live = false AND payment_id = $2
"""

# $1 merchant_id, $2 account_id, $3 and $4: payments' ids and attempts' ids, each to be paid.
PENDING = """
WITH given AS (SELECT * FROM unnest($3::text[], $4::text[]) AS given (payment_id, attempt_id)),
accepted AS (
  INSERT INTO payment (merchant_id, payment_id, live, order_id, amount_minor, currency,
                       description, cashier_token, expires_at)
  SELECT $1, payment_id, false, payment_id, 1000, 'CNY', 'tea', payment_id,
         now() + interval '30 minutes'
  FROM given
)
INSERT INTO attempt (merchant_id, attempt_id, payment_id, account_id, channel, product, reference,
                     amount_minor, currency, state, action, expires_at)
SELECT $1, attempt_id, payment_id, $2, 'wechat', 'qr', replace(attempt_id, '_', ''), 1000, 'CNY',
       'pending', '{"type": "qr_code", "content": "weixin://wxpay/bizpayurl?pr=bench"}',
       now() + interval '30 minutes'
FROM given
"""

# $1 merchant_id, $2 ids of events: each about some payment, and to be delivered at once.
TELL = """
INSERT INTO event (merchant_id, event_id, live, payment_id, type, data)
SELECT $1, given.event_id, false, p.payment_id, 'payment.created', payment_document(p)
FROM unnest($2::text[]) AS given (event_id),
     (SELECT * FROM payment WHERE merchant_id = $1 LIMIT 1) p
"""

# $1 merchant_id, $2 account_id, $3 and $4 the first and the last number: payments that were paid.
# Their ids, and those of their events, sort before those of today.
FILL = """
WITH given AS (
  SELECT lpad(n::text, 26, '0') AS id, 'order-' || n AS order_id,
         now() - interval '1 day' AS at
  FROM generate_series($3::bigint, $4::bigint) n
), accepted AS (
  INSERT INTO payment (merchant_id, payment_id, live, order_id, amount_minor, currency,
                       description, cashier_token, expires_at, state, captured_minor, paid_at)
  SELECT $1, 'pay_' || id, false, order_id, 1000, 'CNY', 'tea', 'pay_' || id, at, 'paid', 1000, at
  FROM given
  RETURNING payment AS row
), attempted AS (
  INSERT INTO attempt (merchant_id, attempt_id, payment_id, account_id, channel, product,
                       reference, amount_minor, currency, state, captured_minor, expires_at,
                       paid_at)
  SELECT $1, 'att_' || id, 'pay_' || id, $2, 'wechat', 'qr', 'att' || id, 1000, 'CNY', 'succeeded',
         1000, at, at
  FROM given
), noted AS (
  INSERT INTO notification (merchant_id, account_id, notification_id, kind, reference)
  SELECT $1, $2, 'EV-' || id, 'payment', 'att' || id FROM given
), told AS (
  INSERT INTO event (merchant_id, event_id, live, payment_id, type, data)
  SELECT $1, 'evt_' || kind.prefix || substr((row).payment_id, 7), false, (row).payment_id,
         kind.type, payment_document(row)
  FROM accepted, (VALUES ('00', 'payment.created'), ('01', 'payment.paid')) AS kind (prefix, type)
)
INSERT INTO ledger_entry (merchant_id, event_id, line, live, debit, credit, amount_minor, currency,
                          payment_id, subject_id)
SELECT $1, 'evt_01' || substr(id, 3), 1, false, 'channel_receivable:' || $2, 'merchant_payable',
       1000, 'CNY', 'pay_' || id, 'att_' || id
FROM given
"""
FILLED_TABLES = ("payment", "attempt", "notification", "event", "ledger_entry")
