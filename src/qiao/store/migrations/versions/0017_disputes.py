"""Disputes: customers' complaints and banks' chargebacks, and until when to answer them."""

from qiao.store.migrate import forward_only, run_sql

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    run_sql(__file__)


downgrade = forward_only
