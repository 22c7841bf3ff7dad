-- Profit sharing (分账): who may get a share, the shares of a payment, and their returns.
-- expands only: the domain admits one account more, and what an older version writes shares nothing.

ALTER DOMAIN ledger_account DROP CONSTRAINT ledger_account_check;
ALTER DOMAIN ledger_account ADD CONSTRAINT ledger_account_check CHECK (
  VALUE ~ '^(merchant_payable|refunds_in_transit|transfers_in_transit|shares_in_transit|surplus|suspense|chargebacks|channel_fees|platform_fees|channel_receivable:acc_[0-9a-z]+)$'
) NOT VALID;

ALTER TABLE payment ADD profit_sharing boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN payment.profit_sharing IS 'its money may be shared; the channel is told beforehand';

ALTER TABLE attempt
  ADD shared_minor bigint NOT NULL DEFAULT 0,
  ADD shares_closed boolean NOT NULL DEFAULT false,
  ADD CONSTRAINT shared_within_reserved CHECK (shared_minor BETWEEN 0 AND reserved_minor);
COMMENT ON COLUMN attempt.reserved_minor IS 'what refunds and shares have taken of it, or may yet take';
COMMENT ON COLUMN attempt.shared_minor IS 'how much of reserved_minor is shared';
COMMENT ON COLUMN attempt.shares_closed IS 'the rest was left to the merchant, or is about to be';

CREATE TABLE share_receiver (
  merchant_id text NOT NULL REFERENCES merchant,
  receiver_id text NOT NULL,
  live boolean NOT NULL,
  number text NOT NULL,
  account_id text NOT NULL,
  channel text NOT NULL,
  receiver_type text NOT NULL,
  relation text,
  memo text,
  sealed_receiver bytea NOT NULL,
  state text NOT NULL,
  turn integer NOT NULL DEFAULT 1,
  code text,
  channel_code text,
  channel_message text,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, receiver_id),
  FOREIGN KEY (merchant_id, account_id) REFERENCES channel_account,
  CONSTRAINT share_receiver_number UNIQUE (merchant_id, live, number)
);
COMMENT ON COLUMN share_receiver.sealed_receiver IS 'the id and name at the channel: personal data';
COMMENT ON COLUMN share_receiver.turn IS 'counts what the channel was asked; only the last one tells';

CREATE TABLE profit_share (
  merchant_id text NOT NULL,
  share_id text NOT NULL,
  payment_id text NOT NULL,
  attempt_id text NOT NULL,
  live boolean NOT NULL,
  reference text NOT NULL,
  amount_minor bigint NOT NULL,
  arrived_minor bigint NOT NULL DEFAULT 0,
  currency text NOT NULL,
  finish boolean NOT NULL,
  state text NOT NULL DEFAULT 'requested',
  channel_reference text,
  code text,
  channel_code text,
  channel_message text,
  sent_at timestamptz,
  shared_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, share_id),
  FOREIGN KEY (merchant_id, payment_id) REFERENCES payment,
  FOREIGN KEY (merchant_id, attempt_id) REFERENCES attempt,
  CONSTRAINT profit_share_reference UNIQUE (merchant_id, reference),
  CONSTRAINT shares_or_finishes CHECK (amount_minor > 0 OR (amount_minor = 0 AND finish)),
  CONSTRAINT arrived_within_share CHECK (arrived_minor BETWEEN 0 AND amount_minor)
);
COMMENT ON COLUMN profit_share.finish IS 'the rest is left to the merchant for good';
CREATE INDEX profit_share_newest ON profit_share (merchant_id, live, share_id DESC);
CREATE INDEX profit_share_of_payment ON profit_share (merchant_id, payment_id, share_id);

CREATE TABLE profit_share_part (
  merchant_id text NOT NULL,
  share_id text NOT NULL,
  line integer NOT NULL CHECK (line > 0),
  receiver_id text NOT NULL,
  amount_minor bigint NOT NULL CHECK (amount_minor > 0),
  description text NOT NULL,
  state text NOT NULL DEFAULT 'pending',
  channel_code text,
  channel_message text,
  returning_minor bigint NOT NULL DEFAULT 0 CHECK (returning_minor >= 0),
  returned_minor bigint NOT NULL DEFAULT 0 CHECK (returned_minor >= 0),
  PRIMARY KEY (merchant_id, share_id, line),
  FOREIGN KEY (merchant_id, share_id) REFERENCES profit_share,
  FOREIGN KEY (merchant_id, receiver_id) REFERENCES share_receiver,
  CONSTRAINT receiver_once UNIQUE (merchant_id, share_id, receiver_id),
  CONSTRAINT returned_within_part CHECK (returning_minor + returned_minor <= amount_minor),
  CONSTRAINT returns_what_arrived CHECK (state = 'succeeded' OR returning_minor + returned_minor = 0)
);

CREATE TABLE share_return (
  merchant_id text NOT NULL,
  return_id text NOT NULL,
  share_id text NOT NULL,
  line integer NOT NULL,
  payment_id text NOT NULL,
  live boolean NOT NULL,
  reference text NOT NULL,
  amount_minor bigint NOT NULL CHECK (amount_minor > 0),
  currency text NOT NULL,
  description text NOT NULL,
  state text NOT NULL DEFAULT 'requested',
  channel_reference text,
  code text,
  channel_code text,
  channel_message text,
  sent_at timestamptz,
  returned_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, return_id),
  FOREIGN KEY (merchant_id, share_id, line) REFERENCES profit_share_part,
  CONSTRAINT share_return_reference UNIQUE (merchant_id, reference)
);
CREATE INDEX share_return_of_share ON share_return (merchant_id, share_id, return_id);

COMMENT ON COLUMN ledger_entry.subject_id IS
  'the attempt, refund, transfer, profit share or its return whose money it is';

CREATE OR REPLACE FUNCTION payment_document(p payment) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object(
    'id', p.payment_id, 'object', 'payment', 'live', p.live, 'order_id', p.order_id,
    'app_id', p.app_id,
    'amount', p.amount_minor, 'currency', p.currency, 'description', p.description,
    'state', p.state, 'capture', p.capture, 'profit_sharing', p.profit_sharing,
    'authorized', p.authorized_minor,
    'captured', p.captured_minor, 'refunded', p.refunded_minor,
    'methods', p.methods, 'return_url', p.return_url, 'metadata', p.metadata,
    'expires_at', utc_text(p.expires_at), 'authorized_at', utc_text(p.authorized_at),
    'paid_at', utc_text(p.paid_at),
    'closed_at', utc_text(p.closed_at), 'created_at', utc_text(p.created_at))
$$;

CREATE FUNCTION profit_share_part_document(p profit_share_part) RETURNS jsonb
LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object(
    'line', p.line, 'receiver_id', p.receiver_id, 'amount', p.amount_minor,
    'description', p.description, 'state', p.state, 'channel_code', p.channel_code,
    'channel_message', p.channel_message, 'returning', p.returning_minor,
    'returned', p.returned_minor)
$$;

-- Its parts are given, for a statement does not see the rows that it writes.
CREATE FUNCTION profit_share_document(s profit_share, parts jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object(
    'id', s.share_id, 'object', 'profit_share', 'live', s.live, 'payment_id', s.payment_id,
    'reference', s.reference, 'amount', s.amount_minor, 'arrived', s.arrived_minor,
    'currency', s.currency, 'finish', s.finish, 'state', s.state, 'shares', parts,
    'code', s.code, 'channel_code', s.channel_code, 'channel_message', s.channel_message,
    'channel_reference', s.channel_reference, 'shared_at', utc_text(s.shared_at),
    'created_at', utc_text(s.created_at))
$$;

CREATE FUNCTION share_return_document(r share_return) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object(
    'id', r.return_id, 'object', 'profit_share_return', 'live', r.live,
    'profit_share_id', r.share_id, 'line', r.line, 'payment_id', r.payment_id,
    'reference', r.reference, 'amount', r.amount_minor, 'currency', r.currency,
    'description', r.description, 'state', r.state, 'code', r.code,
    'channel_code', r.channel_code, 'channel_message', r.channel_message,
    'channel_reference', r.channel_reference, 'returned_at', utc_text(r.returned_at),
    'created_at', utc_text(r.created_at))
$$;
