-- The outbox: jobs that follow a business change, committed together with it.
--
-- A business statement puts its jobs in by a CTE of its own, which reads exactly so, with its own
-- values (or a SELECT from another CTE) in the place of VALUES:
--
--     queued AS (
--         INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
--         VALUES ($1, 'payment.query', $2, '{}', $3)
--         ON CONFLICT (merchant_id, kind, subject_id)
--         DO UPDATE SET run_at = least(job.run_at, excluded.run_at)
--     )
--
-- There is at most one job for each merchant, kind and subject. Wanting it again brings its time
-- forward and changes nothing else: the payload stays that of the first, so whatever may change
-- is read from its own table by subject_id. payload and run_at may be left out: {} and now.
-- No two rows of one such INSERT may be the same job (PostgreSQL refuses that).
--
-- A claim leases the job and sets run_at to infinity. Wanting it again while it runs therefore
-- leaves a finite run_at behind; the worker that is done sees it and keeps the job. An
-- enqueuing transaction that is still open holds the row's lock; then the worker passes
-- over the row and looks again later, so nothing is lost, and no worker waits for business.

-- name: enqueue
-- $1 merchant_id, $2 kind, $3 subject_id, $4 payload, $5 run_at (null: now).
INSERT INTO job (merchant_id, kind, subject_id, payload, run_at)
VALUES ($1, $2, $3, $4, coalesce($5::timestamptz, now()))
ON CONFLICT (merchant_id, kind, subject_id)
DO UPDATE SET run_at = least(job.run_at, excluded.run_at);

-- name: claim
-- Lease jobs that are due, or whose lease has lapsed because their worker died.
-- $1 now (null: the database's clock), $2 kinds, $3 how many, $4 seconds of the lease.
WITH due AS (
    SELECT merchant_id, job_id, coalesce(leased_until, run_at) AS due_at
    FROM job
    -- Both conditions are written so that the planner guesses them to hold for many rows,
    -- whatever its statistics of this restless table say; then it walks job_due and stops at the
    -- limit, where otherwise it may sort the whole backlog for every claim.
    WHERE coalesce(leased_until, run_at) <= (SELECT coalesce($1::timestamptz, now()))
        AND array_position($2::text[], kind) IS NOT NULL
    ORDER BY coalesce(leased_until, run_at)
    LIMIT $3
    FOR UPDATE SKIP LOCKED
)
UPDATE job
SET leased_until = coalesce($1::timestamptz, now()) + make_interval(secs => $4::float8),
    -- A lapsed run may leave a wish for a later time, which this run does not fulfil.
    run_at = CASE
        WHEN job.run_at <= coalesce($1::timestamptz, now()) THEN 'infinity'
        ELSE job.run_at
    END,
    tries = job.tries + 1
FROM due
WHERE job.merchant_id = due.merchant_id AND job.job_id = due.job_id
RETURNING job.merchant_id, job.job_id, job.kind, job.subject_id, job.payload, job.tries,
    job.created_at, job.leased_until, due.due_at;

-- name: settle
-- Record how runs ended; the ones that are settled come back. The others are locked just now, or
-- their lease has lapsed and they are another worker's.
-- $1 now (null: the database's clock); of each run: $2 merchant_id, $3 job_id, $4 leased_until,
-- $5 verdict (done, again, released or abandoned), $6 seconds until it runs again, $7 error.
WITH given AS (
    SELECT *
    FROM unnest($2::text[], $3::uuid[], $4::timestamptz[], $5::text[], $6::float8[], $7::text[])
        AS given (merchant_id, job_id, leased_until, verdict, after_seconds, error)
),
held AS (
    SELECT job.merchant_id, job.job_id, given.after_seconds, given.error,
        CASE
            WHEN given.verdict IN ('done', 'abandoned') AND job.run_at < 'infinity'
            THEN 'wanted again'
            ELSE given.verdict
        END AS verdict
    FROM job
    JOIN given ON job.merchant_id = given.merchant_id AND job.job_id = given.job_id
    WHERE job.leased_until = given.leased_until
    FOR UPDATE OF job SKIP LOCKED
),
removed AS (
    -- By key only: what decides was read under the lock, and this scan may see an older row.
    DELETE FROM job
    USING held
    WHERE job.merchant_id = held.merchant_id AND job.job_id = held.job_id
        AND held.verdict IN ('done', 'abandoned')
    RETURNING job.*, held.verdict, held.error
),
kept AS (
    UPDATE job
    SET leased_until = NULL,
        run_at = CASE held.verdict
            WHEN 'wanted again' THEN job.run_at
            ELSE least(
                job.run_at,
                coalesce($1::timestamptz, now()) + make_interval(secs => held.after_seconds)
            )
        END,
        tries = CASE held.verdict
            WHEN 'wanted again' THEN 0
            WHEN 'released' THEN job.tries - 1
            ELSE job.tries
        END,
        last_error = CASE held.verdict WHEN 'released' THEN job.last_error ELSE held.error END
    FROM held
    WHERE job.merchant_id = held.merchant_id AND job.job_id = held.job_id
        AND held.verdict NOT IN ('done', 'abandoned')
),
noted AS (
    INSERT INTO job_abandoned (
        merchant_id, job_id, kind, subject_id, payload, tries, created_at, reason, abandoned_at
    )
    SELECT merchant_id, job_id, kind, subject_id, payload, tries, created_at, error,
        coalesce($1::timestamptz, now())
    FROM removed
    WHERE verdict = 'abandoned'
)
SELECT merchant_id, job_id, verdict FROM held;
