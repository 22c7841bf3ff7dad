-- Towards partitions by time, the first of three steps: docs/adr/0011-partitions-by-time.md.
-- expands only: the check holds for every id that is made within the next month.

-- A unique index of a partitioned table must hold the partition's key, and "one success for each
-- payment" does not. So the success of each payment is a row here, which stays when its event goes
-- to the archive. The trigger below writes it, whichever version's statement wrote the event.
CREATE TABLE payment_success (
  merchant_id text NOT NULL,
  payment_id text NOT NULL,
  event_id text NOT NULL,
  CONSTRAINT one_success PRIMARY KEY (merchant_id, payment_id)
);
CREATE TRIGGER success_is_append_only BEFORE UPDATE OR DELETE ON payment_success
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER success_is_not_emptied BEFORE TRUNCATE ON payment_success
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

COMMENT ON TABLE payment_success IS 'that each payment is paid once; it outlives the event';

CREATE FUNCTION note_success() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO payment_success (merchant_id, payment_id, event_id)
  VALUES (NEW.merchant_id, NEW.payment_id, NEW.event_id);
  RETURN NULL;
END $$;

-- Everybody who writes an event takes these locks in one order, and who delivers one in another. So
-- this gives up before PostgreSQL would look for a deadlock, and tries again.
SET LOCAL lock_timeout = '800ms';
DO $$
BEGIN
  FOR attempt IN 1..30 LOOP
    BEGIN
      LOCK TABLE event, ledger_entry, webhook_delivery
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

-- Whoever wrote an event before has ended by now, and whoever writes one later has it noted.
CREATE TRIGGER event_notes_success AFTER INSERT ON event
  FOR EACH ROW WHEN (NEW.type = 'payment.paid') EXECUTE FUNCTION note_success();

-- The smallest id of an event that is made then (qiao.domain.ids): ten letters of milliseconds.
CREATE FUNCTION event_id_at(moment timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT 'evt_' || string_agg(
    substr('0123456789abcdefghjkmnpqrstvwxyz',
           ((floor(extract(epoch FROM moment) * 1000)::bigint >> (45 - 5 * place)) & 31)::int + 1,
           1),
    '' ORDER BY place)
  FROM generate_series(0, 9) AS place
$$;

-- What is there becomes the first partition, up to the first of a month that is at least one month
-- away. With the check, proven in the next step, attaching it reads nothing. The name of the check
-- tells the next steps the month.
DO $$
DECLARE
  bound date := (date_trunc('month', now() AT TIME ZONE 'UTC' + interval '1 month')
                 + interval '1 month')::date;
  name text;
BEGIN
  IF EXISTS (SELECT FROM event) THEN
    FOREACH name IN ARRAY ARRAY['event', 'ledger_entry', 'webhook_delivery'] LOOP
      EXECUTE format(
        'ALTER TABLE %I ADD CONSTRAINT %I CHECK (event_id < %L) NOT VALID',
        name, 'ids_before_' || to_char(bound, 'YYYY_MM'),
        event_id_at(bound::timestamp AT TIME ZONE 'UTC'));
    END LOOP;
  END IF;
END $$;
