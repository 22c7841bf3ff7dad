-- Disputes: customers' complaints and banks' chargebacks, as their channels tell them.

CREATE TABLE dispute (
  merchant_id text NOT NULL REFERENCES merchant,
  dispute_id text NOT NULL,
  live boolean NOT NULL,
  account_id text NOT NULL,
  channel text NOT NULL,
  number text NOT NULL,
  kind text NOT NULL,
  state text NOT NULL,
  payment_id text,
  amount_minor bigint NOT NULL CHECK (amount_minor >= 0),
  currency text NOT NULL,
  reason text NOT NULL,
  sealed_text bytea NOT NULL,
  due_by timestamptz,
  reminded_of timestamptz,
  withdrawn_minor bigint NOT NULL DEFAULT 0 CHECK (withdrawn_minor >= 0),
  returned_minor bigint NOT NULL DEFAULT 0 CHECK (returned_minor >= 0),
  charged_minor bigint NOT NULL DEFAULT 0 CHECK (charged_minor >= 0),
  opened_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, dispute_id),
  FOREIGN KEY (merchant_id, account_id) REFERENCES channel_account,
  FOREIGN KEY (merchant_id, payment_id) REFERENCES payment,
  CONSTRAINT dispute_number UNIQUE (merchant_id, account_id, number),
  CONSTRAINT ends_once CHECK (returned_minor + charged_minor <= withdrawn_minor)
);
COMMENT ON COLUMN dispute.number IS 'the channel''s own';
COMMENT ON COLUMN dispute.sealed_text IS 'what the customer wrote: personal data';
COMMENT ON COLUMN dispute.reminded_of IS 'the end of which the merchant was reminded';
COMMENT ON COLUMN dispute.withdrawn_minor IS 'what the channel took for it; returned when won, charged when lost';
CREATE INDEX dispute_newest ON dispute (merchant_id, live, dispute_id DESC);
CREATE INDEX dispute_open ON dispute (merchant_id, account_id)
  WHERE state IN ('needs_response', 'under_review');
COMMENT ON COLUMN ledger_entry.subject_id IS
  'the attempt, refund, transfer, profit share, its return, or the dispute whose money it is';

-- What the customer wrote is not in it: events are stored, shown and sent on.
CREATE FUNCTION dispute_document(d dispute) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object(
    'id', d.dispute_id, 'object', 'dispute', 'live', d.live, 'channel', d.channel,
    'number', d.number, 'kind', d.kind, 'state', d.state, 'payment_id', d.payment_id,
    'amount', d.amount_minor, 'currency', d.currency, 'reason', d.reason,
    'withdrawn', d.withdrawn_minor, 'returned', d.returned_minor, 'charged', d.charged_minor,
    'due_by', utc_text(d.due_by), 'opened_at', utc_text(d.opened_at),
    'updated_at', utc_text(d.updated_at), 'created_at', utc_text(d.created_at))
$$;
