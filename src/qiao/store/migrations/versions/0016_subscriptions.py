"""Agreements, and the subscriptions that are charged by them."""

from qiao.store.migrate import forward_only, run_sql

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    run_sql(__file__)


downgrade = forward_only
