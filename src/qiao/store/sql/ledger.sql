-- Reading the ledger. It is written by the statements that change a state, in payments.sql,
-- captures.sql, refunds.sql, transfers.sql, profit_shares.sql and disputes.sql; nothing else writes
-- it. Reading goes through ledger_kept and, for sums, ledger_closing (migration 0015): of what is in an
-- archive the table itself knows nothing.

-- name: balances
-- $1 merchant_id, $2 live, $3 the end of time (exclusive; null: now and everything). Right from the
-- end of what is archived on; ask archived_until after it.
SELECT account, currency, sum(debit) AS debits_minor, sum(credit) AS credits_minor
FROM (
  SELECT debit AS account, currency, amount_minor AS debit, 0 AS credit FROM ledger_kept
  WHERE merchant_id = $1 AND live = $2 AND booked_at < coalesce($3::timestamptz, 'infinity')
  UNION ALL
  SELECT credit, currency, 0, amount_minor FROM ledger_kept
  WHERE merchant_id = $1 AND live = $2 AND booked_at < coalesce($3::timestamptz, 'infinity')
  UNION ALL
  SELECT debit, currency, amount_minor, 0 FROM ledger_closing WHERE merchant_id = $1 AND live = $2
  UNION ALL
  SELECT credit, currency, 0, amount_minor FROM ledger_closing WHERE merchant_id = $1 AND live = $2
) AS side
GROUP BY account, currency
ORDER BY account, currency;

-- name: archived_until
-- Where the archive ends; it only ever grows.
SELECT period, until, until_id, manifest_sha256 FROM archived_period
WHERE archived_at IS NOT NULL ORDER BY until DESC LIMIT 1;

-- name: statement
-- The entries of one account, the oldest first. $3 account, $4 currency, $5 since, $6 until
-- (exclusive), $7 $8 the event_id and line that ended the page before (null: from the beginning).
SELECT event_id, line, debit, credit, amount_minor, currency, payment_id, subject_id, booked_at
FROM ledger_kept
WHERE merchant_id = $1 AND live = $2 AND (debit = $3 OR credit = $3) AND currency = $4
  AND booked_at >= $5 AND booked_at < $6
  AND ($7::text IS NULL OR (booked_at, event_id, line) > (
    SELECT booked_at, event_id, line FROM ledger_kept
    WHERE merchant_id = $1 AND event_id = $7 AND line = $8))
ORDER BY booked_at, event_id, line
LIMIT $9;

-- name: trial_balance
-- Every merchant's accounts together, for each mode and currency.
SELECT live, currency, split_part(account, ':', 1) AS account,
       sum(debit) AS debits_minor, sum(credit) AS credits_minor
FROM (
  SELECT live, debit AS account, currency, amount_minor AS debit, 0 AS credit FROM ledger_kept
  UNION ALL
  SELECT live, credit, currency, 0, amount_minor FROM ledger_kept
  UNION ALL
  SELECT live, debit, currency, amount_minor, 0 FROM ledger_closing
  UNION ALL
  SELECT live, credit, currency, 0, amount_minor FROM ledger_closing
) AS side
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3;

-- name: wrong_entries
-- What the books should hold, said again from the payments', transfers', shares' and disputes' own
-- rows, against what they hold: every entry that is missing, or that nothing accounts for. Those that are in an
-- archive are missing too, and must be exactly those that were closed there: as many, of as much, for
-- the same subjects. Where they are not, subject_id is null, and missing and amount_minor tell the
-- difference.
WITH expected AS (
  SELECT a.merchant_id, p.live, a.attempt_id AS subject_id, a.payment_id,
         'channel_receivable:' || a.account_id AS debit,
         CASE a.state WHEN 'surplus' THEN 'surplus' ELSE 'merchant_payable' END AS credit,
         a.captured_minor AS amount_minor, a.currency
  FROM attempt a JOIN payment p USING (merchant_id, payment_id)
  WHERE a.captured_minor > 0
  UNION ALL
  SELECT a.merchant_id, p.live, a.attempt_id, a.payment_id, fee.debit, fee.credit, fee.minor,
         a.currency
  FROM attempt a JOIN payment p USING (merchant_id, payment_id), LATERAL (VALUES
    ('merchant_payable', 'platform_fees', a.fee_minor),
    ('channel_fees', 'channel_receivable:' || a.account_id, a.channel_fee_minor)
  ) AS fee (debit, credit, minor)
  WHERE fee.minor > 0
  UNION ALL
  SELECT r.merchant_id, p.live, r.refund_id, r.payment_id, fee.debit, fee.credit, fee.minor,
         r.currency
  FROM refund r
  JOIN payment p USING (merchant_id, payment_id)
  JOIN attempt a ON a.merchant_id = r.merchant_id AND a.attempt_id = r.attempt_id, LATERAL (VALUES
    ('platform_fees', 'merchant_payable', r.fee_returned_minor),
    ('channel_receivable:' || a.account_id, 'channel_fees', r.channel_fee_returned_minor)
  ) AS fee (debit, credit, minor)
  WHERE fee.minor > 0
  UNION ALL
  SELECT r.merchant_id, p.live, r.refund_id, r.payment_id,
         CASE WHEN r.surplus THEN 'surplus' ELSE 'merchant_payable' END, 'refunds_in_transit',
         r.amount_minor, r.currency
  FROM refund r JOIN payment p USING (merchant_id, payment_id)
  UNION ALL
  SELECT r.merchant_id, p.live, r.refund_id, r.payment_id, 'refunds_in_transit',
         CASE WHEN r.state = 'succeeded' THEN 'channel_receivable:' || a.account_id
              WHEN r.surplus THEN 'surplus' ELSE 'merchant_payable' END,
         r.amount_minor, r.currency
  FROM refund r
  JOIN payment p USING (merchant_id, payment_id)
  JOIN attempt a ON a.merchant_id = r.merchant_id AND a.attempt_id = r.attempt_id
  WHERE r.state IN ('succeeded', 'failed')
  UNION ALL
  SELECT merchant_id, live, transfer_id, NULL, 'merchant_payable', 'transfers_in_transit',
         amount_minor, currency
  FROM transfer WHERE state NOT IN ('requested', 'rejected')
  UNION ALL
  SELECT merchant_id, live, transfer_id, NULL, 'transfers_in_transit',
         CASE WHEN state = 'succeeded' THEN 'channel_receivable:' || account_id
              ELSE 'merchant_payable' END,
         amount_minor, currency
  FROM transfer WHERE state IN ('succeeded', 'failed')
  UNION ALL
  SELECT s.merchant_id, s.live, s.share_id, s.payment_id, entry.debit, entry.credit, entry.minor,
         s.currency
  FROM profit_share s
  JOIN attempt a ON a.merchant_id = s.merchant_id AND a.attempt_id = s.attempt_id,
  LATERAL (VALUES
    ('merchant_payable', 'shares_in_transit', s.amount_minor),
    ('shares_in_transit', 'channel_receivable:' || a.account_id, s.arrived_minor),
    ('shares_in_transit', 'merchant_payable',
     CASE WHEN s.state IN ('succeeded', 'partly', 'failed')
          THEN s.amount_minor - s.arrived_minor ELSE 0 END)
  ) AS entry (debit, credit, minor)
  WHERE entry.minor > 0
  UNION ALL
  SELECT r.merchant_id, r.live, r.return_id, r.payment_id, 'channel_receivable:' || a.account_id,
         'merchant_payable', r.amount_minor, r.currency
  FROM share_return r
  JOIN profit_share s ON s.merchant_id = r.merchant_id AND s.share_id = r.share_id
  JOIN attempt a ON a.merchant_id = s.merchant_id AND a.attempt_id = s.attempt_id
  WHERE r.state = 'succeeded'
  UNION ALL
  SELECT d.merchant_id, d.live, d.dispute_id, d.payment_id, entry.debit, entry.credit, entry.minor,
         d.currency
  FROM dispute d, LATERAL (VALUES
    ('chargebacks', 'channel_receivable:' || d.account_id, d.withdrawn_minor),
    ('channel_receivable:' || d.account_id, 'chargebacks', d.returned_minor),
    ('merchant_payable', 'chargebacks', d.charged_minor)
  ) AS entry (debit, credit, minor)
  WHERE entry.minor > 0
), difference AS (
  SELECT merchant_id, live, subject_id, payment_id, debit, credit, amount_minor, currency,
         sum(wanted) AS missing
  FROM (
    SELECT *, 1 AS wanted FROM expected
    UNION ALL
    SELECT merchant_id, live, subject_id, payment_id, debit::text, credit::text, amount_minor,
           currency, -1
    FROM ledger_kept
  ) AS both_sides
  GROUP BY merchant_id, live, subject_id, payment_id, debit, credit, amount_minor, currency
  HAVING sum(wanted) <> 0
), gone AS (
  SELECT merchant_id, live, debit, credit, currency, sum(missing) AS entries,
         sum(missing * amount_minor) AS amount_minor,
         sum(missing * entry_digest(subject_id, amount_minor)) AS subjects
  FROM difference WHERE missing > 0
  GROUP BY merchant_id, live, debit, credit, currency
), closed AS (
  SELECT merchant_id, live, debit::text, credit::text, currency, sum(entries) AS entries,
         sum(amount_minor) AS amount_minor, sum(subjects) AS subjects
  FROM ledger_closing
  GROUP BY merchant_id, live, debit, credit, currency
)
SELECT * FROM difference d
WHERE missing < 0 OR NOT EXISTS (
  SELECT FROM closed c WHERE (c.merchant_id, c.live, c.debit, c.credit, c.currency)
                           = (d.merchant_id, d.live, d.debit, d.credit, d.currency))
UNION ALL
SELECT c.merchant_id, c.live, NULL, NULL, c.debit, c.credit,
       coalesce(g.amount_minor, 0) - c.amount_minor, c.currency, coalesce(g.entries, 0) - c.entries
FROM closed c LEFT JOIN gone g USING (merchant_id, live, debit, credit, currency)
WHERE (c.entries, c.amount_minor, c.subjects)
      IS DISTINCT FROM (g.entries, g.amount_minor, g.subjects)
ORDER BY 1, 3 LIMIT $1;

-- name: wrong_payments
-- Payments whose own sums are not those of their attempts and refunds.
WITH captured AS (
  SELECT merchant_id, payment_id, sum(captured_minor) AS minor FROM attempt
  WHERE state <> 'surplus' GROUP BY 1, 2
), refunded AS (
  SELECT merchant_id, payment_id, sum(amount_minor) AS minor FROM refund
  WHERE state = 'succeeded' AND NOT surplus GROUP BY 1, 2
)
SELECT p.merchant_id, p.payment_id, p.captured_minor, p.refunded_minor,
       coalesce(captured.minor, 0) AS captured_by_attempts,
       coalesce(refunded.minor, 0) AS refunded_by_refunds
FROM payment p
LEFT JOIN captured USING (merchant_id, payment_id)
LEFT JOIN refunded USING (merchant_id, payment_id)
WHERE p.captured_minor <> coalesce(captured.minor, 0)
   OR p.refunded_minor <> coalesce(refunded.minor, 0)
   OR (p.state = 'paid') <> (p.captured_minor > 0)
   OR (p.authorized_minor > 0 AND p.captured_minor > p.authorized_minor)
ORDER BY p.merchant_id, p.payment_id LIMIT $1;

-- name: wrong_reserves
-- Attempts that hold another amount back than their refunds and shares say, together or of shares.
WITH refunds AS (
  SELECT merchant_id, attempt_id, sum(amount_minor) AS minor FROM refund
  WHERE state <> 'failed' GROUP BY 1, 2
), returned AS (
  SELECT merchant_id, share_id, sum(amount_minor) AS minor FROM share_return
  WHERE state = 'succeeded' GROUP BY 1, 2
), shares AS (
  SELECT s.merchant_id, s.attempt_id,
         sum(CASE WHEN s.state IN ('succeeded', 'partly', 'failed') THEN s.arrived_minor
                  ELSE s.amount_minor END - coalesce(returned.minor, 0)) AS minor
  FROM profit_share s LEFT JOIN returned USING (merchant_id, share_id) GROUP BY 1, 2
)
SELECT a.merchant_id, a.attempt_id, a.reserved_minor, a.shared_minor,
       coalesce(refunds.minor, 0) AS by_refunds, coalesce(shares.minor, 0) AS by_shares
FROM attempt a
LEFT JOIN refunds USING (merchant_id, attempt_id)
LEFT JOIN shares USING (merchant_id, attempt_id)
WHERE a.reserved_minor <> coalesce(refunds.minor, 0) + coalesce(shares.minor, 0)
   OR a.shared_minor <> coalesce(shares.minor, 0)
ORDER BY a.merchant_id, a.attempt_id LIMIT $1;

-- name: wrong_fees
-- Attempts whose fees are not what their price and cost make of what was captured and refunded.
SELECT a.merchant_id, a.attempt_id, a.fee_minor, a.channel_fee_minor,
       coalesce(sum(r.fee_returned_minor), 0) AS fee_returned,
       coalesce(sum(r.channel_fee_returned_minor), 0) AS channel_fee_returned
FROM attempt a
LEFT JOIN refund r
  ON r.merchant_id = a.merchant_id AND r.attempt_id = a.attempt_id AND r.state = 'succeeded'
WHERE a.price IS NOT NULL OR a.cost IS NOT NULL OR a.fee_minor > 0 OR a.channel_fee_minor > 0
GROUP BY a.merchant_id, a.attempt_id
HAVING a.fee_minor <> CASE a.state WHEN 'succeeded' THEN fee_of(a.price, a.captured_minor) ELSE 0 END
    OR a.channel_fee_minor <>
       CASE a.state WHEN 'succeeded' THEN fee_of(a.cost, a.captured_minor) ELSE 0 END
    OR coalesce(sum(r.fee_returned_minor), 0) <> fee_returned(
         a.price, a.fee_minor, a.captured_minor, 0, coalesce(sum(r.amount_minor), 0)::bigint)
    OR coalesce(sum(r.channel_fee_returned_minor), 0) <> fee_returned(
         a.cost, a.channel_fee_minor, a.captured_minor, 0, coalesce(sum(r.amount_minor), 0)::bigint)
ORDER BY a.merchant_id, a.attempt_id LIMIT $1;

-- name: wrong_shares
-- Shares that say something else than their parts, and parts something else than their returns.
WITH parts AS (
  SELECT merchant_id, share_id, sum(amount_minor) AS minor,
         sum(amount_minor) FILTER (WHERE state = 'succeeded') AS arrived
  FROM profit_share_part GROUP BY 1, 2
), returns AS (
  SELECT merchant_id, share_id, line,
         sum(amount_minor) FILTER (WHERE state = 'succeeded') AS returned,
         sum(amount_minor) FILTER (WHERE state NOT IN ('succeeded', 'failed')) AS returning_
  FROM share_return GROUP BY 1, 2, 3
)
SELECT s.merchant_id, s.share_id, NULL AS line FROM profit_share s
LEFT JOIN parts USING (merchant_id, share_id)
WHERE s.amount_minor <> coalesce(parts.minor, 0) OR s.arrived_minor <> coalesce(parts.arrived, 0)
UNION ALL
SELECT p.merchant_id, p.share_id, p.line FROM profit_share_part p
LEFT JOIN returns USING (merchant_id, share_id, line)
WHERE p.returned_minor <> coalesce(returns.returned, 0)
   OR p.returning_minor <> coalesce(returns.returning_, 0)
ORDER BY 1, 2, 3 LIMIT $1;

-- name: overdrawn
-- Accounts of claims on others that stand on the wrong side.
SELECT merchant_id, live, account, currency, sum(credit - debit) AS balance_minor
FROM (
  SELECT merchant_id, live, debit AS account, currency, amount_minor AS debit, 0 AS credit
  FROM ledger_kept
  UNION ALL
  SELECT merchant_id, live, credit, currency, 0, amount_minor FROM ledger_kept
  UNION ALL
  SELECT merchant_id, live, debit, currency, amount_minor, 0 FROM ledger_closing
  UNION ALL
  SELECT merchant_id, live, credit, currency, 0, amount_minor FROM ledger_closing
) AS side
WHERE account IN ('refunds_in_transit', 'transfers_in_transit', 'shares_in_transit', 'surplus',
                  'suspense')
GROUP BY merchant_id, live, account, currency
HAVING sum(credit - debit) < 0
ORDER BY merchant_id, account LIMIT $1;

-- name: counts
-- With what is in the archive.
SELECT coalesce(sum(entries), 0)::bigint AS entries, count(DISTINCT merchant_id) AS merchants
FROM (
  SELECT merchant_id, count(*) AS entries FROM ledger_kept GROUP BY merchant_id
  UNION ALL
  SELECT merchant_id, sum(entries) FROM ledger_closing GROUP BY merchant_id
) AS counted;

-- name: unguarded
-- The triggers that keep the books append-only: those that are not there, or do not fire for
-- everybody, on each table and each of its partitions.
SELECT place.relid::regclass::text AS place, wanted.name AS guard
FROM (VALUES ('event', 'event_is_append_only'), ('event', 'event_is_not_emptied'),
             ('ledger_entry', 'ledger_is_append_only'), ('ledger_entry', 'ledger_is_not_emptied'),
             ('ledger_closing', 'ledger_closing_append_only'),
             ('ledger_closing', 'ledger_closing_not_emptied'),
             ('ledger_carried', 'ledger_carried_append_only'),
             ('ledger_carried', 'ledger_carried_not_emptied'),
             ('payment_success', 'success_is_append_only'),
             ('payment_success', 'success_is_not_emptied')) AS wanted (table_name, name)
CROSS JOIN LATERAL (
  SELECT wanted.table_name::regclass AS relid
  UNION
  SELECT relid FROM pg_partition_tree(wanted.table_name::regclass)
) AS place
WHERE NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = place.relid
                  AND t.tgname = wanted.name AND t.tgenabled IN ('O', 'A'))
ORDER BY 1, 2;
