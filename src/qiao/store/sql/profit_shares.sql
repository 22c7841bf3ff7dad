-- Profit sharing: receivers, shares that are reserved under the guard of refunds, their returns.

-- name: put_receiver
INSERT INTO share_receiver (merchant_id, receiver_id, live, number, account_id, channel,
                            receiver_type, relation, memo, sealed_receiver, state)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'asked')
RETURNING *;

-- name: ask_receiver
-- A new turn: what the channel says to an earlier one does not count any more.
UPDATE share_receiver SET state = 'asked', turn = turn + 1
WHERE merchant_id = $1 AND receiver_id = $2
RETURNING *;

-- name: settle_receiver
UPDATE share_receiver SET state = $4, code = $5, channel_code = $6, channel_message = $7
WHERE merchant_id = $1 AND receiver_id = $2 AND turn = $3;

-- name: receiver_of_id
SELECT * FROM share_receiver WHERE merchant_id = $1 AND live = $2 AND receiver_id = $3;

-- name: receiver_of_number
SELECT * FROM share_receiver WHERE merchant_id = $1 AND live = $2 AND number = $3;

-- name: receivers
SELECT * FROM share_receiver
WHERE merchant_id = $1 AND live = $2 AND ($3::text IS NULL OR receiver_id < $3)
ORDER BY receiver_id DESC LIMIT $4;

-- name: receivers_of_ids
SELECT * FROM share_receiver WHERE merchant_id = $1 AND receiver_id = ANY ($2::text[]);

-- name: request_share
-- $5 in all, $6 whether the rest is left to the merchant; $13 the parts.
WITH reserved AS (
  UPDATE attempt
  SET reserved_minor = reserved_minor + $5, shared_minor = shared_minor + $5, shares_closed = $6
  WHERE merchant_id = $1 AND payment_id = $2 AND state = 'succeeded'
    AND NOT shares_closed AND reserved_minor + $5 <= captured_minor
  RETURNING *
), key AS (
  INSERT INTO idempotency_key (merchant_id, live, key, body_digest, resource_id)
  SELECT $1, $8, $9, $10, $3 FROM reserved WHERE $9::text IS NOT NULL
), asked AS (
  INSERT INTO profit_share (merchant_id, share_id, payment_id, attempt_id, live, reference,
                            amount_minor, currency, finish, created_at)
  SELECT $1, $3, $2, attempt_id, $8, $4, $5, currency, $6, $12 FROM reserved
  RETURNING profit_share AS row
), parts AS (
  INSERT INTO profit_share_part (merchant_id, share_id, line, receiver_id, amount_minor, description)
  SELECT $1, $3, given.line, given.receiver_id, given.amount_minor, given.description
  FROM asked, jsonb_to_recordset($13::jsonb)
    AS given (line integer, receiver_id text, amount_minor bigint, description text)
  RETURNING profit_share_part AS row
), told AS (
  INSERT INTO event (merchant_id, event_id, live, payment_id, type, data)
  SELECT $1, $7, $8, $2, 'profit_share.created', profit_share_document(
    row, (SELECT coalesce(jsonb_agg(profit_share_part_document(row) ORDER BY (row).line), '[]')
          FROM parts))
  FROM asked
), booked AS (
  INSERT INTO ledger_entry (merchant_id, event_id, line, live, debit, credit, amount_minor,
                            currency, payment_id, subject_id)
  SELECT $1, $7, 1, $8, 'merchant_payable', 'shares_in_transit', $5, (row).currency, $2, $3
  FROM asked WHERE $5 > 0
), work AS (
  INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
  SELECT $1, 'work_profit_share', $3, '{}', $12::timestamptz + $11 FROM asked
)
SELECT (row).* FROM asked;

-- name: share_of_id
SELECT * FROM profit_share WHERE merchant_id = $1 AND live = $2 AND share_id = $3;

-- name: share_of_any_mode
SELECT * FROM profit_share WHERE merchant_id = $1 AND share_id = $2;

-- name: shares
SELECT * FROM profit_share
WHERE merchant_id = $1 AND live = $2 AND ($3::text IS NULL OR share_id < $3)
  AND ($4::text IS NULL OR state = $4) AND ($5::text IS NULL OR payment_id = $5)
ORDER BY share_id DESC LIMIT $6;

-- name: parts_of_shares
SELECT * FROM profit_share_part
WHERE merchant_id = $1 AND share_id = ANY ($2::text[]) ORDER BY share_id, line;

-- name: send_share
UPDATE profit_share SET state = 'sending', sent_at = $4
WHERE merchant_id = $1 AND share_id = $2 AND state = ANY ($3::text[])
RETURNING *;

-- name: move_share
UPDATE profit_share SET state = $3, channel_reference = coalesce($5, channel_reference)
WHERE merchant_id = $1 AND share_id = $2 AND state = ANY ($4::text[])
RETURNING *;

-- name: settle_share
-- $4 the state that it ends in, $7 what became of each part: who did not get it leaves it to the
-- merchant. What failed altogether has not closed the payment to shares either.
WITH result AS (
  SELECT * FROM jsonb_to_recordset($7::jsonb)
    AS given (line integer, arrived boolean, channel_code text, channel_message text)
), arrived AS (
  SELECT coalesce(sum(p.amount_minor), 0) AS minor
  FROM profit_share_part p JOIN result ON result.line = p.line AND result.arrived
  WHERE p.merchant_id = $1 AND p.share_id = $2
), settled AS (
  UPDATE profit_share
  SET state = $4, channel_reference = coalesce($5, channel_reference),
      arrived_minor = arrived.minor, code = $9, channel_code = $10, channel_message = $11,
      shared_at = CASE WHEN $4 = 'failed' THEN NULL ELSE coalesce($6::timestamptz, now()) END
  FROM arrived
  WHERE merchant_id = $1 AND share_id = $2 AND state = ANY ($3::text[])
  RETURNING profit_share AS row
), parts AS (
  UPDATE profit_share_part p
  SET state = CASE WHEN result.arrived THEN 'succeeded' ELSE 'failed' END,
      channel_code = result.channel_code, channel_message = result.channel_message
  FROM settled, result
  WHERE p.merchant_id = $1 AND p.share_id = $2 AND p.line = result.line
  RETURNING p AS row
), freed AS (
  UPDATE attempt a
  SET reserved_minor = reserved_minor - ((row).amount_minor - (row).arrived_minor),
      shared_minor = shared_minor - ((row).amount_minor - (row).arrived_minor),
      shares_closed = shares_closed AND NOT ($4 = 'failed' AND (row).finish)
  FROM settled WHERE a.merchant_id = $1 AND a.attempt_id = (row).attempt_id
  RETURNING a.account_id
), told AS (
  INSERT INTO event (merchant_id, event_id, live, payment_id, type, data)
  SELECT $1, $8, (row).live, (row).payment_id, 'profit_share.' || $4, profit_share_document(
    row, (SELECT coalesce(jsonb_agg(profit_share_part_document(row) ORDER BY (row).line), '[]')
          FROM parts))
  FROM settled
), booked AS (
  INSERT INTO ledger_entry (merchant_id, event_id, line, live, debit, credit, amount_minor,
                            currency, payment_id, subject_id)
  SELECT $1, $8, entry.line, (row).live, 'shares_in_transit', entry.credit, entry.minor,
         (row).currency, (row).payment_id, $2
  FROM settled, freed, LATERAL (VALUES
    (1, 'channel_receivable:' || freed.account_id, (row).arrived_minor),
    (2, 'merchant_payable', (row).amount_minor - (row).arrived_minor)
  ) AS entry (line, credit, minor)
  WHERE entry.minor > 0
)
SELECT (row).* FROM settled;

-- name: request_return
WITH reserved AS (
  UPDATE profit_share_part SET returning_minor = returning_minor + $6
  WHERE merchant_id = $1 AND share_id = $2 AND line = $3 AND state = 'succeeded'
    AND returned_minor + returning_minor + $6 <= amount_minor
  RETURNING *
), key AS (
  INSERT INTO idempotency_key (merchant_id, live, key, body_digest, resource_id)
  SELECT $1, $9, $10, $11, $4 FROM reserved WHERE $10::text IS NOT NULL
), asked AS (
  INSERT INTO share_return (merchant_id, return_id, share_id, line, payment_id, live, reference,
                            amount_minor, currency, description, created_at)
  SELECT $1, $4, $2, $3, s.payment_id, $9, $5, $6, s.currency, $7, $13
  FROM reserved JOIN profit_share s ON s.merchant_id = $1 AND s.share_id = $2
  RETURNING share_return AS row
), told AS (
  INSERT INTO event (merchant_id, event_id, live, payment_id, type, data)
  SELECT $1, $8, $9, (row).payment_id, 'profit_share.return_created', share_return_document(row)
  FROM asked
), work AS (
  INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
  SELECT $1, 'work_share_return', $4, '{}', $13::timestamptz + $12 FROM asked
)
SELECT (row).* FROM asked;

-- name: return_of_id
SELECT * FROM share_return WHERE merchant_id = $1 AND live = $2 AND return_id = $3;

-- name: return_of_any_mode
SELECT * FROM share_return WHERE merchant_id = $1 AND return_id = $2;

-- name: returns_of_share
SELECT * FROM share_return WHERE merchant_id = $1 AND share_id = $2 ORDER BY return_id;

-- name: send_return
UPDATE share_return SET state = 'sending', sent_at = $4
WHERE merchant_id = $1 AND return_id = $2 AND state = ANY ($3::text[])
RETURNING *;

-- name: move_return
UPDATE share_return SET state = $3, channel_reference = coalesce($5, channel_reference)
WHERE merchant_id = $1 AND return_id = $2 AND state = ANY ($4::text[])
RETURNING *;

-- name: settle_returned
-- What came back may be refunded, or shared anew.
WITH settled AS (
  UPDATE share_return
  SET state = 'succeeded', channel_reference = $4, returned_at = coalesce($5, now())
  WHERE merchant_id = $1 AND return_id = $2 AND state = ANY ($3::text[])
  RETURNING share_return AS row
), counted AS (
  UPDATE profit_share_part p
  SET returning_minor = returning_minor - (row).amount_minor,
      returned_minor = returned_minor + (row).amount_minor
  FROM settled
  WHERE p.merchant_id = $1 AND p.share_id = (row).share_id AND p.line = (row).line
), freed AS (
  UPDATE attempt a
  SET reserved_minor = reserved_minor - (row).amount_minor,
      shared_minor = shared_minor - (row).amount_minor
  FROM settled JOIN profit_share s ON s.merchant_id = $1 AND s.share_id = (row).share_id
  WHERE a.merchant_id = $1 AND a.attempt_id = s.attempt_id
  RETURNING a.account_id
), told AS (
  INSERT INTO event (merchant_id, event_id, live, payment_id, type, data)
  SELECT $1, $6, (row).live, (row).payment_id, 'profit_share.return_succeeded',
         share_return_document(row)
  FROM settled
), booked AS (
  INSERT INTO ledger_entry (merchant_id, event_id, line, live, debit, credit, amount_minor,
                            currency, payment_id, subject_id)
  SELECT $1, $6, 1, (row).live, 'channel_receivable:' || freed.account_id, 'merchant_payable',
         (row).amount_minor, (row).currency, (row).payment_id, $2
  FROM settled, freed
)
SELECT (row).* FROM settled;

-- name: settle_return_failed
WITH settled AS (
  UPDATE share_return SET state = 'failed', code = $4, channel_code = $5, channel_message = $6
  WHERE merchant_id = $1 AND return_id = $2 AND state = ANY ($3::text[])
  RETURNING share_return AS row
), counted AS (
  UPDATE profit_share_part p SET returning_minor = returning_minor - (row).amount_minor
  FROM settled
  WHERE p.merchant_id = $1 AND p.share_id = (row).share_id AND p.line = (row).line
), told AS (
  INSERT INTO event (merchant_id, event_id, live, payment_id, type, data)
  SELECT $1, $7, (row).live, (row).payment_id, 'profit_share.return_failed',
         share_return_document(row)
  FROM settled
)
SELECT (row).* FROM settled;
