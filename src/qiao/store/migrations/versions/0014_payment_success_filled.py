"""The successes so far, and the first bound's proof: long, and in nobody's way."""

from qiao.store.migrate import forward_only, run_sql

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    run_sql(__file__)


downgrade = forward_only
