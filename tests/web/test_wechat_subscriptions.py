"""A subscription at the simulated WeChat Pay (API v2), through the public doors."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest_asyncio

from qiao.bootstrap.serving import listen, serving, working
from qiao.crypto.sealing import Seal
from qiao.engine.accounts import Accounts, installed_channels
from qiao.engine.ledger import prove
from qiao.engine.merchants import add_merchant, issue_api_key
from qiao.engine.runtime import Engine, Scope
from qiao.engine.subscriptions import DEFAULT_TIME
from qiao.simulators.wechat import Simulator, new_credentials
from qiao.simulators.wechat.book import CHINA, State
from qiao.store.database import Database
from qiao.transport.asynchronous import AsyncTransport

SCOPE = Scope(merchant_id="mer_00000000000000000000000000", live=False)


@dataclass(frozen=True, kw_only=True)
class School:
    """A client of the platform, and the pupil's wallet."""

    api: httpx.AsyncClient
    wallet: httpx.AsyncClient
    simulator: Simulator

    async def until(self, path: str, **wanted: object) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while True:
                shown: dict[str, Any] = (await self.api.get(path)).json()
                if {name: shown[name] for name in wanted} == wanted:
                    return shown
                await asyncio.sleep(0.05)

    async def signed(self) -> dict[str, Any]:
        """An agreement that the pupil has signed inside WeChat."""
        answer = await self.api.post(
            "/v1/agreements",
            json={
                "number": "pupil-1",
                "channel": "wechat",
                "product": "official_account",
                "plan": "12535",
                "max_amount": 100_000,
                "period": {"unit": "month", "count": 1},
                "first_charge_on": datetime.now(CHINA).date().isoformat(),
                "display_name": "pupil 1",
            },
        )
        made = answer.json()
        assert answer.status_code == 201, made
        asked = urlsplit(made["action"]["url"])
        page = await self.wallet.get(f"{asked.path}?{asked.query}", follow_redirects=True)
        await self.wallet.post(f"{page.url}/approve")
        return await self.until(f"/v1/agreements/{made['id']}", state="active")

    async def charged(self, agreement: dict[str, Any], amount: int, **more: object) -> str:
        """The path of a subscription whose first charge is due."""
        asked = {"agreement_id": agreement["id"], "amount": amount, "description": "Lessons"}
        more["lead_days"] = 1  # it is due today, whatever the hour
        answer = await self.api.post("/v1/subscriptions", json={"number": "s", **asked, **more})
        assert answer.status_code == 201, answer.json()
        return f"/v1/subscriptions/{answer.json()['id']}"


@pytest_asyncio.fixture
async def school(database: Database) -> AsyncIterator[School]:
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
        await add_merchant(engine, "School", merchant_id=SCOPE.merchant_id)
        await engine.accounts.put(
            merchant_id=SCOPE.merchant_id,
            account_id="acc_00000000000000000000000000",
            live=False,
            channel="wechat",
            name="wechat",
            settings=simulator.credentials.v2_settings(
                "ordinary",
                base_url=simulator.base_url,
                secure_url=simulator.secure_url,
                sign_type="MD5",
            ),
        )
        headers = {"authorization": f"Bearer {await issue_api_key(engine, SCOPE)}"}
        async with (
            serving(engine, listener),
            working(engine),
            httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as api,
            httpx.AsyncClient(base_url=simulator.base_url, trust_env=False) as wallet,
        ):
            yield School(api=api, wallet=wallet, simulator=simulator)


async def test_signed_charged_refunded_and_ended_in_the_wallet(
    school: School, database: Database
) -> None:
    agreement = await school.signed()
    path = await school.charged(agreement, 2500)
    shown = await school.until(path, next_period=2)
    [period] = shown["charged_periods"]
    assert (period["state"], shown["lead_days"]) == ("paid", 1)
    [kept] = school.simulator.book.contracts.values()
    assert kept.contract_id == agreement["channel_reference"]
    [order] = school.simulator.book.orders.values()
    assert (order.trade_type, order.fen) == ("PAP", 2500)
    refunds = f"/v1/payments/{period['payment_id']}/refunds"
    assert (await school.api.post(refunds, json={"amount": 500})).json()["amount"] == 500

    await school.wallet.post(f"/wallet/contract/{kept.token}/end")
    await school.until(f"/v1/agreements/{agreement['id']}", state="ended")
    await school.until(path, state="cancelled", reason="agreement_ended")
    assert not (await prove(database)).mistakes


async def test_ended_by_the_merchant_it_ends_at_the_channel(school: School) -> None:
    agreement = await school.signed()
    answer = await school.api.post(f"/v1/agreements/{agreement['id']}/end")
    assert answer.status_code < 300, answer.json()
    await school.until(f"/v1/agreements/{agreement['id']}", state="ended")
    [kept] = school.simulator.book.contracts.values()
    assert (kept.open, kept.ended_by) == (False, "3")


async def test_without_money_it_is_tried_again_on_its_days(school: School) -> None:
    agreement = await school.signed()
    path = await school.charged(agreement, 40_001)  # the scenario: not enough money
    shown = await school.until(path, state="past_due")
    [period] = shown["charged_periods"]
    assert (period["state"], period["code"]) == ("open", "insufficient_funds")
    # It is due today, and so the first try was due yesterday: the days count from there.
    now = datetime.now(CHINA)
    first = datetime.combine(now.date() - timedelta(days=1), DEFAULT_TIME, CHINA)
    tries = [first + timedelta(days=days) for days in shown["retry_days"]]
    assert datetime.fromisoformat(period["next_try_at"]) == next(at for at in tries if at > now)


async def test_what_is_only_accepted_waits_a_day_and_is_charged_once(school: School) -> None:
    agreement = await school.signed()
    [kept] = school.simulator.book.contracts.values()
    assert kept.signed_at is not None
    kept.signed_at -= timedelta(hours=13)
    path = await school.charged(agreement, 2500)
    async with asyncio.timeout(30):
        while not school.simulator.book.orders:
            await asyncio.sleep(0.05)
    [order] = school.simulator.book.orders.values()
    assert order.state is State.ACCEPT
    await asyncio.sleep(2)
    shown = await school.until(path, state="active", next_period=1)
    assert [period["state"] for period in shown["charged_periods"]] == ["open"]
    school.simulator.pay(order)
    await school.until(path, next_period=2)
    assert len(school.simulator.book.orders) == 1


async def test_a_lost_answer_is_asked_about_and_never_charged_twice(school: School) -> None:
    agreement = await school.signed()
    path = await school.charged(agreement, 50_001)  # the scenario: charged, and the answer lost
    shown = await school.until(path, next_period=2)
    [period] = shown["charged_periods"]
    assert period["state"] == "paid"
    [order] = school.simulator.book.orders.values()
    assert order.state is State.SUCCESS
