-- Agreements: asked for, signed, ended. Guards are arrays of states: the tables of domain.states.

-- name: request_agreement
WITH key AS (
  INSERT INTO idempotency_key (merchant_id, live, key, body_digest, resource_id)
  SELECT $1, $3, $20, $21, $2 WHERE $20::text IS NOT NULL
), asked AS (
  INSERT INTO agreement (merchant_id, agreement_id, live, app_id, number, account_id, channel,
                         product, reference, plan, sealed_name, max_minor, currency, period_unit,
                         period_count, first_charge_on, return_url, metadata, expires_at,
                         created_at)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $22)
  RETURNING agreement AS row
), told AS (
  INSERT INTO event (merchant_id, event_id, live, type, data)
  SELECT $1, $23, $3, 'agreement.created', agreement_document(row) FROM asked
), watch AS (
  INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
  SELECT $1, 'work_agreement', $2, '{}', $22::timestamptz + $24 FROM asked
)
SELECT (row).* FROM asked;

-- name: agreement_of_id
SELECT * FROM agreement WHERE merchant_id = $1 AND live = $2 AND agreement_id = $3;

-- name: agreement_of_number
SELECT * FROM agreement WHERE merchant_id = $1 AND live = $2 AND number = $3;

-- name: agreement_of_any_mode
SELECT * FROM agreement WHERE merchant_id = $1 AND agreement_id = $2;

-- name: agreement_of_reference
SELECT * FROM agreement WHERE merchant_id = $1 AND reference = $2;

-- name: agreements
SELECT * FROM agreement
WHERE merchant_id = $1 AND live = $2 AND ($3::text IS NULL OR agreement_id < $3)
  AND ($4::text IS NULL OR state = $4)
ORDER BY agreement_id DESC LIMIT $5;

-- name: name_of
SELECT sealed_name FROM agreement WHERE merchant_id = $1 AND agreement_id = $2;

-- name: show_action
UPDATE agreement SET action = $3
WHERE merchant_id = $1 AND agreement_id = $2 AND state = 'pending'
RETURNING *;

-- name: settle_signed
WITH settled AS (
  UPDATE agreement
  SET state = 'active', channel_reference = $4, signed_at = coalesce($5::timestamptz, $6::timestamptz),
      valid_until = $7::timestamptz,
      action = NULL
  WHERE merchant_id = $1 AND agreement_id = $2 AND state = ANY ($3::text[])
  RETURNING agreement AS row
), told AS (
  INSERT INTO event (merchant_id, event_id, live, type, data)
  SELECT $1, $8, (row).live, 'agreement.active', agreement_document(row) FROM settled
), wanted AS (
  -- Signed although its end was asked for: it is ended at the channel.
  INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
  SELECT $1, 'work_agreement', $2, '{}', $6::timestamptz FROM settled WHERE (row).end_requested_at IS NOT NULL
  ON CONFLICT (merchant_id, kind, subject_id)
  DO UPDATE SET run_at = least(job.run_at, excluded.run_at)
)
SELECT (row).* FROM settled;

-- name: settle_over
-- $4: refused, expired or ended. What is charged by it stops.
WITH settled AS (
  UPDATE agreement
  SET state = $4::text, code = $5, channel_code = $6, channel_message = $7, action = NULL,
      ended_at = CASE WHEN $4::text = 'ended'
                      THEN coalesce($8::timestamptz, $9::timestamptz) END
  WHERE merchant_id = $1 AND agreement_id = $2 AND state = ANY ($3::text[])
  RETURNING agreement AS row
), told AS (
  INSERT INTO event (merchant_id, event_id, live, type, data)
  SELECT $1, $10, (row).live, 'agreement.' || $4::text, agreement_document(row) FROM settled
), stopped AS (
  INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
  SELECT $1, 'work_subscription', s.subscription_id, '{}', $9::timestamptz
  FROM settled JOIN subscription s ON s.merchant_id = $1 AND s.agreement_id = $2
  WHERE s.state IN ('active', 'past_due', 'paused')
  ON CONFLICT (merchant_id, kind, subject_id)
  DO UPDATE SET run_at = least(job.run_at, excluded.run_at)
)
SELECT (row).* FROM settled;

-- name: ask_to_end
WITH asked AS (
  UPDATE agreement SET end_requested_at = coalesce(end_requested_at, $4::timestamptz)
  WHERE merchant_id = $1 AND agreement_id = $2 AND state = ANY ($3::text[])
  RETURNING *
), wanted AS (
  INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
  SELECT $1, 'work_agreement', $2, '{}', $4::timestamptz FROM asked
  ON CONFLICT (merchant_id, kind, subject_id)
  DO UPDATE SET run_at = least(job.run_at, excluded.run_at)
), stopped AS (
  INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
  SELECT $1, 'work_subscription', s.subscription_id, '{}', $4::timestamptz
  FROM asked JOIN subscription s ON s.merchant_id = $1 AND s.agreement_id = $2
  WHERE s.state IN ('active', 'past_due', 'paused')
  ON CONFLICT (merchant_id, kind, subject_id)
  DO UPDATE SET run_at = least(job.run_at, excluded.run_at)
)
SELECT * FROM asked;

-- name: note_anomaly
INSERT INTO anomaly (merchant_id, anomaly_id, kind, detail) VALUES ($1, $2, $3, $4);
