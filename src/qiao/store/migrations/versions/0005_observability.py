"""What operators look at, and the audit log."""

from qiao.store.migrate import forward_only, run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_sql(__file__)


downgrade = forward_only
