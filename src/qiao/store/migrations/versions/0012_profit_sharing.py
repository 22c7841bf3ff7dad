"""Profit sharing: receivers, shares of payments, and their returns."""

from qiao.store.migrate import forward_only, run_sql

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    run_sql(__file__)


downgrade = forward_only
