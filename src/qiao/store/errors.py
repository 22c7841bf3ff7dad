"""What can go wrong with the database itself, under ``QiaoError``."""

from qiao.domain.errors import QiaoError


class StoreUnavailable(QiaoError):
    """The database does not answer; whether a statement that was under way took effect is unknown.

    Nothing that was inside an uncommitted transaction remains. The text names the kind of
    failure, never the URL: that may hold a password.
    """

    code = "store_unavailable"


class TablesBusy(QiaoError):
    """The tables were never free for a moment; nothing was changed."""

    code = "tables_busy"


class MigrationFailed(QiaoError):
    """The schema could not be brought to this version of Qiao; the failed revision left nothing."""

    code = "migration_failed"
