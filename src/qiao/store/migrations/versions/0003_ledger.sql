-- The ledger: double entry, append-only. qiao.domain.ledger tells the accounts and the rules.
--
-- One row is one entry: its amount stands on the debit side of one account and on the credit side
-- of another. So no row, no transaction and no commit can be out of balance. What one event books
-- is the ledger transaction of that event; its lines carry the event's id.

CREATE DOMAIN ledger_account AS text CHECK (
  VALUE ~ '^(merchant_payable|refunds_in_transit|transfers_in_transit|surplus|suspense|chargebacks|channel_fees|platform_fees|channel_receivable:acc_[0-9a-z]+)$'
);

CREATE TABLE ledger_entry (
  merchant_id text NOT NULL,
  event_id text NOT NULL,
  line smallint NOT NULL CHECK (line > 0),
  live boolean NOT NULL,
  debit ledger_account NOT NULL,
  credit ledger_account NOT NULL,
  amount_minor bigint NOT NULL CHECK (amount_minor > 0),
  currency text NOT NULL,
  payment_id text NOT NULL,
  subject_id text NOT NULL,
  booked_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, event_id, line),
  FOREIGN KEY (merchant_id, event_id) REFERENCES event,
  CONSTRAINT two_accounts CHECK (debit <> credit)
);
COMMENT ON COLUMN ledger_entry.subject_id IS 'the attempt or the refund whose money it is';
CREATE INDEX ledger_of_payment ON ledger_entry (merchant_id, payment_id, event_id);
CREATE INDEX ledger_by_time ON ledger_entry (merchant_id, live, booked_at, event_id, line);

CREATE TRIGGER ledger_is_append_only BEFORE UPDATE OR DELETE ON ledger_entry
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER ledger_is_not_emptied BEFORE TRUNCATE ON ledger_entry
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER event_is_not_emptied BEFORE TRUNCATE ON event
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What is in the books already, as it would have been booked.
INSERT INTO ledger_entry (merchant_id, event_id, line, live, debit, credit, amount_minor, currency,
                          payment_id, subject_id, booked_at)
SELECT e.merchant_id, e.event_id, 1, e.live, 'channel_receivable:' || a.account_id,
       CASE a.state WHEN 'surplus' THEN 'surplus' ELSE 'merchant_payable' END,
       a.captured_minor, a.currency, a.payment_id, a.attempt_id, e.created_at
FROM attempt a
JOIN LATERAL (
  SELECT * FROM event e
  WHERE e.merchant_id = a.merchant_id AND e.payment_id = a.payment_id
    AND e.type = CASE a.state WHEN 'surplus' THEN 'payment.surplus' ELSE 'payment.paid' END
  ORDER BY e.event_id
  -- The nth attempt that brought surplus belongs to the nth event that told one.
  OFFSET (SELECT count(*) FROM attempt b
          WHERE b.merchant_id = a.merchant_id AND b.payment_id = a.payment_id
            AND b.state = 'surplus' AND a.state = 'surplus' AND b.attempt_id < a.attempt_id)
  LIMIT 1
) e ON true
WHERE a.state IN ('succeeded', 'surplus');

INSERT INTO ledger_entry (merchant_id, event_id, line, live, debit, credit, amount_minor, currency,
                          payment_id, subject_id, booked_at)
SELECT l.merchant_id, l.event_id, 2, l.live, 'surplus', 'refunds_in_transit', r.amount_minor,
       r.currency, r.payment_id, r.refund_id, l.booked_at
FROM refund r JOIN ledger_entry l ON l.merchant_id = r.merchant_id AND l.subject_id = r.attempt_id
WHERE r.surplus;

INSERT INTO ledger_entry (merchant_id, event_id, line, live, debit, credit, amount_minor, currency,
                          payment_id, subject_id, booked_at)
SELECT e.merchant_id, e.event_id, 1, e.live,
       CASE e.type WHEN 'refund.created' THEN 'merchant_payable' ELSE 'refunds_in_transit' END,
       CASE e.type WHEN 'refund.created' THEN 'refunds_in_transit'
                   WHEN 'refund.succeeded' THEN 'channel_receivable:' || a.account_id
                   ELSE CASE WHEN r.surplus THEN 'surplus' ELSE 'merchant_payable' END END,
       r.amount_minor, r.currency, r.payment_id, r.refund_id, e.created_at
FROM event e
JOIN refund r ON r.merchant_id = e.merchant_id AND r.refund_id = e.data ->> 'id'
JOIN attempt a ON a.merchant_id = r.merchant_id AND a.attempt_id = r.attempt_id
WHERE e.type IN ('refund.created', 'refund.succeeded', 'refund.failed');
