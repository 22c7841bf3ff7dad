-- Limits of payments: of one, and of a day. Checked and counted by the statement that accepts a
-- payment or starts an attempt, whichever that is.

CREATE TABLE payment_limit (
  merchant_id text NOT NULL REFERENCES merchant,
  limit_id text NOT NULL,
  live boolean NOT NULL,
  app_id text,
  channel text,
  currency text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('amount', 'daily_amount', 'daily_count')),
  maximum bigint NOT NULL CHECK (maximum >= 0),
  time_zone text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, limit_id),
  FOREIGN KEY (merchant_id, app_id) REFERENCES app
);
COMMENT ON COLUMN payment_limit.app_id IS 'null: of the merchant as a whole';
COMMENT ON COLUMN payment_limit.channel IS
  'null: checked when a payment is accepted; otherwise when an attempt starts on that channel';
COMMENT ON COLUMN payment_limit.time_zone IS 'whose midnight begins a day';
CREATE UNIQUE INDEX one_limit_of_a_kind ON payment_limit
  (merchant_id, live, currency, kind, coalesce(app_id, ''), coalesce(channel, ''));

CREATE TABLE limit_use (
  merchant_id text NOT NULL,
  limit_id text NOT NULL,
  day date NOT NULL,
  used bigint NOT NULL CHECK (used >= 0),
  PRIMARY KEY (merchant_id, limit_id, day),
  FOREIGN KEY (merchant_id, limit_id) REFERENCES payment_limit ON DELETE CASCADE
);

-- The row of a limit's day is what payments at the same moment wait for, one behind the other, so
-- that together they cannot pass it. What goes over a limit raises: then nothing of the statement
-- was written, the other limits' counts neither.
CREATE FUNCTION take_limits(
  merchant text, is_live boolean, app text, through text, code text, amount bigint
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  one payment_limit;
  today date;
  step bigint;
  kept boolean;
BEGIN
  FOR one IN
    SELECT * FROM payment_limit l
    WHERE l.merchant_id = merchant AND l.live = is_live AND l.currency = code
      AND l.channel IS NOT DISTINCT FROM through AND (l.app_id IS NULL OR l.app_id = app)
    ORDER BY l.limit_id  -- always in this order: so two never wait for each other
  LOOP
    step := CASE one.kind WHEN 'daily_count' THEN 1 ELSE amount END;
    today := (now() AT TIME ZONE one.time_zone)::date;
    kept := step <= one.maximum;
    IF kept AND one.kind <> 'amount' THEN
      INSERT INTO limit_use AS u VALUES (merchant, one.limit_id, today, step)
      ON CONFLICT (merchant_id, limit_id, day) DO UPDATE SET used = u.used + step
      WHERE u.used + step <= one.maximum;
      kept := FOUND;
    END IF;
    IF NOT kept THEN
      RAISE EXCEPTION 'a limit would be passed' USING ERRCODE = 'QL001', DETAIL = json_build_object(
        'limit_id', one.limit_id, 'kind', one.kind, 'maximum', one.maximum,
        'currency', one.currency, 'app_id', one.app_id, 'channel', one.channel,
        'resets_at', CASE WHEN one.kind <> 'amount'
                     THEN utc_text((today + 1)::timestamp AT TIME ZONE one.time_zone) END
      )::text;
    END IF;
  END LOOP;
END $$;

CREATE FUNCTION limit_payment() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM take_limits(NEW.merchant_id, NEW.live, NEW.app_id, NULL, NEW.currency, NEW.amount_minor);
  RETURN NULL;
END $$;
CREATE TRIGGER payment_is_limited AFTER INSERT ON payment
  FOR EACH ROW EXECUTE FUNCTION limit_payment();

CREATE FUNCTION limit_attempt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM payment_limit
             WHERE merchant_id = NEW.merchant_id AND channel = NEW.channel) THEN
    PERFORM take_limits(NEW.merchant_id, p.live, p.app_id, NEW.channel, NEW.currency,
                        NEW.amount_minor)
    FROM payment p WHERE p.merchant_id = NEW.merchant_id AND p.payment_id = NEW.payment_id;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER attempt_is_limited AFTER INSERT ON attempt
  FOR EACH ROW EXECUTE FUNCTION limit_attempt();
