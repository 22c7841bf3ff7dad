-- The partitions by time of event, ledger_entry and webhook_delivery, which come and go together.
-- Migration 0015 made the first ones; docs/adr/0011-partitions-by-time.md.

-- name: periods
-- In order. Bounds are ids of events: from lower_id (null: from the beginning) to before upper_id
-- (null: for ever). tables tells which of the three are attached.
SELECT part.period, part.lower_id, part.upper_id, array_agg(part.name ORDER BY part.name) AS tables,
       sum(part.bytes)::bigint AS bytes, sum(part.rows)::bigint AS rows
FROM (
  SELECT parent.relname AS name, substr(child.relname, length(parent.relname) + 2) AS period,
         (regexp_match(bounds.text, 'FROM \(''(\w+)''\)'))[1] AS lower_id,
         (regexp_match(bounds.text, 'TO \(''(\w+)''\)'))[1] AS upper_id,
         pg_total_relation_size(child.oid) AS bytes, greatest(child.reltuples, 0) AS rows
  FROM pg_inherits
  JOIN pg_class parent ON parent.oid = inhparent
  JOIN pg_class child ON child.oid = inhrelid
  CROSS JOIN LATERAL (SELECT pg_get_expr(child.relpartbound, 0) AS text) AS bounds
  WHERE NOT inhdetachpending
    AND parent.relname IN ('event', 'ledger_entry', 'webhook_delivery')
    AND parent.relnamespace = 'public'::regnamespace
) AS part
GROUP BY part.period, part.lower_id, part.upper_id
ORDER BY part.lower_id NULLS FIRST;

-- name: archived
SELECT period, until, frozen_at, archived_at, dropped_at, place, manifest_sha256
FROM archived_period ORDER BY until_id;

-- name: later_begins
-- The lower bound of what no month was made for. By its name in one snapshot, because the table of
-- that name may be another a moment later.
SELECT (regexp_match(pg_get_expr(relpartbound, 0), 'FROM \(''(\w+)''\)'))[1]
FROM pg_class WHERE relname = 'event_later' AND relnamespace = 'public'::regnamespace;

-- name: last_of_later
SELECT greatest((SELECT max(event_id) FROM event_later),
                (SELECT max(event_id) FROM ledger_entry_later),
                (SELECT max(event_id) FROM webhook_delivery_later));

-- name: lock
-- Against whoever else makes or archives periods; until the transaction ends.
SELECT pg_advisory_xact_lock(hashtextextended('periods', 0));

-- name: lock_tables
-- In the order in which an event's statement takes them.
LOCK TABLE event, ledger_entry, webhook_delivery, payment, webhook_endpoint
  IN ACCESS EXCLUSIVE MODE;

-- name: make_period
SELECT make_period($1, $2, $3);
