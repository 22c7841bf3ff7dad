-- Transfers: asked for, approved by a second person, sent, asked about, settled.

-- name: lock_transfers
-- One request of a merchant at a time counts against its limits; until the transaction ends.
SELECT pg_advisory_xact_lock(hashtextextended('transfers ' || $1, 0));

-- name: policy
SELECT check_above_minor, max_minor, daily_max_minor FROM transfer_policy
WHERE merchant_id = $1 AND live = $2 AND currency = $3;

-- name: put_policy
INSERT INTO transfer_policy (merchant_id, live, currency, check_above_minor, max_minor,
                             daily_max_minor)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (merchant_id, live, currency) DO UPDATE
SET check_above_minor = excluded.check_above_minor, max_minor = excluded.max_minor,
    daily_max_minor = excluded.daily_max_minor, updated_at = now();

-- name: spent
-- What was asked for since $4 and has not come to nothing.
SELECT coalesce(sum(amount_minor), 0)::bigint FROM transfer
WHERE merchant_id = $1 AND live = $2 AND currency = $3 AND created_at > $4
  AND state NOT IN ('rejected', 'failed');

-- name: request_transfer
-- One that needs no second person is approved, and in the books, at once.
WITH key AS (
  INSERT INTO idempotency_key (merchant_id, live, key, body_digest, resource_id)
  SELECT $1, $3, $17, $18, $2 WHERE $17::text IS NOT NULL
), asked AS (
  INSERT INTO transfer (merchant_id, transfer_id, live, batch_id, number, account_id, channel,
                        reference, amount_minor, currency, sealed_payee, description, scene, state,
                        requested_by, created_at, batch_line)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $19, $21)
  RETURNING transfer AS row
), told AS (
  INSERT INTO event (merchant_id, event_id, live, type, data)
  SELECT $1, $16, $3, 'transfer.created', transfer_document(row) FROM asked
), booked AS (
  INSERT INTO ledger_entry (merchant_id, event_id, line, live, debit, credit, amount_minor,
                            currency, subject_id)
  SELECT $1, $16, 1, $3, 'merchant_payable', 'transfers_in_transit', (row).amount_minor,
         (row).currency, $2
  FROM asked WHERE (row).state = 'approved'
), work AS (
  INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
  SELECT $1, 'work_transfer', $2, '{}', $19::timestamptz + $20 FROM asked
  WHERE (row).state = 'approved'
)
SELECT (row).* FROM asked;

-- name: put_batch
INSERT INTO transfer_batch (merchant_id, batch_id, live, number, requested_by, created_at)
VALUES ($1, $2, $3, $4, $5, $6)
RETURNING *;

-- name: key_of_batch
INSERT INTO idempotency_key (merchant_id, live, key, body_digest, resource_id)
VALUES ($1, $2, $3, $4, $5);

-- name: batch_of_id
SELECT * FROM transfer_batch WHERE merchant_id = $1 AND live = $2 AND batch_id = $3;

-- name: batch_of_number
SELECT * FROM transfer_batch WHERE merchant_id = $1 AND live = $2 AND number = $3;

-- name: transfers_of_batch
SELECT * FROM transfer WHERE merchant_id = $1 AND batch_id = $2 ORDER BY batch_line;

-- name: transfer_of_id
SELECT * FROM transfer WHERE merchant_id = $1 AND live = $2 AND transfer_id = $3;

-- name: transfer_of_number
SELECT * FROM transfer WHERE merchant_id = $1 AND live = $2 AND number = $3;

-- name: transfer_of_any_mode
SELECT * FROM transfer WHERE merchant_id = $1 AND transfer_id = $2;

-- name: payee
SELECT sealed_payee FROM transfer WHERE merchant_id = $1 AND transfer_id = $2;

-- name: transfers
SELECT * FROM transfer
WHERE merchant_id = $1 AND live = $2 AND ($3::text IS NULL OR transfer_id < $3)
  AND ($4::text IS NULL OR state = $4)
ORDER BY transfer_id DESC LIMIT $5;

-- name: approve_transfer
-- Not by the one who asked for it.
WITH approved AS (
  UPDATE transfer SET state = 'approved', decided_by = $4, decided_at = $6
  WHERE merchant_id = $1 AND live = $2 AND transfer_id = $3 AND state = ANY ($5::text[])
    AND requested_by <> $4
  RETURNING transfer AS row
), told AS (
  INSERT INTO event (merchant_id, event_id, live, type, data)
  SELECT $1, $7, $2, 'transfer.approved', transfer_document(row) FROM approved
), booked AS (
  INSERT INTO ledger_entry (merchant_id, event_id, line, live, debit, credit, amount_minor,
                            currency, subject_id)
  SELECT $1, $7, 1, $2, 'merchant_payable', 'transfers_in_transit', (row).amount_minor,
         (row).currency, $3
  FROM approved
), work AS (
  INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
  SELECT $1, 'work_transfer', $3, '{}', $6::timestamptz + $8 FROM approved
)
SELECT (row).* FROM approved;

-- name: reject_transfer
WITH rejected AS (
  UPDATE transfer SET state = 'rejected', decided_by = $4, decided_at = $6, reason = $8
  WHERE merchant_id = $1 AND live = $2 AND transfer_id = $3 AND state = ANY ($5::text[])
  RETURNING transfer AS row
), told AS (
  INSERT INTO event (merchant_id, event_id, live, type, data)
  SELECT $1, $7, $2, 'transfer.rejected', transfer_document(row) FROM rejected
)
SELECT (row).* FROM rejected;

-- name: send_transfer
UPDATE transfer SET state = 'sending', sent_at = $4
WHERE merchant_id = $1 AND transfer_id = $2 AND state = ANY ($3::text[])
RETURNING *;

-- name: move_transfer
UPDATE transfer
SET state = $3, channel_reference = coalesce($5, channel_reference), action = coalesce($6, action)
WHERE merchant_id = $1 AND transfer_id = $2 AND state = ANY ($4::text[])
RETURNING *;

-- name: settle_transferred
WITH settled AS (
  UPDATE transfer
  SET state = 'succeeded', channel_reference = $4, transferred_at = coalesce($5, now()),
      action = NULL
  WHERE merchant_id = $1 AND transfer_id = $2 AND state = ANY ($3::text[])
  RETURNING transfer AS row
), told AS (
  INSERT INTO event (merchant_id, event_id, live, type, data)
  SELECT $1, $6, (row).live, 'transfer.succeeded', transfer_document(row) FROM settled
), booked AS (
  INSERT INTO ledger_entry (merchant_id, event_id, line, live, debit, credit, amount_minor,
                            currency, subject_id)
  SELECT $1, $6, 1, (row).live, 'transfers_in_transit', 'channel_receivable:' || (row).account_id,
         (row).amount_minor, (row).currency, $2
  FROM settled
)
SELECT (row).* FROM settled;

-- name: settle_transfer_failed
WITH settled AS (
  UPDATE transfer
  SET state = 'failed', code = $4, channel_code = $5, channel_message = $6, action = NULL
  WHERE merchant_id = $1 AND transfer_id = $2 AND state = ANY ($3::text[])
  RETURNING transfer AS row
), told AS (
  INSERT INTO event (merchant_id, event_id, live, type, data)
  SELECT $1, $7, (row).live, 'transfer.failed', transfer_document(row) FROM settled
), booked AS (
  INSERT INTO ledger_entry (merchant_id, event_id, line, live, debit, credit, amount_minor,
                            currency, subject_id)
  SELECT $1, $7, 1, (row).live, 'transfers_in_transit', 'merchant_payable',
         (row).amount_minor, (row).currency, $2
  FROM settled
)
SELECT (row).* FROM settled;

-- name: note_anomaly
INSERT INTO anomaly (merchant_id, anomaly_id, kind, detail) VALUES ($1, $2, $3, $4);
