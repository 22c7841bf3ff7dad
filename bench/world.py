"""What is measured, running: Qiao and the floors on one database and one peer."""

import secrets
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench.children import Child, child
from bench.floors import Setting
from bench.statements import FILLED_TABLES
from qiao.bootstrap.config import Config
from qiao.bootstrap.engine import open_engine
from qiao.crypto.sealing import Seal
from qiao.domain.ids import IdKind
from qiao.engine.merchants import add_merchant, issue_api_key
from qiao.engine.runtime import Engine, Scope
from qiao.simulators.wechat.codec import Codec
from qiao.simulators.wechat.credentials import Credentials, new_credentials
from qiao.store.database import Database

QIAO = ("-c", "from qiao.cli.main import main; main()")


@dataclass(frozen=True, kw_only=True)
class World:
    """Every process that takes part, and what the bench needs to speak to them."""

    engine: Engine
    scope: Scope
    account_id: str
    api_key: str
    credentials: Credentials
    codec: Codec
    peer: Child
    qiao: Child
    floors: Child
    setting: Setting
    environment: dict[str, str]

    @property
    def peer_url(self) -> str:
        return f"http://127.0.0.1:{self.peer.hello['port']}"

    def port(self, server: Child) -> int:
        if "port" in server.hello:
            return int(server.hello["port"])
        return int(server.hello["url"].rpartition(":")[2])


@asynccontextmanager
async def running(home: Path, database_url: str) -> AsyncIterator[World]:
    """Everything, on a migrated and otherwise unused database."""
    credentials = new_credentials()
    keys, seal_key = home / "wechat.json", Seal.new_key()
    keys.write_bytes(credentials.to_json())
    environment = {
        "QIAO_HOME": str(home),
        "QIAO_DATABASE_URL": database_url,
        "QIAO_SEAL_KEYS": seal_key,
        "QIAO_PUBLIC_URL": "https://shop.invalid",
        "QIAO_WEBHOOK_NETWORKS": "127.0.0.0/8",  # the peer, which takes the webhooks
    }
    config = Config(home=str(home), database_url=database_url, seal_keys=seal_key)
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(open_engine(config, max_connections=4))
        peer = await stack.enter_async_context(child("-m", "bench.peer", str(keys)))
        peer_url = f"http://127.0.0.1:{peer.hello['port']}"
        scope = Scope(merchant_id=engine.new_id(IdKind.MERCHANT), live=False)
        await add_merchant(engine, "Bench", merchant_id=scope.merchant_id)
        account_id = await engine.accounts.put(
            merchant_id=scope.merchant_id,
            account_id=engine.new_id(IdKind.CHANNEL_ACCOUNT),
            live=False,
            channel="wechat",
            name="bench",
            settings=credentials.settings("ordinary", base_url=peer_url),
        )
        merchant, platform = credentials.merchants["ordinary"], credentials.public_keys[0]
        setting = Setting(
            database_url=database_url,
            peer_url=peer_url,
            merchant_id=scope.merchant_id,
            account_id=account_id,
            private_key=merchant.private_key,
            platform_key=platform.public_key,
            api_v3_key=merchant.api_v3_key,
            mchid=merchant.mchid,
            serial_no=merchant.serial_no,
            appid=merchant.appid,
        )
        serve = (*QIAO, "serve", "--no-worker", "--port", "0", "--json")
        qiao = await stack.enter_async_context(child(*serve, environment=environment))
        floors = await stack.enter_async_context(floor(setting))
        yield World(
            engine=engine,
            scope=scope,
            account_id=account_id,
            api_key=await issue_api_key(engine, scope),
            credentials=credentials,
            codec=Codec(credentials),
            peer=peer,
            qiao=qiao,
            floors=floors,
            setting=setting,
            environment=environment,
        )


def floor(setting: Setting) -> AbstractAsyncContextManager[Child]:
    """The floors, as one process."""
    return child("-m", "bench.floors", given=msgspec.json.encode(setting) + b"\n")


async def look_after(database: Database) -> None:
    """Have PostgreSQL tidy and count the tables, as its autovacuum would in time."""
    for table in FILLED_TABLES:
        await database.execute(f"VACUUM ANALYZE {table}")


def fresh(word: str) -> str:
    """A name that no earlier round has taken."""
    return f"{word}-{secrets.token_hex(8)}"
