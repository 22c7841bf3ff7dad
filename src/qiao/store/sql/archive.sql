-- Archiving a period: from lower id ($1, null: from the beginning) to before upper id ($2).
-- Earlier periods are gone before a later one goes.

-- name: holds
-- What still needs the period, or something in it. Ids sort by their time, so the upper id's letters
-- bound every other kind's too. $3 how many.
SELECT * FROM (
  SELECT 'payment' AS kind, merchant_id, payment_id AS subject_id, state FROM payment
  WHERE payment_id < 'pay_' || substr($2::text, 5) AND state NOT IN ('paid', 'closed', 'rejected')
  UNION ALL
  SELECT 'attempt', merchant_id, attempt_id, state FROM attempt
  WHERE attempt_id < 'att_' || substr($2, 5)
    AND state IN ('created', 'sending', 'pending', 'authorized', 'unknown')
  UNION ALL
  SELECT 'refund', merchant_id, refund_id, state FROM refund
  WHERE payment_id < 'pay_' || substr($2, 5) AND state NOT IN ('succeeded', 'failed')
  UNION ALL
  SELECT 'capture', merchant_id, capture_id, state FROM capture
  WHERE payment_id < 'pay_' || substr($2, 5) AND state NOT IN ('succeeded', 'failed')
  UNION ALL
  SELECT 'profit share', merchant_id, share_id, state FROM profit_share
  WHERE payment_id < 'pay_' || substr($2, 5) AND state NOT IN ('succeeded', 'partly', 'failed')
  UNION ALL
  SELECT 'share return', merchant_id, return_id, state FROM share_return
  WHERE payment_id < 'pay_' || substr($2, 5) AND state NOT IN ('succeeded', 'failed')
  UNION ALL
  SELECT 'dispute', merchant_id, dispute_id, state FROM dispute
  WHERE dispute_id < 'dsp_' || substr($2, 5) AND state IN ('needs_response', 'under_review')
  UNION ALL
  SELECT 'transfer', merchant_id, transfer_id, state FROM transfer
  WHERE transfer_id < 'tra_' || substr($2, 5) AND state NOT IN ('succeeded', 'failed', 'rejected')
  UNION ALL
  SELECT 'webhook', d.merchant_id, d.event_id || ':' || d.endpoint_id, d.state
  FROM webhook_delivery d
  WHERE d.event_id < $2 AND ($1::text IS NULL OR d.event_id >= $1) AND d.state = 'pending'
  UNION ALL
  -- Whatever a job is about, save what lives for years; a kind that is not known here holds.
  SELECT 'job', merchant_id, subject_id, kind FROM job
  WHERE split_part(split_part(subject_id, ':', 1), '_', 2) ~ '^[0-7][0-9a-z]{25}$'
    AND split_part(split_part(subject_id, ':', 1), '_', 2) < substr($2, 5)
    AND split_part(subject_id, '_', 1) NOT IN
        ('org', 'mer', 'app', 'key', 'acc', 'whe', 'lim', 'rcv', 'agr', 'sub')
) AS held
ORDER BY kind, merchant_id, subject_id
LIMIT $3;

-- name: try_lock
-- One archive at a time; until the transaction ends.
SELECT pg_try_advisory_xact_lock(hashtextextended('archive', 0));

-- name: period
SELECT period, until_id, until, frozen_at, archived_at, dropped_at, place, manifest_sha256
FROM archived_period WHERE period = $1;

-- name: all_archived
SELECT period, until_id, until, frozen_at, archived_at, dropped_at, place, manifest_sha256
FROM archived_period WHERE archived_at IS NOT NULL ORDER BY until_id;

-- name: freeze
INSERT INTO archived_period (period, until_id, until) VALUES ($1, $2, $3);

-- name: thaw
DELETE FROM archived_period WHERE period = $1 AND archived_at IS NULL;

-- name: raise_bar
-- An older version would count neither closings nor what was carried.
UPDATE schema_compatibility SET oldest_revision = $1 WHERE oldest_revision < $1;

-- name: archived
UPDATE archived_period SET archived_at = now(), place = $2, manifest_sha256 = $3
WHERE period = $1 AND archived_at IS NULL
RETURNING archived_at;

-- name: dropped
UPDATE archived_period SET dropped_at = now() WHERE period = $1;

-- name: close
-- $3 the period, $4 its end.
INSERT INTO ledger_closing (merchant_id, period, live, debit, credit, currency, entries,
                            amount_minor, subjects)
SELECT merchant_id, $3, live, debit, credit, currency, count(*), sum(amount_minor),
       sum(entry_digest(subject_id, amount_minor))
FROM ledger_entry
WHERE event_id < $2 AND ($1::text IS NULL OR event_id >= $1) AND booked_at < $4
GROUP BY merchant_id, live, debit, credit, currency;

-- name: carry
INSERT INTO ledger_carried (merchant_id, event_id, line, live, debit, credit, amount_minor,
                            currency, payment_id, subject_id, booked_at)
SELECT merchant_id, event_id, line, live, debit, credit, amount_minor, currency, payment_id,
       subject_id, booked_at
FROM ledger_entry
WHERE event_id < $2 AND ($1::text IS NULL OR event_id >= $1) AND booked_at >= $3;

-- name: closings
SELECT merchant_id, live, debit, credit, currency, entries, amount_minor, subjects
FROM ledger_closing WHERE period = $1
ORDER BY merchant_id, live, debit, credit, currency;

-- name: carried
-- Of the period from $1 to before $2.
SELECT merchant_id, event_id, line, live, debit, credit, amount_minor, currency, subject_id
FROM ledger_carried WHERE event_id < $2 AND ($1::text IS NULL OR event_id >= $1)
ORDER BY merchant_id, event_id, line;

-- name: audit_heads
SELECT merchant_id AS chain, sequence, digest FROM audit_head ORDER BY merchant_id;

-- name: audit_digest
SELECT digest FROM audit_entry WHERE merchant_id = $1 AND sequence = $2;

-- name: columns
-- Of a table, in order, with the type under a domain; key is the column's place in the primary key.
SELECT a.attname AS name,
       format_type(CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE a.atttypid END, NULL) AS type,
       array_position(i.indkey::int2[], a.attnum) AS key
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum;

-- name: attachment
-- 'attached', 'leaving' when a detaching was cut off, 'apart', or null when it is not there.
SELECT CASE WHEN inhrelid IS NULL THEN 'apart' WHEN inhdetachpending THEN 'leaving'
            ELSE 'attached' END
FROM pg_class LEFT JOIN pg_inherits ON inhrelid = pg_class.oid
WHERE pg_class.oid = to_regclass($1::text);
