"""Merchants, accounts, payments, attempts, refunds, events and webhooks."""

from qiao.store.migrate import forward_only, run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql(__file__)


downgrade = forward_only
