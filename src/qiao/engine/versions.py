"""What is set for a merchant in versions, from a file: routing rules, price lists.

Every version that was saved is kept, and the newest counts: the merchant's own, or the platform's
where the merchant has none.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from qiao.domain.errors import InvalidInput
from qiao.engine.audit import PLATFORM, record_for
from qiao.engine.errors import Conflict

if TYPE_CHECKING:  # the runtime holds what counts
    from qiao.engine.runtime import Engine, Scope

MAX_NOTE: Final = 200


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One of a merchant's or the platform's; a kind adds what was saved."""

    merchant_id: str
    live: bool
    version: int
    note: str
    created_at: datetime

    @property
    def owner(self) -> str:
        return "platform" if self.merchant_id == PLATFORM else "merchant"


Kind = TypeVar("Kind", bound=Version)
Content = TypeVar("Content")


def read_content(given: object, kind: type[Content], *, name: str, page: str) -> Content:
    """What a file or a request holds, by its type alone. Raises InvalidInput naming what is wrong.

    ``name`` is the field's where the whole is wrong, ``page`` tells of its settings.
    """
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at ")
        field = path.strip("`").removeprefix("$.")
        remedy = f"see the columns and settings in {page}"
        raise InvalidInput(text, field=field or name, remedy=remedy) from None


async def save_version(
    engine: "Engine",
    scope: "Scope",
    kind: type[Kind],
    statement: str,
    content: msgspec.Struct,
    *,
    name: str,
    note: str,
    replaces: int | None,
) -> Kind:
    """The newest version from now on, and in the audit log as ``name`` (a plural) that was saved.

    Raises InvalidInput for the note, and Conflict when the newest version is not the one that this
    ``replaces``. Whoever holds what counted must forget it afterwards, whatever came of it.
    """
    if len(note) > MAX_NOTE or "\0" in note:
        raise InvalidInput(
            "not a note", field="note", remedy=f"say why in at most {MAX_NOTE} characters"
        )
    async with engine.database.transaction() as queries:
        row = await queries.fetch_row(
            statement,
            scope.merchant_id,
            scope.live,
            msgspec.to_builtins(content),
            note,
            engine.now(),
            replaces,
        )
        if row is not None:
            await record_for(engine, queries, scope, f"{name}.saved", str(row["version"]))
    if row is None:
        raise Conflict(
            f"the {name} have been changed meanwhile",
            code="version_conflict",
            field="replaces",
            remedy="look at the newest version, and save yours again",
        )
    return msgspec.convert(dict(row.items()), kind)
