"""The outbox: jobs that follow a business change."""

from qiao.store.migrate import forward_only, run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_sql(__file__)


downgrade = forward_only
