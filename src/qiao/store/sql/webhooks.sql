-- Webhook endpoints and deliveries.
--
-- Of each delivery's statements the planner should make one plan and keep it. With an event's id it
-- would find a plan for that id's partition alone a bit cheaper than the kept one, and plan anew
-- every time, which costs more than the statement. concat is a function whose value it must not
-- know beforehand; so it keeps the plan, and the partition is found when it runs.

-- name: add_endpoint
INSERT INTO webhook_endpoint (merchant_id, endpoint_id, live, url, sealed_secret, event_types,
                              app_id)
VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING *;

-- name: endpoints
SELECT * FROM webhook_endpoint WHERE merchant_id = $1 AND live = $2 ORDER BY endpoint_id;

-- name: endpoint_of_id
SELECT * FROM webhook_endpoint WHERE merchant_id = $1 AND live = $2 AND endpoint_id = $3;

-- name: delete_endpoint
DELETE FROM webhook_endpoint WHERE merchant_id = $1 AND live = $2 AND endpoint_id = $3 RETURNING endpoint_id;

-- name: delivery
-- One row for each that is asked for, in the order of asking: of nulls, where there is none.
SELECT one.* FROM (SELECT) AS asked LEFT JOIN LATERAL (
  SELECT d.state, d.tries, n.url, n.sealed_secret, n.enabled, e.type, e.data, e.created_at
  FROM webhook_delivery d
  JOIN event e ON e.merchant_id = d.merchant_id AND e.event_id = d.event_id
  JOIN webhook_endpoint n ON n.merchant_id = d.merchant_id AND n.endpoint_id = d.endpoint_id
  WHERE d.merchant_id = $1 AND d.event_id = concat($2::text) AND d.endpoint_id = $3
) AS one ON true;

-- name: trace_of_event
-- The trace of the payment's last attempt.
SELECT a.traceparent FROM event e
JOIN attempt a ON a.merchant_id = e.merchant_id AND a.payment_id = e.payment_id
WHERE e.merchant_id = $1 AND e.event_id = concat($2::text) AND a.traceparent IS NOT NULL
ORDER BY a.attempt_id DESC LIMIT 1;

-- name: note_delivery
UPDATE webhook_delivery
SET state = $4, tries = tries + 1, last_status = $5, last_error = $6, last_tried_at = now(),
    first_tried_at = coalesce(first_tried_at, now()),
    delivered_at = CASE WHEN $4 = 'delivered' THEN now() ELSE delivered_at END
WHERE merchant_id = $1 AND event_id = concat($2::text) AND endpoint_id = $3;

-- name: deliveries
SELECT d.event_id, d.endpoint_id, e.type, d.state, d.tries, d.last_status, d.last_error,
       d.last_tried_at, d.delivered_at
FROM webhook_delivery d
JOIN event e ON e.merchant_id = d.merchant_id AND e.event_id = d.event_id
WHERE d.merchant_id = $1 AND d.endpoint_id = $2 AND ($3::text IS NULL OR d.event_id < $3)
ORDER BY d.event_id DESC LIMIT $4;

-- name: replay
WITH again AS (
  INSERT INTO webhook_delivery (merchant_id, event_id, endpoint_id)
  SELECT e.merchant_id, e.event_id, n.endpoint_id
  FROM event e JOIN webhook_endpoint n ON n.merchant_id = e.merchant_id AND n.live = e.live
  WHERE e.merchant_id = $1 AND e.live = $2 AND e.event_id = $3 AND n.endpoint_id = $4
  ON CONFLICT (merchant_id, event_id, endpoint_id) DO UPDATE
  SET state = 'pending', first_tried_at = NULL, tries = 0
  RETURNING *
)
INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
SELECT merchant_id, 'deliver_webhook', event_id || ':' || endpoint_id, '{}', now() FROM again
ON CONFLICT (merchant_id, kind, subject_id)
DO UPDATE SET run_at = least(job.run_at, excluded.run_at)
RETURNING subject_id;
