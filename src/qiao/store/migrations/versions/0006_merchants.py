"""Organisations, apps, and what API keys may do."""

from qiao.store.migrate import forward_only, run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_sql(__file__)


downgrade = forward_only
