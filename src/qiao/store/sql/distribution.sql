-- What the catalogue says of our tables, for their distribution by merchant.

-- name: tables
-- Each table and its primary key's columns, in order. Partitions go with their table.
SELECT c.relname AS name,
    coalesce(
        array_agg(a.attname::text ORDER BY k.place) FILTER (WHERE a.attname IS NOT NULL), '{}'
    ) AS primary_key
FROM pg_class c
LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
LEFT JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, place) ON true
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
GROUP BY c.relname
ORDER BY c.relname;

-- name: unique_indexes
-- Exclusion constraints are of the same kind. An expression has no attribute number.
SELECT c.relname AS table_name, x.relname AS name,
    coalesce(array_agg(a.attname::text) FILTER (WHERE a.attname IS NOT NULL), '{}') AS columns
FROM pg_index i
JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_class x ON x.oid = i.indexrelid
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey::int2[])
WHERE c.relnamespace = 'public'::regnamespace AND NOT c.relispartition
    AND (i.indisunique OR i.indisexclusion)
GROUP BY c.relname, x.relname
ORDER BY c.relname, x.relname;

-- name: foreign_keys
-- The columns stand in pairs: columns[n] refers to target_columns[n]. Partitions that refer to
-- partitions say the same as their tables would.
SELECT DISTINCT k.conname AS name, c.relname AS table_name, t.relname AS target,
    k.columns, k.target_columns
FROM (
    SELECT k.conname,
        coalesce(pg_partition_root(k.conrelid)::oid, k.conrelid) AS place,
        coalesce(pg_partition_root(k.confrelid)::oid, k.confrelid) AS target_place,
        array_agg(a.attname::text ORDER BY p.place) AS columns,
        array_agg(b.attname::text ORDER BY p.place) AS target_columns
    FROM pg_constraint k
    CROSS JOIN LATERAL unnest(k.conkey, k.confkey) WITH ORDINALITY AS p (ours, theirs, place)
    JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = p.ours
    JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = p.theirs
    WHERE k.contype = 'f' AND k.conparentid = 0
    GROUP BY k.oid
) AS k
JOIN pg_class c ON c.oid = k.place
JOIN pg_class t ON t.oid = k.target_place
WHERE c.relnamespace = 'public'::regnamespace
ORDER BY c.relname, k.conname;
