-- Which older versions may go on serving on this schema, while the new one comes up beside them.
-- docs/operations/upgrades.md tells the rule; a migration that takes something away raises this.

CREATE TABLE schema_compatibility (
  is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
  oldest_revision text NOT NULL CHECK (oldest_revision ~ '^[0-9]{4}$')
);
COMMENT ON COLUMN schema_compatibility.oldest_revision IS
  'the newest revision known to the oldest version whose statements still work here';
INSERT INTO schema_compatibility (oldest_revision) VALUES ('0003');
