-- Routing: which account takes an attempt, and what was known when it was chosen.

CREATE TABLE routing_version (
  merchant_id text NOT NULL,
  live boolean NOT NULL,
  version integer NOT NULL CHECK (version > 0),
  rules jsonb NOT NULL,
  note text NOT NULL DEFAULT '',
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, live, version)
);
COMMENT ON TABLE routing_version IS
  'every set of rules that was ever saved; the last one counts. The merchant platform is no merchant: its rules are those of merchants without their own';
CREATE TRIGGER routing_is_append_only BEFORE UPDATE OR DELETE ON routing_version
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER routing_is_not_emptied BEFORE TRUNCATE ON routing_version
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE account_health (
  merchant_id text NOT NULL,
  account_id text NOT NULL,
  state text NOT NULL CHECK (state IN ('closed', 'open', 'half_open')),
  changed_at timestamptz NOT NULL,
  open_until timestamptz,
  openings integer NOT NULL DEFAULT 0,
  reason text NOT NULL DEFAULT '',
  PRIMARY KEY (merchant_id, account_id),
  FOREIGN KEY (merchant_id, account_id) REFERENCES channel_account
);
COMMENT ON TABLE account_health IS 'the circuit breaker of an account; without a row it is closed';
COMMENT ON COLUMN account_health.openings IS 'in a row, without having been closed between them';

CREATE TABLE account_statistics (
  merchant_id text NOT NULL,
  account_id text NOT NULL,
  product text NOT NULL,
  succeeded integer NOT NULL,
  failed integer NOT NULL,
  latency_ms integer NOT NULL,
  answers integer NOT NULL,
  measured_at timestamptz NOT NULL,
  PRIMARY KEY (merchant_id, account_id, product),
  FOREIGN KEY (merchant_id, account_id) REFERENCES channel_account
);
COMMENT ON TABLE account_statistics IS 'what came of the attempts of the last minutes';
COMMENT ON COLUMN account_statistics.failed IS 'by the channel or the account, not by the customer';
COMMENT ON COLUMN account_statistics.latency_ms IS 'mean time to the channel''s first answer';

ALTER TABLE attempt
  ADD COLUMN routing jsonb,
  ADD COLUMN replaces text,
  ADD COLUMN answered_at timestamptz,
  ADD COLUMN lost_at timestamptz;
COMMENT ON COLUMN attempt.routing IS 'version and row of the rules that chose the account, and why';
COMMENT ON COLUMN attempt.replaces IS 'the attempt of the same request that provably failed before';
COMMENT ON COLUMN attempt.lost_at IS 'when the channel''s answer to it was lost, whatever came later';
