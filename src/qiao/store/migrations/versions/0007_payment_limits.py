"""Limits of payments, for merchants and apps."""

from qiao.store.migrate import forward_only, run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_sql(__file__)


downgrade = forward_only
