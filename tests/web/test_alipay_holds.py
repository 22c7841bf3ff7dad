"""A deposit at the simulated Alipay, through the public doors: held, taken in part, given back."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest_asyncio
from yarl import URL

from qiao.engine.ledger import prove
from qiao.simulators.alipay import Simulator
from qiao.store.database import Database
from tests.web.live import Live, live

ORDER = {
    "order_id": "room-401",
    "amount": 50_000,
    "description": "Deposit",
    "capture": "manual",
    "method": {"channel": "alipay", "product": "qr"},
}


@dataclass(frozen=True, kw_only=True)
class Hotel(Live):
    """A client of the platform, and the guest's wallet."""

    simulator: Simulator

    async def held(self) -> str:
        """The path of a payment whose amount the guest has let be held."""
        payment = (await self.api.post("/v1/payments", json=ORDER)).json()
        wallet = URL(payment["attempts"][0]["action"]["content"]).path
        await self.wallet.get(wallet)
        await self.wallet.post(f"{wallet}/approve")
        path = f"/v1/payments/{payment['id']}"
        await self.until(path, state="authorized", authorized=50_000, captured=0)
        return path


@pytest_asyncio.fixture
async def hotel(database: Database) -> AsyncIterator[Hotel]:
    async with live(Hotel, database, "alipay") as made:
        yield made


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
