"""That a payment is paid once, kept where it can stay; the tables' first bound."""

from qiao.store.migrate import forward_only, run_sql

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    run_sql(__file__)


downgrade = forward_only
