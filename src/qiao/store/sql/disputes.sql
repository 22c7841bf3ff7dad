-- Disputes, as their channels tell them; written by engine/disputes.py, one row locked at a time.

-- name: lock_dispute
SELECT * FROM dispute WHERE merchant_id = $1 AND account_id = $2 AND number = $3 FOR UPDATE;

-- name: put_dispute
INSERT INTO dispute (merchant_id, dispute_id, live, account_id, channel, number, kind, state,
                     payment_id, amount_minor, currency, reason, sealed_text, due_by,
                     withdrawn_minor, returned_minor, charged_minor, opened_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
RETURNING *;

-- name: change_dispute
UPDATE dispute
SET state = $3, amount_minor = $4, reason = $5, sealed_text = $6, due_by = $7,
    withdrawn_minor = $8, returned_minor = $9, charged_minor = $10, updated_at = $11
WHERE merchant_id = $1 AND dispute_id = $2
RETURNING *;

-- name: keep_text
UPDATE dispute SET sealed_text = $3 WHERE merchant_id = $1 AND dispute_id = $2;

-- name: tell_dispute
INSERT INTO event (merchant_id, event_id, live, payment_id, type, data)
SELECT d.merchant_id, $3, d.live, d.payment_id, $4, dispute_document(d)
FROM dispute d WHERE d.merchant_id = $1 AND d.dispute_id = $2;

-- name: book_dispute
INSERT INTO ledger_entry (merchant_id, event_id, line, live, debit, credit, amount_minor, currency,
                          payment_id, subject_id)
SELECT d.merchant_id, $3, $4, d.live, $5, $6, $7, d.currency, d.payment_id, d.dispute_id
FROM dispute d WHERE d.merchant_id = $1 AND d.dispute_id = $2;

-- name: dispute_of_id
SELECT * FROM dispute WHERE merchant_id = $1 AND live = $2 AND dispute_id = $3;

-- name: lock_dispute_of_id
SELECT * FROM dispute WHERE merchant_id = $1 AND dispute_id = $2 FOR UPDATE;

-- name: reminded
UPDATE dispute SET reminded_of = due_by WHERE merchant_id = $1 AND dispute_id = $2;

-- name: disputes
SELECT * FROM dispute
WHERE merchant_id = $1 AND live = $2 AND ($3::text IS NULL OR dispute_id < $3)
  AND ($4::text IS NULL OR state = $4) AND ($5::text IS NULL OR payment_id = $5)
ORDER BY dispute_id DESC LIMIT $6;

-- name: open_disputes
SELECT number FROM dispute
WHERE merchant_id = $1 AND account_id = $2 AND state IN ('needs_response', 'under_review');

-- name: payment_of_reference
-- By the number under which the channel knows it: an attempt's, or a capture's.
SELECT a.payment_id FROM attempt a
WHERE a.merchant_id = $1 AND a.account_id = $2 AND a.reference = $3
UNION ALL
SELECT a.payment_id FROM capture c
JOIN attempt a ON a.merchant_id = c.merchant_id AND a.attempt_id = c.attempt_id
WHERE c.merchant_id = $1 AND a.account_id = $2 AND c.reference = $3;

-- name: want_watching
-- A job for each account of these channels, now ($2).
INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
SELECT merchant_id, 'watch_disputes', account_id, '{}', $2 FROM channel_account
WHERE enabled AND channel = ANY ($1::text[])
ON CONFLICT (merchant_id, kind, subject_id)
DO UPDATE SET run_at = least(job.run_at, excluded.run_at);
