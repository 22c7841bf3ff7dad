"""The ledger."""

from qiao.store.migrate import forward_only, run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql(__file__)


downgrade = forward_only
