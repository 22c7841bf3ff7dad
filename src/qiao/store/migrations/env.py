"""Run by Alembic: hands the connection that ``qiao.store.migrating`` opened to the migrations."""

from alembic import context

applied = context.config.attributes["applied"]
context.configure(
    connection=context.config.attributes["connection"],
    transaction_per_migration=True,
    on_version_apply=lambda *, step, **_: applied.append(step.up_revision_id),
)
with context.begin_transaction():
    context.run_migrations()
