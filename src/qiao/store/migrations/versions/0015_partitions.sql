-- Events, ledger entries and webhook deliveries in partitions by time, and what an archive leaves
-- behind: docs/adr/0011-partitions-by-time.md. The third of three steps; it moves no row and reads
-- no table, and holds the three tables' exclusive locks for as long as some entries in the catalogue
-- take. A month is named YYYY_MM; what was there before is until_YYYY_MM, and what no month was
-- made for goes to later: so no payment is ever without a place.
-- expands only: the tables keep their names, columns and keys. An older version reads balances
-- without the archive's, so archiving a period raises the bar (qiao.engine.archive).

-- Everybody who writes an event takes these locks in one order, and who delivers one in another. So
-- this gives up before PostgreSQL would look for a deadlock, and tries again.
SET LOCAL lock_timeout = '800ms';
DO $$
BEGIN
  FOR attempt IN 1..30 LOOP
    BEGIN
      LOCK TABLE event, ledger_entry, webhook_delivery, payment, webhook_endpoint
        IN ACCESS EXCLUSIVE MODE;
      RETURN;
    EXCEPTION WHEN lock_not_available THEN
      IF attempt = 30 THEN
        RAISE;
      END IF;
    END;
    PERFORM pg_sleep(0.2);
  END LOOP;
END $$;

-- payment_success says so now.
DROP INDEX paid_once;

-- One month, or later when there is no upper bound. Partitions refer to their like: so a period
-- comes and goes as a whole, and no foreign key has to look through all of them.
CREATE FUNCTION make_period(period text, lower_id text, upper_id text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  name text;
  upper_bound text := coalesce(quote_literal(upper_id), 'MAXVALUE');
BEGIN
  FOREACH name IN ARRAY ARRAY['event', 'ledger_entry', 'webhook_delivery'] LOOP
    EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%s)',
                   name || '_' || period, name, lower_id, upper_bound);
    IF name <> 'event' THEN
      EXECUTE format('ALTER TABLE %I ADD CONSTRAINT of_event FOREIGN KEY (merchant_id, event_id)'
                     ' REFERENCES %I', name || '_' || period, 'event_' || period);
    END IF;
  END LOOP;
  EXECUTE format('CREATE TRIGGER event_is_not_emptied BEFORE TRUNCATE ON %I'
                 ' FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', 'event_' || period);
  EXECUTE format('CREATE TRIGGER ledger_is_not_emptied BEFORE TRUNCATE ON %I'
                 ' FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', 'ledger_entry_' || period);
END $$;

DO $$
DECLARE
  named text := (SELECT conname FROM pg_constraint
                 WHERE conrelid = 'event'::regclass AND conname ^@ 'ids_before_');
  events oid := 'event'::regclass;
  month timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
  bound timestamp;
  old text;
  name text;
  one record;
  definitions text[];
  triggers text[];
BEGIN
  -- Without the check the tables were empty a moment ago, and reading them takes no time.
  bound := CASE WHEN named IS NOT NULL THEN to_date(substr(named, 12), 'YYYY_MM')
                WHEN EXISTS (SELECT FROM event) THEN month + interval '2 months'
                ELSE month END;
  FOREACH name IN ARRAY ARRAY['event', 'ledger_entry', 'webhook_delivery'] LOOP
    old := name || '_until_' || to_char(bound, 'YYYY_MM');
    -- How the table is made, in words that name it as it will be named again.
    SELECT array_agg(format('ALTER TABLE %I ADD CONSTRAINT %I %s', name, conname,
                            pg_get_constraintdef(oid)) ORDER BY contype DESC)
    INTO definitions FROM pg_constraint
    WHERE conrelid = name::regclass
      AND (contype = 'p' OR contype = 'f' AND confrelid <> events);
    SELECT definitions || array_agg(pg_get_indexdef(indexrelid)) INTO definitions FROM pg_index
    WHERE indrelid = name::regclass AND NOT indisprimary;
    SELECT array_agg(pg_get_triggerdef(oid)) INTO triggers FROM pg_trigger
    WHERE tgrelid = name::regclass AND NOT tgisinternal;

    EXECUTE format('ALTER TABLE %I RENAME TO %I', name, old);
    FOR one IN SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
               WHERE indrelid = old::regclass LOOP
      EXECUTE format('ALTER INDEX %I RENAME TO %I', one.relname, old || '_' || one.relname);
    END LOOP;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS'
                   ' INCLUDING COMMENTS INCLUDING STORAGE) PARTITION BY RANGE (event_id)',
                   name, old);
    IF named IS NOT NULL THEN
      EXECUTE format('ALTER TABLE %I DROP CONSTRAINT %I', name, named);
    END IF;
    FOR index IN 1..array_length(definitions, 1) LOOP
      EXECUTE definitions[index];
    END LOOP;
    -- Those of each row come again from the table's own; those of TRUNCATE stay.
    FOR one IN SELECT tgname FROM pg_trigger
               WHERE tgrelid = old::regclass AND NOT tgisinternal AND tgtype & 1 = 1 LOOP
      EXECUTE format('DROP TRIGGER %I ON %I', one.tgname, old);
    END LOOP;
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%L)',
                   name, old, event_id_at(bound AT TIME ZONE 'UTC'));
    IF named IS NOT NULL THEN
      EXECUTE format('ALTER TABLE %I DROP CONSTRAINT %I', old, named);
    END IF;
    FOR index IN 1..coalesce(array_length(triggers, 1), 0) LOOP
      EXECUTE triggers[index];
    END LOOP;
  END LOOP;
  WHILE bound < month + interval '4 months' LOOP
    PERFORM make_period(to_char(bound, 'YYYY_MM'), event_id_at(bound AT TIME ZONE 'UTC'),
                        event_id_at((bound + interval '1 month') AT TIME ZONE 'UTC'));
    bound := bound + interval '1 month';
  END LOOP;
  PERFORM make_period('later', event_id_at(bound AT TIME ZONE 'UTC'), NULL);
END $$;

-- The periods that are in an archive, or on their way there: frozen, archived (from then on the
-- books count their closings and not their entries), and at last dropped here.
CREATE TABLE archived_period (
  period text PRIMARY KEY,
  until_id text NOT NULL UNIQUE,
  until timestamptz NOT NULL,
  frozen_at timestamptz NOT NULL DEFAULT now(),
  archived_at timestamptz,
  place text,
  manifest_sha256 bytea CHECK (length(manifest_sha256) = 32),
  dropped_at timestamptz,
  CONSTRAINT archived_somewhere CHECK ((archived_at IS NULL) = (manifest_sha256 IS NULL)),
  CONSTRAINT dropped_when_archived CHECK (dropped_at IS NULL OR archived_at IS NOT NULL)
);
COMMENT ON COLUMN archived_period.until_id IS 'smaller ids of events are the period''s or an older one''s';

-- What a period's entries come to, of those that were booked before its end.
CREATE TABLE ledger_closing (
  merchant_id text NOT NULL,
  period text NOT NULL,
  live boolean NOT NULL,
  debit ledger_account NOT NULL,
  credit ledger_account NOT NULL,
  currency text NOT NULL,
  entries bigint NOT NULL CHECK (entries > 0),
  amount_minor numeric NOT NULL CHECK (amount_minor > 0 AND scale(amount_minor) = 0),
  subjects numeric NOT NULL,
  PRIMARY KEY (merchant_id, period, live, debit, credit, currency),
  CONSTRAINT two_accounts CHECK (debit <> credit)
);
COMMENT ON COLUMN ledger_closing.subjects IS
  'sum of entry_digest: so that it is known which entries they were, and not only how many';

-- A digest that can be added up, whatever the order.
CREATE FUNCTION entry_digest(subject_id text, amount_minor bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
  SELECT ('x' || substr(encode(sha256(convert_to(subject_id || ' ' || amount_minor, 'UTF8')), 'hex'),
                        1, 15))::bit(60)::bigint
$$;

-- An id is made a moment before it is booked. What was booked after the end of its id's period is
-- not in the closing and stays, so that statements from that end on are whole.
CREATE TABLE ledger_carried (LIKE ledger_entry INCLUDING CONSTRAINTS INCLUDING COMMENTS);
ALTER TABLE ledger_carried ADD PRIMARY KEY (merchant_id, event_id, line);

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['ledger_closing', 'ledger_carried'] LOOP
    EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE ON %I'
                   ' FOR EACH ROW EXECUTE FUNCTION refuse_change()', name || '_append_only', name);
    EXECUTE format('CREATE TRIGGER %I BEFORE TRUNCATE ON %I'
                   ' FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name || '_not_emptied', name);
  END LOOP;
END $$;

-- The entries that count one by one. Those of an archived period do not, whether or not their
-- partition is still there: it is the archived_at that turns one into the other, at one moment.
CREATE VIEW ledger_kept AS
SELECT merchant_id, event_id, line, live, debit, credit, amount_minor, currency, payment_id,
       subject_id, booked_at
FROM ledger_entry
WHERE event_id >= (SELECT coalesce(max(until_id), '') FROM archived_period
                   WHERE archived_at IS NOT NULL)
UNION ALL
SELECT merchant_id, event_id, line, live, debit, credit, amount_minor, currency, payment_id,
       subject_id, booked_at
FROM ledger_carried;

-- On the partitions of a period that is frozen.
CREATE FUNCTION refuse_archived() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the period of % is being archived', TG_TABLE_NAME USING ERRCODE = 'QA001';
END $$;
