"""Routing: versions of rules, health and statistics of accounts, what chose an attempt."""

from qiao.store.migrate import forward_only, run_sql

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    run_sql(__file__)


downgrade = forward_only
