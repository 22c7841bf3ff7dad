-- Who is paid: organisations own merchants, merchants have apps. And what an API key may do.

CREATE TABLE organisation (
  organisation_id text PRIMARY KEY,
  name text NOT NULL,
  status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
  created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN organisation.status IS 'suspended: its merchants take no new payments';

ALTER TABLE merchant
  ADD COLUMN organisation_id text REFERENCES organisation,
  ADD COLUMN status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended'));
COMMENT ON COLUMN merchant.status IS 'suspended: it takes no new payments';

CREATE TABLE app (
  merchant_id text NOT NULL REFERENCES merchant,
  app_id text NOT NULL,
  name text NOT NULL,
  status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, app_id)
);
COMMENT ON TABLE app IS 'where a merchant is paid: a shop, a point of sale, a mini program';

ALTER TABLE api_key
  ADD COLUMN app_id text,
  ADD COLUMN scopes text[],
  ADD COLUMN expires_at timestamptz,
  ADD COLUMN allowed_addresses text[],
  ADD COLUMN replaced_by text,
  ADD COLUMN last_used_at timestamptz,
  ADD COLUMN last_used_from text,
  ADD FOREIGN KEY (merchant_id, app_id) REFERENCES app;
COMMENT ON COLUMN api_key.scopes IS 'null: every scope, those that come later too';
COMMENT ON COLUMN api_key.allowed_addresses IS 'networks that it may be used from; null: any';
COMMENT ON COLUMN api_key.last_used_at IS 'to the minute or so: written beside the request';

-- The app that a payment was accepted for; of an account and an endpoint, the only app it is for.
ALTER TABLE payment ADD COLUMN app_id text;
ALTER TABLE channel_account
  ADD COLUMN app_id text,
  ADD FOREIGN KEY (merchant_id, app_id) REFERENCES app;
ALTER TABLE webhook_endpoint
  ADD COLUMN app_id text,
  ADD FOREIGN KEY (merchant_id, app_id) REFERENCES app;

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
      AND (endpoint.app_id IS NULL OR endpoint.app_id =
           (SELECT p.app_id FROM payment p
            WHERE p.merchant_id = NEW.merchant_id AND p.payment_id = NEW.payment_id))
    RETURNING endpoint_id
  )
  INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
  SELECT NEW.merchant_id, 'deliver_webhook', NEW.event_id || ':' || delivery.endpoint_id, '{}', now()
  FROM delivery;
  RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION payment_document(p payment) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object(
    'id', p.payment_id, 'object', 'payment', 'live', p.live, 'order_id', p.order_id,
    'app_id', p.app_id,
    'amount', p.amount_minor, 'currency', p.currency, 'description', p.description,
    'state', p.state, 'captured', p.captured_minor, 'refunded', p.refunded_minor,
    'methods', p.methods, 'return_url', p.return_url, 'metadata', p.metadata,
    'expires_at', utc_text(p.expires_at), 'paid_at', utc_text(p.paid_at),
    'closed_at', utc_text(p.closed_at), 'created_at', utc_text(p.created_at))
$$;
