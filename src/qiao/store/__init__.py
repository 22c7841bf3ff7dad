"""PostgreSQL: the schema and its migrations, named SQL, the pool, the outbox."""
