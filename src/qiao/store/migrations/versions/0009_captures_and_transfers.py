"""Authorizations with their captures, and transfers."""

from qiao.store.migrate import forward_only, run_sql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run_sql(__file__)


downgrade = forward_only
