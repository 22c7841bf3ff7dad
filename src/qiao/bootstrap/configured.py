"""Write in the audit log which settings of this server changed since its last start."""

from typing import Any, Literal

import msgspec

from qiao.bootstrap.config import Config
from qiao.crypto.sealing import SealBroken
from qiao.engine.actors import Actor
from qiao.engine.audit import SERVER, record
from qiao.engine.runtime import Engine
from qiao.store.sql import load_statements

SQL = load_statements("audit")


async def note_configuration(
    engine: Engine, config: Config, process: Literal["serve", "worker"], *, actor: Actor
) -> list[str]:
    """The names of the settings that changed; nothing is written when none did."""
    now = msgspec.to_builtins(config)
    async with engine.database.transaction() as queries:
        sealed = await queries.fetch_value(SQL.configuration, process)
        before: dict[str, Any] = {}
        if sealed is not None:
            try:
                before = msgspec.json.decode(engine.seal.open(sealed))
            except SealBroken:  # the sealing key itself was changed, and all may have been
                before = {}
        changed = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
        if changed:
            content = engine.seal.close(msgspec.json.encode(now))
            await queries.execute(SQL.put_configuration, process, content)
            await record(
                queries,
                "configuration.changed",
                at=engine.now(),
                chain=SERVER,
                actor=actor,
                subject_id=process,
                fields=changed,
            )
    return changed
