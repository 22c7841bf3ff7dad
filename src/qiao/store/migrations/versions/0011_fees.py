"""Fees: price lists, what was charged of each attempt, and what went back for each refund."""

from qiao.store.migrate import forward_only, run_sql

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run_sql(__file__)


downgrade = forward_only
