-- What operators look at: the trace of an attempt, the few rows that need somebody, the audit log.

ALTER TABLE attempt ADD COLUMN traceparent text;
COMMENT ON COLUMN attempt.traceparent IS 'W3C trace context of the request that made it, if traced';

-- Each holds only the rows that should not be so for long: small, and a gauge reads it alone.
CREATE INDEX attempt_unknown ON attempt (channel, sent_at) WHERE state = 'unknown';
CREATE INDEX delivery_pending ON webhook_delivery (event_id) WHERE state = 'pending';
CREATE INDEX anomaly_open ON anomaly (kind, created_at) WHERE resolved_at IS NULL;
-- For the last minutes of everybody's payments; a block range costs next to nothing to keep.
CREATE INDEX attempt_by_time ON attempt USING brin (created_at) WITH (autosummarize = on);
CREATE INDEX event_by_time ON event USING brin (created_at) WITH (autosummarize = on);

-- The audit log: one chain for each merchant, and one named 'server'. A row's digest is the SHA-256
-- of the digest before it, the chain, the sequence and the content, so that no row can be changed,
-- taken out or moved without every later one telling. qiao.engine.audit computes it again.
CREATE TABLE audit_entry (
  merchant_id text NOT NULL,
  sequence bigint NOT NULL CHECK (sequence > 0),
  content text NOT NULL,
  previous bytea NOT NULL,
  digest bytea NOT NULL,
  -- Of the content, to look for; what a query finds is what the digest covers.
  action text NOT NULL GENERATED ALWAYS AS (content::jsonb ->> 'action') STORED,
  live boolean GENERATED ALWAYS AS ((content::jsonb ->> 'live')::boolean) STORED,
  PRIMARY KEY (merchant_id, sequence)
);
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE ON audit_entry
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_is_not_emptied BEFORE TRUNCATE ON audit_entry
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The end of each chain. Its row's lock is what puts the writers of one chain in order, and it
-- tells when the last rows were taken away.
CREATE TABLE audit_head (
  merchant_id text PRIMARY KEY,
  sequence bigint NOT NULL,
  digest bytea NOT NULL
);

CREATE FUNCTION write_audit(chain text, told text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  head audit_head;
  computed bytea;
BEGIN
  INSERT INTO audit_head VALUES (chain, 0, decode(repeat('00', 32), 'hex')) ON CONFLICT DO NOTHING;
  SELECT * INTO STRICT head FROM audit_head WHERE merchant_id = chain FOR UPDATE;
  head.sequence := head.sequence + 1;
  computed := sha256(
    head.digest || convert_to(chain || E'\n' || head.sequence || E'\n' || told, 'UTF8'));
  INSERT INTO audit_entry (merchant_id, sequence, content, previous, digest)
  VALUES (chain, head.sequence, told, head.digest, computed);
  UPDATE audit_head SET sequence = head.sequence, digest = computed WHERE merchant_id = chain;
  RETURN head.sequence;
END $$;

-- What each kind of process was last configured with, sealed: to tell which settings changed.
CREATE TABLE server_configuration (
  process text PRIMARY KEY,
  sealed_settings bytea NOT NULL
);
