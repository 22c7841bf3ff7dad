-- The outbox. How it works, and the statement that puts a job in, is told in store/sql/outbox.sql.

CREATE TABLE job (
    merchant_id text NOT NULL,
    job_id uuid NOT NULL DEFAULT gen_random_uuid(),
    kind text NOT NULL,
    subject_id text NOT NULL,
    payload jsonb NOT NULL DEFAULT '{}',
    -- When somebody wants it run. A claim sets infinity, so that a finite time in a leased job
    -- means: wanted again since the run began.
    run_at timestamptz NOT NULL DEFAULT now(),
    -- Runs begun since it was last done.
    tries integer NOT NULL DEFAULT 0,
    -- The lease of the worker that runs it; also the token by which that worker is known.
    leased_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_error text,
    PRIMARY KEY (merchant_id, job_id),
    UNIQUE (merchant_id, kind, subject_id)
) WITH (
    -- Rows live for milliseconds: clean up early, and leave room to update in place.
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_cost_delay = 0
);

-- A job may be claimed from the end of its lease on, or from run_at on when there is none.
CREATE INDEX job_due ON job ((coalesce(leased_until, run_at)));

-- Jobs that a handler gave up, for the operator to look at.
CREATE TABLE job_abandoned (
    merchant_id text NOT NULL,
    job_id uuid NOT NULL,
    kind text NOT NULL,
    subject_id text NOT NULL,
    payload jsonb NOT NULL,
    tries integer NOT NULL,
    created_at timestamptz NOT NULL,
    reason text NOT NULL,
    abandoned_at timestamptz NOT NULL,
    PRIMARY KEY (merchant_id, job_id)
);
