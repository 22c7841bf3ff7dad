-- Authorizations with their captures; transfers out, their batches and their policies.
-- expands only: what an older version writes has nothing held, and so keeps every constraint.

ALTER TABLE payment
  ADD capture text NOT NULL DEFAULT 'automatic',
  ADD authorized_minor bigint NOT NULL DEFAULT 0,
  ADD authorized_at timestamptz,
  ADD CONSTRAINT captured_within_authorized
    CHECK (authorized_minor = 0 OR captured_minor <= authorized_minor);

ALTER TABLE attempt
  ADD manual boolean NOT NULL DEFAULT false,
  ADD hold_expires_at timestamptz,
  ADD capturing_minor bigint NOT NULL DEFAULT 0,
  ADD capture_reference text,
  ADD CONSTRAINT attempt_captured_within_amount
    CHECK (captured_minor BETWEEN 0 AND amount_minor),
  ADD CONSTRAINT capturing_within_authorized
    CHECK (capturing_minor BETWEEN 0 AND amount_minor);
COMMENT ON COLUMN attempt.manual IS 'the amount is held first, and captured later';
COMMENT ON COLUMN attempt.capturing_minor IS 'what a capture may yet take; it may not be voided';
COMMENT ON COLUMN attempt.capture_reference IS 'the number under which the channel knows the money';

CREATE TABLE capture (
  merchant_id text NOT NULL,
  capture_id text NOT NULL,
  payment_id text NOT NULL,
  attempt_id text NOT NULL,
  reference text NOT NULL,
  amount_minor bigint NOT NULL CHECK (amount_minor > 0),
  currency text NOT NULL,
  state text NOT NULL DEFAULT 'requested',
  channel_reference text,
  code text,
  channel_code text,
  channel_message text,
  sent_at timestamptz,
  captured_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, capture_id),
  FOREIGN KEY (merchant_id, payment_id) REFERENCES payment,
  FOREIGN KEY (merchant_id, attempt_id) REFERENCES attempt,
  CONSTRAINT capture_reference_once UNIQUE (merchant_id, reference)
);
CREATE INDEX capture_of_payment ON capture (merchant_id, payment_id, capture_id);
-- A capture ends its authorization: another one may be tried only after a refusal.
CREATE UNIQUE INDEX one_capture ON capture (merchant_id, attempt_id) WHERE state <> 'failed';

-- Transfers belong to no payment, and their events and entries neither.
ALTER TABLE event ALTER payment_id DROP NOT NULL;
ALTER TABLE ledger_entry ALTER payment_id DROP NOT NULL;
COMMENT ON COLUMN ledger_entry.subject_id IS 'the attempt, refund or transfer whose money it is';

CREATE TABLE transfer_policy (
  merchant_id text NOT NULL REFERENCES merchant,
  live boolean NOT NULL,
  currency text NOT NULL,
  check_above_minor bigint CHECK (check_above_minor >= 0),
  max_minor bigint CHECK (max_minor > 0),
  daily_max_minor bigint CHECK (daily_max_minor > 0),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, live, currency)
);
COMMENT ON COLUMN transfer_policy.check_above_minor IS
  'above this a second person must approve; null: always';

CREATE TABLE transfer_batch (
  merchant_id text NOT NULL REFERENCES merchant,
  batch_id text NOT NULL,
  live boolean NOT NULL,
  number text NOT NULL,
  requested_by text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, batch_id),
  CONSTRAINT transfer_batch_number UNIQUE (merchant_id, live, number)
);

CREATE TABLE transfer (
  merchant_id text NOT NULL REFERENCES merchant,
  transfer_id text NOT NULL,
  live boolean NOT NULL,
  batch_id text,
  batch_line integer,
  number text NOT NULL,
  account_id text NOT NULL,
  channel text NOT NULL,
  reference text NOT NULL,
  amount_minor bigint NOT NULL CHECK (amount_minor > 0),
  currency text NOT NULL,
  sealed_payee bytea NOT NULL,
  description text NOT NULL,
  scene text,
  state text NOT NULL,
  requested_by text NOT NULL,
  decided_by text,
  decided_at timestamptz,
  reason text,
  action jsonb,
  channel_reference text,
  code text,
  channel_code text,
  channel_message text,
  sent_at timestamptz,
  transferred_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, transfer_id),
  FOREIGN KEY (merchant_id, account_id) REFERENCES channel_account,
  FOREIGN KEY (merchant_id, batch_id) REFERENCES transfer_batch,
  CONSTRAINT transfer_number UNIQUE (merchant_id, live, number),
  CONSTRAINT transfer_reference UNIQUE (merchant_id, reference),
  -- Whoever asked may not be the one who lets it go.
  CONSTRAINT two_people CHECK (decided_by <> requested_by OR state = 'rejected')
);
COMMENT ON COLUMN transfer.sealed_payee IS 'who gets the money: personal data';
COMMENT ON COLUMN transfer.decided_by IS 'who approved or rejected it; null when no check was asked';
CREATE INDEX transfer_newest ON transfer (merchant_id, live, transfer_id DESC);
CREATE INDEX transfer_of_batch ON transfer (merchant_id, batch_id, batch_line);
CREATE INDEX transfer_by_time ON transfer (merchant_id, live, currency, created_at);

CREATE OR REPLACE FUNCTION payment_document(p payment) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object(
    'id', p.payment_id, 'object', 'payment', 'live', p.live, 'order_id', p.order_id,
    'app_id', p.app_id,
    'amount', p.amount_minor, 'currency', p.currency, 'description', p.description,
    'state', p.state, 'capture', p.capture, 'authorized', p.authorized_minor,
    'captured', p.captured_minor, 'refunded', p.refunded_minor,
    'methods', p.methods, 'return_url', p.return_url, 'metadata', p.metadata,
    'expires_at', utc_text(p.expires_at), 'authorized_at', utc_text(p.authorized_at),
    'paid_at', utc_text(p.paid_at),
    'closed_at', utc_text(p.closed_at), 'created_at', utc_text(p.created_at))
$$;

CREATE FUNCTION capture_document(c capture) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object(
    'id', c.capture_id, 'object', 'capture', 'payment_id', c.payment_id,
    'amount', c.amount_minor, 'currency', c.currency, 'state', c.state, 'code', c.code,
    'channel_code', c.channel_code, 'channel_message', c.channel_message,
    'channel_reference', c.channel_reference, 'captured_at', utc_text(c.captured_at),
    'created_at', utc_text(c.created_at))
$$;

-- Who gets the money is not in it: events are stored, shown and sent on.
CREATE FUNCTION transfer_document(t transfer) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object(
    'id', t.transfer_id, 'object', 'transfer', 'live', t.live, 'batch_id', t.batch_id,
    'number', t.number, 'channel', t.channel, 'reference', t.reference,
    'amount', t.amount_minor, 'currency', t.currency, 'description', t.description,
    'state', t.state, 'requested_by', t.requested_by, 'decided_by', t.decided_by,
    'reason', t.reason, 'code', t.code, 'channel_code', t.channel_code,
    'channel_message', t.channel_message, 'channel_reference', t.channel_reference,
    'transferred_at', utc_text(t.transferred_at), 'created_at', utc_text(t.created_at))
$$;
