"""A deposit at the simulated Alipay, through the public doors: held, taken in part, given back."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest_asyncio
from yarl import URL

from qiao.bootstrap.serving import listen, serving, working
from qiao.crypto.sealing import Seal
from qiao.engine.accounts import Accounts, installed_channels
from qiao.engine.ledger import prove
from qiao.engine.merchants import add_merchant, issue_api_key
from qiao.engine.runtime import Engine, Scope
from qiao.simulators.alipay import Simulator, new_credentials
from qiao.store.database import Database
from qiao.transport.asynchronous import AsyncTransport

SCOPE = Scope(merchant_id="mer_00000000000000000000000000", live=False)
ORDER = {
    "order_id": "room-401",
    "amount": 50_000,
    "description": "Deposit",
    "capture": "manual",
    "method": {"channel": "alipay", "product": "qr"},
}


@dataclass(frozen=True, kw_only=True)
class Hotel:
    """A client of the platform, and the guest's wallet."""

    api: httpx.AsyncClient
    simulator: Simulator

    async def until(self, path: str, **wanted: object) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while True:
                shown: dict[str, Any] = (await self.api.get(path)).json()
                if {name: shown[name] for name in wanted} == wanted:
                    return shown
                await asyncio.sleep(0.05)

    async def held(self) -> str:
        """The path of a payment whose amount the guest has let be held."""
        payment = (await self.api.post("/v1/payments", json=ORDER)).json()
        wallet = URL(payment["attempts"][0]["action"]["content"]).path
        async with httpx.AsyncClient(base_url=self.simulator.base_url, trust_env=False) as guest:
            await guest.get(wallet)
            await guest.post(f"{wallet}/approve")
        path = f"/v1/payments/{payment['id']}"
        await self.until(path, state="authorized", authorized=50_000, captured=0)
        return path


@pytest_asyncio.fixture
async def hotel(database: Database) -> AsyncIterator[Hotel]:
    simulator, listener = Simulator(credentials=new_credentials()), listen("127.0.0.1", 0)
    url, seal = f"http://127.0.0.1:{listener.getsockname()[1]}", Seal([Seal.new_key()])
    async with simulator.running(), AsyncTransport() as transport:
        engine = Engine(
            database=database,
            transport=transport,
            accounts=Accounts(database=database, seal=seal, channels=installed_channels()),
            seal=seal,
            public_url=url,
        )
        await add_merchant(engine, "Hotel", merchant_id=SCOPE.merchant_id)
        await engine.accounts.put(
            merchant_id=SCOPE.merchant_id,
            account_id="acc_00000000000000000000000000",
            live=False,
            channel="alipay",
            name="alipay",
            settings=simulator.credentials.settings("ordinary", base_url=simulator.base_url),
        )
        headers = {"authorization": f"Bearer {await issue_api_key(engine, SCOPE)}"}
        async with (
            serving(engine, listener),
            working(engine),
            httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as api,
        ):
            yield Hotel(api=api, simulator=simulator)


async def test_a_part_is_taken_and_given_back(hotel: Hotel, database: Database) -> None:
    path = await hotel.held()
    taken = (await hotel.api.post(f"{path}/capture", json={"amount": 32_000})).json()
    assert (taken["state"], taken["captured"]) == ("paid", 32_000)
    [hold] = hotel.simulator.book.holds.values()
    assert (hold.taken_fen, hold.rest_fen) == (32_000, 0)
    refund = (await hotel.api.post(f"{path}/refunds", json={})).json()
    assert refund["amount"] == 32_000
    await hotel.until(path, refunded=32_000)
    assert not (await prove(database)).mistakes


async def test_all_of_it_is_let_go(hotel: Hotel, database: Database) -> None:
    path = await hotel.held()
    await hotel.api.post(f"{path}/void")
    await hotel.until(path, state="closed")
    [hold] = hotel.simulator.book.holds.values()
    assert (hold.taken_fen, hold.rest_fen) == (0, 0)
    assert (await prove(database)).entries == 0
