-- Towards partitions by time, the second of three steps. It reads the whole tables and locks none
-- of them against reading or writing, so it may take its time.

INSERT INTO payment_success (merchant_id, payment_id, event_id)
SELECT merchant_id, payment_id, event_id FROM event WHERE type = 'payment.paid'
ON CONFLICT DO NOTHING;

DO $$
DECLARE
  one record;
BEGIN
  FOR one IN
    SELECT conrelid::regclass AS place, conname FROM pg_constraint
    WHERE conname ^@ 'ids_before_' AND NOT convalidated
      AND conrelid IN ('event'::regclass, 'ledger_entry'::regclass, 'webhook_delivery'::regclass)
  LOOP
    EXECUTE format('ALTER TABLE %s VALIDATE CONSTRAINT %I', one.place, one.conname);
  END LOOP;
END $$;
