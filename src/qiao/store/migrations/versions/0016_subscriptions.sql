-- Agreements that customers sign once, and the subscriptions that are charged by them.

CREATE TABLE agreement (
  merchant_id text NOT NULL REFERENCES merchant,
  agreement_id text NOT NULL,
  live boolean NOT NULL,
  app_id text,
  number text NOT NULL,
  account_id text NOT NULL,
  channel text NOT NULL,
  product text NOT NULL,
  reference text NOT NULL,
  plan text,
  sealed_name bytea NOT NULL,
  max_minor bigint NOT NULL CHECK (max_minor > 0),
  currency text NOT NULL,
  period_unit text NOT NULL,
  period_count integer NOT NULL CHECK (period_count > 0),
  first_charge_on date NOT NULL,
  return_url text,
  metadata jsonb NOT NULL DEFAULT '{}',
  state text NOT NULL DEFAULT 'pending',
  action jsonb,
  channel_reference text,
  code text,
  channel_code text,
  channel_message text,
  expires_at timestamptz NOT NULL,
  signed_at timestamptz,
  valid_until timestamptz,
  end_requested_at timestamptz,
  ended_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, agreement_id),
  FOREIGN KEY (merchant_id, account_id) REFERENCES channel_account,
  CONSTRAINT agreement_number UNIQUE (merchant_id, live, number),
  CONSTRAINT agreement_reference UNIQUE (merchant_id, reference),
  -- Charges name the channel's own number.
  CONSTRAINT active_is_known CHECK (state <> 'active' OR channel_reference IS NOT NULL)
);
COMMENT ON COLUMN agreement.sealed_name IS 'what the merchant calls the customer: personal data';
COMMENT ON COLUMN agreement.end_requested_at IS 'nothing is charged from here on';
CREATE INDEX agreement_newest ON agreement (merchant_id, live, agreement_id DESC);

CREATE TABLE subscription (
  merchant_id text NOT NULL REFERENCES merchant,
  subscription_id text NOT NULL,
  live boolean NOT NULL,
  app_id text,
  number text NOT NULL,
  agreement_id text NOT NULL,
  amount_minor bigint NOT NULL CHECK (amount_minor > 0),
  currency text NOT NULL,
  description text NOT NULL,
  period_unit text NOT NULL,
  period_count integer NOT NULL CHECK (period_count > 0),
  first_charge_on date NOT NULL,
  anchor_day integer NOT NULL CHECK (anchor_day BETWEEN 1 AND 31),
  charge_time time NOT NULL,
  time_zone text NOT NULL,
  periods integer CHECK (periods > 0),
  ends_on date,
  lead_days integer NOT NULL CHECK (lead_days >= 0),
  retry_days integer[] NOT NULL,
  when_unpaid text NOT NULL,
  metadata jsonb NOT NULL DEFAULT '{}',
  state text NOT NULL DEFAULT 'active',
  reason text,
  next_period integer NOT NULL DEFAULT 1 CHECK (next_period > 0),
  next_charge_at timestamptz,
  ended_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, subscription_id),
  FOREIGN KEY (merchant_id, agreement_id) REFERENCES agreement,
  CONSTRAINT subscription_number UNIQUE (merchant_id, live, number)
);
COMMENT ON COLUMN subscription.next_period IS 'the first period that is not settled';
CREATE INDEX subscription_newest ON subscription (merchant_id, live, subscription_id DESC);
CREATE INDEX subscription_of_agreement ON subscription (merchant_id, agreement_id);

-- A period is here once, and so is its payment: it is never charged by two.
CREATE TABLE subscription_period (
  merchant_id text NOT NULL,
  subscription_id text NOT NULL,
  number integer NOT NULL CHECK (number > 0),
  due_on date NOT NULL,
  state text NOT NULL DEFAULT 'open',
  payment_id text,
  tries integer NOT NULL DEFAULT 0,
  next_try_at timestamptz,
  judged_attempt_id text,
  code text,
  channel_code text,
  settled_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, subscription_id, number),
  FOREIGN KEY (merchant_id, subscription_id) REFERENCES subscription,
  FOREIGN KEY (merchant_id, payment_id) REFERENCES payment,
  CONSTRAINT one_period_of_a_payment UNIQUE (merchant_id, payment_id)
);
COMMENT ON COLUMN subscription_period.tries IS 'how often it was refused';
COMMENT ON COLUMN subscription_period.judged_attempt_id IS 'the last attempt whose refusal counts';

ALTER TABLE payment ADD subscription_id text;
COMMENT ON COLUMN payment.subscription_id IS 'whose period it pays for; null for any other payment';

-- The subscription is looked at as soon as its payment, or a charge of it, has come to an end.
CREATE FUNCTION wake_subscription() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
  VALUES (NEW.merchant_id, 'work_subscription', NEW.subscription_id, '{}', now())
  ON CONFLICT (merchant_id, kind, subject_id)
  DO UPDATE SET run_at = least(job.run_at, excluded.run_at);
  RETURN NULL;
END $$;
CREATE TRIGGER payment_wakes_subscription AFTER UPDATE OF state ON payment
  FOR EACH ROW WHEN (NEW.subscription_id IS NOT NULL AND NEW.state IS DISTINCT FROM OLD.state)
  EXECUTE FUNCTION wake_subscription();

CREATE FUNCTION wake_subscription_of_attempt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
  SELECT NEW.merchant_id, 'work_subscription', p.subscription_id, '{}', now()
  FROM payment p
  WHERE p.merchant_id = NEW.merchant_id AND p.payment_id = NEW.payment_id
    AND p.subscription_id IS NOT NULL
  ON CONFLICT (merchant_id, kind, subject_id)
  DO UPDATE SET run_at = least(job.run_at, excluded.run_at);
  RETURN NULL;
END $$;
CREATE TRIGGER charge_wakes_subscription AFTER UPDATE OF state ON attempt
  FOR EACH ROW WHEN (NEW.product = 'agreement' AND NEW.state IS DISTINCT FROM OLD.state
                     AND NEW.state IN ('declined', 'not_sent', 'closed'))
  EXECUTE FUNCTION wake_subscription_of_attempt();

-- An endpoint of one app is told of that app's payments, and of its agreements and subscriptions.
CREATE OR REPLACE FUNCTION fan_event_out() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  WITH delivery AS (
    INSERT INTO webhook_delivery (merchant_id, event_id, endpoint_id)
    SELECT NEW.merchant_id, NEW.event_id, endpoint.endpoint_id
    FROM webhook_endpoint endpoint
    WHERE endpoint.merchant_id = NEW.merchant_id
      AND endpoint.live = NEW.live
      AND endpoint.enabled
      AND (endpoint.event_types = '{}' OR NEW.type = ANY (endpoint.event_types))
      AND (endpoint.app_id IS NULL OR endpoint.app_id = CASE
             WHEN NEW.payment_id IS NULL THEN NEW.data ->> 'app_id'
             ELSE (SELECT p.app_id FROM payment p
                   WHERE p.merchant_id = NEW.merchant_id AND p.payment_id = NEW.payment_id)
           END)
    RETURNING endpoint_id
  )
  INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
  SELECT NEW.merchant_id, 'deliver_webhook', NEW.event_id || ':' || delivery.endpoint_id, '{}', now()
  FROM delivery;
  RETURN NULL;
END $$;

-- What the customer is called is not in it: events are stored, shown and sent on.
CREATE FUNCTION agreement_document(a agreement) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object(
    'id', a.agreement_id, 'object', 'agreement', 'live', a.live, 'app_id', a.app_id,
    'number', a.number, 'channel', a.channel, 'product', a.product, 'reference', a.reference,
    'plan', a.plan, 'max_amount', a.max_minor, 'currency', a.currency,
    'period', jsonb_build_object('unit', a.period_unit, 'count', a.period_count),
    'first_charge_on', a.first_charge_on, 'state', a.state,
    'channel_reference', a.channel_reference, 'code', a.code, 'channel_code', a.channel_code,
    'channel_message', a.channel_message, 'metadata', a.metadata,
    'expires_at', utc_text(a.expires_at), 'signed_at', utc_text(a.signed_at),
    'valid_until', utc_text(a.valid_until), 'end_requested_at', utc_text(a.end_requested_at),
    'ended_at', utc_text(a.ended_at), 'created_at', utc_text(a.created_at))
$$;

CREATE FUNCTION subscription_document(s subscription) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object(
    'id', s.subscription_id, 'object', 'subscription', 'live', s.live, 'app_id', s.app_id,
    'number', s.number, 'agreement_id', s.agreement_id, 'amount', s.amount_minor,
    'currency', s.currency, 'description', s.description,
    'period', jsonb_build_object('unit', s.period_unit, 'count', s.period_count),
    'first_charge_on', s.first_charge_on, 'anchor_day', s.anchor_day,
    'charge_time', to_char(s.charge_time, 'HH24:MI'), 'time_zone', s.time_zone,
    'periods', s.periods, 'ends_on', s.ends_on, 'lead_days', s.lead_days,
    'retry_days', s.retry_days, 'when_unpaid', s.when_unpaid, 'metadata', s.metadata,
    'state', s.state, 'reason', s.reason, 'next_period', s.next_period,
    'next_charge_at', utc_text(s.next_charge_at), 'ended_at', utc_text(s.ended_at),
    'created_at', utc_text(s.created_at))
$$;

CREATE FUNCTION period_document(p subscription_period) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object(
    'number', p.number, 'due_on', p.due_on, 'state', p.state, 'payment_id', p.payment_id,
    'tries', p.tries, 'next_try_at', utc_text(p.next_try_at), 'code', p.code,
    'channel_code', p.channel_code, 'settled_at', utc_text(p.settled_at))
$$;
