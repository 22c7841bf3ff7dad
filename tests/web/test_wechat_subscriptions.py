"""A subscription at the simulated WeChat Pay (API v2), through the public doors."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest_asyncio

from qiao.engine.ledger import prove
from qiao.engine.subscription_work import work
from qiao.simulators.wechat import Simulator
from qiao.simulators.wechat.book import CHINA, State
from qiao.store.database import Database
from tests.web.live import SCOPE, Live, live


@dataclass(frozen=True, kw_only=True)
class School(Live):
    """A client of the platform, and the pupil's wallet."""

    simulator: Simulator

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
        """The path of a subscription whose first charge is due, and no other for twelve hours."""
        asked = {"agreement_id": agreement["id"], "amount": amount, "description": "Lessons"}
        more["lead_days"] = 1  # it is due today, and so its first try was yesterday
        more["charge_time"] = f"{datetime.now(CHINA) + timedelta(hours=12):%H:%M}"
        answer = await self.api.post("/v1/subscriptions", json={"number": "s", **asked, **more})
        assert answer.status_code == 201, answer.json()
        return f"/v1/subscriptions/{answer.json()['id']}"

    async def attempted(self, path: str, state: str) -> None:
        """Until the one charge of the subscription is known to be in that state."""
        async with asyncio.timeout(30):
            while True:
                periods = (await self.api.get(path)).json()["charged_periods"]
                ids = [one["payment_id"] for one in periods if one["payment_id"] is not None]
                payments = [(await self.api.get(f"/v1/payments/{one}")).json() for one in ids]
                if [one["state"] for payment in payments for one in payment["attempts"]] == [state]:
                    return
                await asyncio.sleep(0.05)


def with_agreements(simulator: Simulator) -> Mapping[str, object]:
    """The ordinary merchant on API v2, with the only signature that agreements have."""
    return simulator.credentials.v2_settings(
        "ordinary",
        base_url=simulator.base_url,
        secure_url=simulator.secure_url,
        sign_type="MD5",
    )


@pytest_asyncio.fixture
async def school(database: Database) -> AsyncIterator[School]:
    async with live(School, database, "wechat", with_agreements) as made:
        yield made


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
    first_on = date.fromisoformat(agreement["first_charge_on"]) - timedelta(days=1)
    first = datetime.combine(first_on, time.fromisoformat(shown["charge_time"]), CHINA)
    tries = [first + timedelta(days=days) for days in shown["retry_days"]]
    expected = next(at for at in tries if at > datetime.now(CHINA))
    assert datetime.fromisoformat(period["next_try_at"]) == expected


async def test_what_is_only_accepted_waits_a_day_and_is_charged_once(school: School) -> None:
    agreement = await school.signed()
    [kept] = school.simulator.book.contracts.values()
    assert kept.signed_at is not None
    kept.signed_at -= timedelta(hours=13)
    path = await school.charged(agreement, 2500)
    await school.attempted(path, "pending")
    [order] = school.simulator.book.orders.values()
    assert order.state is State.ACCEPT
    for _ in range(3):  # whoever looks at it, and however often, waits
        await work(school.engine, SCOPE.merchant_id, path.rpartition("/")[2])
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
