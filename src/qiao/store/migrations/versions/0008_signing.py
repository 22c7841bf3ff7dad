"""Requests that are signed."""

from qiao.store.migrate import forward_only, run_sql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run_sql(__file__)


downgrade = forward_only
