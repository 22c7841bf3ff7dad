-- The audit log. Only write_audit (migration 0005) writes it, in the transaction of the change.

-- name: write
-- $1 the chain: a merchant's id, or 'server'; $2 content, the JSON text that is digested.
SELECT write_audit($1, $2);

-- name: entries
-- The newest first. $2 live (null: both modes), $3 the sequence that ended the page before.
SELECT sequence, content, digest FROM audit_entry
WHERE merchant_id = $1 AND ($2::boolean IS NULL OR coalesce(live, $2) = $2)
  AND ($3::bigint IS NULL OR sequence < $3)
ORDER BY sequence DESC LIMIT $4;

-- name: chains
-- Every chain that has a head, or rows without one; heads are null there.
SELECT merchant_id, head.sequence, head.digest
FROM (SELECT DISTINCT merchant_id FROM audit_entry) AS written
FULL JOIN audit_head AS head USING (merchant_id)
ORDER BY merchant_id;

-- name: part_of_chain
-- $1 the chain, $2 the sequence that ended the part before, $3 how many.
SELECT sequence, content, previous, digest FROM audit_entry
WHERE merchant_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3;

-- name: guards
SELECT tgname FROM pg_trigger
WHERE tgrelid = 'audit_entry'::regclass AND tgenabled IN ('O', 'A')
  AND tgname IN ('audit_is_append_only', 'audit_is_not_emptied');

-- name: configuration
SELECT sealed_settings FROM server_configuration WHERE process = $1;

-- name: put_configuration
INSERT INTO server_configuration (process, sealed_settings) VALUES ($1, $2)
ON CONFLICT (process) DO UPDATE SET sealed_settings = excluded.sealed_settings;
