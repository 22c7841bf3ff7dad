-- What operators look at: everybody's payments together. Each statement reads an index that holds
-- only what it counts, or the last block ranges of a table.

-- name: unknown_attempts
SELECT channel, count(*) AS number, min(sent_at) AS oldest FROM attempt
WHERE state = 'unknown' GROUP BY channel;

-- name: jobs_due
-- $1 now.
SELECT kind, count(*) AS number, min(coalesce(leased_until, run_at)) AS oldest FROM job
WHERE coalesce(leased_until, run_at) <= $1 GROUP BY kind;

-- name: jobs_abandoned
SELECT kind, count(*) AS number FROM job_abandoned GROUP BY kind;

-- name: webhooks_pending
-- Events' ids sort by age, and the index by them.
SELECT count(*) AS number,
       (SELECT e.created_at FROM webhook_delivery d
        JOIN event e ON e.merchant_id = d.merchant_id AND e.event_id = d.event_id
        WHERE d.state = 'pending' ORDER BY d.event_id LIMIT 1) AS oldest
FROM webhook_delivery WHERE state = 'pending';

-- name: anomalies_open
SELECT kind, count(*) AS number FROM anomaly WHERE resolved_at IS NULL GROUP BY kind;

-- name: recent_events
-- $1 since.
SELECT type, count(*) AS number FROM event WHERE created_at >= $1 GROUP BY type;

-- name: recent_attempts
-- $1 since.
SELECT channel, state, count(*) AS number FROM attempt WHERE created_at >= $1
GROUP BY channel, state;

-- name: newest_anomalies
SELECT merchant_id, kind, payment_id, created_at FROM anomaly WHERE resolved_at IS NULL
ORDER BY created_at DESC LIMIT $1;
