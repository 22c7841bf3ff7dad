"""Profit sharing: receivers, shares of payments, and their returns."""

from qiao.store.migrate import forward_only, run_sql

revision = "0021"
down_revision = "0009"


def upgrade() -> None:
    run_sql(__file__)


downgrade = forward_only
