-- Merchants, their keys and accounts; payments, attempts, refunds; events and webhooks.
-- Every key that grows begins with the merchant's id. Amounts are minor units.

CREATE TABLE merchant (
  merchant_id text PRIMARY KEY,
  name text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE api_key (
  merchant_id text NOT NULL REFERENCES merchant,
  api_key_id text NOT NULL,
  live boolean NOT NULL,
  digest bytea NOT NULL UNIQUE,
  hint text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  revoked_at timestamptz,
  PRIMARY KEY (merchant_id, api_key_id)
);

CREATE TABLE channel_account (
  merchant_id text NOT NULL REFERENCES merchant,
  account_id text NOT NULL,
  live boolean NOT NULL,
  channel text NOT NULL,
  name text NOT NULL,
  sealed_settings bytea NOT NULL,
  priority integer NOT NULL DEFAULT 0,
  enabled boolean NOT NULL DEFAULT true,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, account_id),
  UNIQUE (merchant_id, live, name)
);

CREATE TABLE payment (
  merchant_id text NOT NULL REFERENCES merchant,
  payment_id text NOT NULL,
  live boolean NOT NULL,
  order_id text NOT NULL,
  amount_minor bigint NOT NULL CHECK (amount_minor > 0),
  currency text NOT NULL,
  description text NOT NULL,
  state text NOT NULL DEFAULT 'open',
  captured_minor bigint NOT NULL DEFAULT 0,
  refunded_minor bigint NOT NULL DEFAULT 0,
  methods text[] NOT NULL DEFAULT '{}',
  return_url text,
  metadata jsonb NOT NULL DEFAULT '{}',
  cashier_token text NOT NULL,
  expires_at timestamptz NOT NULL,
  close_requested_at timestamptz,
  paid_at timestamptz,
  closed_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, payment_id),
  CONSTRAINT payment_order UNIQUE (merchant_id, live, order_id),
  CONSTRAINT captured_within_amount CHECK (captured_minor BETWEEN 0 AND amount_minor),
  CONSTRAINT refunded_within_captured CHECK (refunded_minor BETWEEN 0 AND captured_minor)
);
CREATE INDEX payment_newest ON payment (merchant_id, live, payment_id DESC);

CREATE TABLE attempt (
  merchant_id text NOT NULL,
  attempt_id text NOT NULL,
  payment_id text NOT NULL,
  account_id text NOT NULL,
  channel text NOT NULL,
  product text NOT NULL,
  reference text NOT NULL,
  amount_minor bigint NOT NULL CHECK (amount_minor > 0),
  currency text NOT NULL,
  state text NOT NULL,
  action jsonb,
  channel_reference text,
  captured_minor bigint NOT NULL DEFAULT 0,
  reserved_minor bigint NOT NULL DEFAULT 0,
  code text,
  channel_code text,
  channel_message text,
  reason text,
  expires_at timestamptz NOT NULL,
  sent_at timestamptz NOT NULL DEFAULT now(),
  paid_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, attempt_id),
  FOREIGN KEY (merchant_id, payment_id) REFERENCES payment,
  FOREIGN KEY (merchant_id, account_id) REFERENCES channel_account,
  CONSTRAINT attempt_reference UNIQUE (merchant_id, reference),
  CONSTRAINT reserved_within_captured CHECK (reserved_minor BETWEEN 0 AND captured_minor)
);
COMMENT ON COLUMN attempt.reserved_minor IS 'what refunds have taken or may yet take';
CREATE INDEX attempt_of_payment ON attempt (merchant_id, payment_id, attempt_id);
-- Another attempt starts only when every earlier one is declined, not sent or closed.
CREATE UNIQUE INDEX one_attempt_at_a_time ON attempt (merchant_id, payment_id)
  WHERE state IN ('created', 'sending', 'pending', 'authorized', 'succeeded', 'unknown');

CREATE TABLE refund (
  merchant_id text NOT NULL,
  refund_id text NOT NULL,
  payment_id text NOT NULL,
  attempt_id text NOT NULL,
  reference text NOT NULL,
  amount_minor bigint NOT NULL CHECK (amount_minor > 0),
  currency text NOT NULL,
  surplus boolean NOT NULL DEFAULT false,
  reason text,
  state text NOT NULL DEFAULT 'requested',
  channel_reference text,
  code text,
  channel_code text,
  channel_message text,
  sent_at timestamptz,
  refunded_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, refund_id),
  FOREIGN KEY (merchant_id, payment_id) REFERENCES payment,
  FOREIGN KEY (merchant_id, attempt_id) REFERENCES attempt,
  CONSTRAINT refund_reference UNIQUE (merchant_id, reference)
);
CREATE INDEX refund_of_payment ON refund (merchant_id, payment_id, refund_id);
CREATE UNIQUE INDEX one_refund_of_a_surplus ON refund (merchant_id, attempt_id) WHERE surplus;

CREATE TABLE idempotency_key (
  merchant_id text NOT NULL REFERENCES merchant,
  live boolean NOT NULL,
  key text NOT NULL,
  body_digest bytea NOT NULL,
  resource_id text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT idempotency_key_once PRIMARY KEY (merchant_id, live, key)
);

CREATE TABLE event (
  merchant_id text NOT NULL,
  event_id text NOT NULL,
  live boolean NOT NULL,
  payment_id text NOT NULL,
  type text NOT NULL,
  data jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, event_id),
  FOREIGN KEY (merchant_id, payment_id) REFERENCES payment
);
CREATE INDEX event_of_payment ON event (merchant_id, payment_id, event_id);
CREATE UNIQUE INDEX paid_once ON event (merchant_id, payment_id) WHERE type = 'payment.paid';

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END $$;
CREATE TRIGGER event_is_append_only BEFORE UPDATE OR DELETE ON event
  FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TABLE notification (
  merchant_id text NOT NULL,
  account_id text NOT NULL,
  notification_id text NOT NULL,
  kind text NOT NULL,
  reference text,
  received_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, account_id, notification_id)
);
COMMENT ON TABLE notification IS 'authentic notifications; the same one again adds nothing';

CREATE TABLE anomaly (
  merchant_id text NOT NULL,
  anomaly_id text NOT NULL,
  payment_id text,
  attempt_id text,
  kind text NOT NULL,
  detail jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  resolved_at timestamptz,
  PRIMARY KEY (merchant_id, anomaly_id)
);
COMMENT ON TABLE anomaly IS 'what may not happen and did: kept for the operator, changes no state';

CREATE TABLE webhook_endpoint (
  merchant_id text NOT NULL REFERENCES merchant,
  endpoint_id text NOT NULL,
  live boolean NOT NULL,
  url text NOT NULL,
  sealed_secret bytea NOT NULL,
  event_types text[] NOT NULL DEFAULT '{}',
  enabled boolean NOT NULL DEFAULT true,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, endpoint_id)
);

CREATE TABLE webhook_delivery (
  merchant_id text NOT NULL,
  event_id text NOT NULL,
  endpoint_id text NOT NULL,
  state text NOT NULL DEFAULT 'pending',
  tries integer NOT NULL DEFAULT 0,
  last_status integer,
  last_error text,
  last_tried_at timestamptz,
  first_tried_at timestamptz,
  delivered_at timestamptz,
  PRIMARY KEY (merchant_id, event_id, endpoint_id),
  FOREIGN KEY (merchant_id, event_id) REFERENCES event,
  FOREIGN KEY (merchant_id, endpoint_id) REFERENCES webhook_endpoint ON DELETE CASCADE
);
CREATE INDEX delivery_of_endpoint ON webhook_delivery (merchant_id, endpoint_id, event_id);

-- An event and its deliveries commit together, whichever statement wrote the event.
CREATE FUNCTION fan_event_out() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  WITH delivery AS (
    INSERT INTO webhook_delivery (merchant_id, event_id, endpoint_id)
    SELECT NEW.merchant_id, NEW.event_id, endpoint.endpoint_id
    FROM webhook_endpoint endpoint
    WHERE endpoint.merchant_id = NEW.merchant_id
      AND endpoint.live = NEW.live
      AND endpoint.enabled
      AND (endpoint.event_types = '{}' OR NEW.type = ANY (endpoint.event_types))
    RETURNING endpoint_id
  )
  INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
  SELECT NEW.merchant_id, 'deliver_webhook', NEW.event_id || ':' || delivery.endpoint_id, '{}', now()
  FROM delivery;
  RETURN NULL;
END $$;
CREATE TRIGGER event_fans_out AFTER INSERT ON event
  FOR EACH ROW EXECUTE FUNCTION fan_event_out();

CREATE FUNCTION utc_text(moment timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

-- What a merchant sees of a payment: the API and the webhooks show the same.
CREATE FUNCTION payment_document(p payment) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object(
    'id', p.payment_id, 'object', 'payment', 'live', p.live, 'order_id', p.order_id,
    'amount', p.amount_minor, 'currency', p.currency, 'description', p.description,
    'state', p.state, 'captured', p.captured_minor, 'refunded', p.refunded_minor,
    'methods', p.methods, 'return_url', p.return_url, 'metadata', p.metadata,
    'expires_at', utc_text(p.expires_at), 'paid_at', utc_text(p.paid_at),
    'closed_at', utc_text(p.closed_at), 'created_at', utc_text(p.created_at))
$$;

CREATE FUNCTION refund_document(r refund) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object(
    'id', r.refund_id, 'object', 'refund', 'payment_id', r.payment_id,
    'amount', r.amount_minor, 'currency', r.currency, 'state', r.state, 'surplus', r.surplus,
    'reason', r.reason, 'code', r.code, 'channel_code', r.channel_code,
    'channel_message', r.channel_message, 'channel_reference', r.channel_reference,
    'refunded_at', utc_text(r.refunded_at), 'created_at', utc_text(r.created_at))
$$;
