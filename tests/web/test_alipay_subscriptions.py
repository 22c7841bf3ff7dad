"""A subscription at the simulated Alipay, through the public doors: signed, charged, ended."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest_asyncio
from yarl import URL

from qiao.engine.ledger import prove
from qiao.simulators.alipay import Simulator
from qiao.simulators.alipay.codec import CHINA
from qiao.store.database import Database
from tests.web.live import Live, live


@dataclass(frozen=True, kw_only=True)
class School(Live):
    """A client of the platform, and the pupil's wallet."""

    simulator: Simulator

    async def signed(self, *, due_in_days: int = 1) -> dict[str, Any]:
        """An agreement that the pupil has signed in the wallet.

        Alipay takes a charge until the day on which it is due: tomorrow is not over at midnight.
        """
        first = datetime.now(CHINA).date() + timedelta(days=due_in_days)
        answer = await self.api.post(
            "/v1/agreements",
            json={
                "number": "pupil-1",
                "channel": "alipay",
                "plan": "INDUSTRY|EDU",
                "max_amount": 100_000,
                "period": {"unit": "day", "count": 30},
                "first_charge_on": first.isoformat(),
                "display_name": "pupil 1",
            },
        )
        made = answer.json()
        assert answer.status_code == 201, made
        page = URL(made["action"]["content"], encoded=True)
        shown = await self.wallet.get(str(page), follow_redirects=True)
        await self.wallet.post(f"{shown.url}/approve")
        return await self.until(f"/v1/agreements/{made['id']}", state="active")

    async def charged(self, agreement: dict[str, Any], amount: int, **more: object) -> str:
        """The path of a subscription whose first charge is due."""
        asked = {"agreement_id": agreement["id"], "amount": amount, "description": "Lessons"}
        answer = await self.api.post("/v1/subscriptions", json={"number": "s", **asked, **more})
        assert answer.status_code == 201, answer.json()
        return f"/v1/subscriptions/{answer.json()['id']}"


@pytest_asyncio.fixture
async def school(database: Database) -> AsyncIterator[School]:
    async with live(School, database, "alipay") as made:
        yield made


async def test_signed_charged_refunded_and_ended_in_the_wallet(
    school: School, database: Database
) -> None:
    agreement = await school.signed()
    path = await school.charged(agreement, 2500)
    shown = await school.until(path, next_period=2)
    [period] = shown["charged_periods"]
    assert (period["state"], shown["lead_days"]) == ("paid", 5)
    [kept] = school.simulator.book.agreements.values()
    assert (kept.charges, kept.agreement_no) == (1, agreement["channel_reference"])
    refunds = f"/v1/payments/{period['payment_id']}/refunds"
    assert (await school.api.post(refunds, json={"amount": 500})).json()["amount"] == 500

    await school.wallet.post(f"/wallet/agreement/{kept.token}/end")
    await school.until(f"/v1/agreements/{agreement['id']}", state="ended")
    await school.until(path, state="cancelled", reason="agreement_ended")
    assert not (await prove(database)).mistakes


async def test_without_money_it_is_tried_again_on_its_days(school: School) -> None:
    agreement = await school.signed(due_in_days=2)
    path = await school.charged(agreement, 40_001)  # the scenario: not enough money
    shown = await school.until(path, state="past_due")
    [period] = shown["charged_periods"]
    assert (period["state"], period["code"]) == ("open", "insufficient_funds")
    # Alipay takes it until the day on which it is due, and not later.
    last = datetime.fromisoformat(period["next_try_at"]).astimezone(CHINA).date()
    assert last.isoformat() <= agreement["first_charge_on"]


async def test_a_lost_answer_is_asked_about_and_never_charged_twice(school: School) -> None:
    agreement = await school.signed()
    path = await school.charged(agreement, 50_001)  # the scenario: charged, and the answer lost
    shown = await school.until(path, next_period=2)
    [period] = shown["charged_periods"]
    assert period["state"] == "paid"
    [trade] = school.simulator.book.trades.values()
    assert trade.fen == 50_001
    [kept] = school.simulator.book.agreements.values()
    assert kept.charges == 1


async def test_ended_by_the_merchant(school: School) -> None:
    agreement = await school.signed()
    await school.api.post(f"/v1/agreements/{agreement['id']}/end")
    await school.until(f"/v1/agreements/{agreement['id']}", state="ended")
    [kept] = school.simulator.book.agreements.values()
    assert kept.status == "UNSIGN"
