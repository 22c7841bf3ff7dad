"""Events, ledger entries and webhook deliveries in partitions by time; the archive."""

from qiao.store.migrate import forward_only, run_sql

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    run_sql(__file__)


downgrade = forward_only
