"""The cashier's addresses over HTTP: what a customer meets when things do not go smoothly."""

from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from qiao.channels.interface import Capability
from qiao.domain.errors import InvalidInput
from qiao.engine.closing import close
from qiao.engine.records import Payment
from qiao.testing.bank import DECLINED_CODE, MANIFEST, BankChannel, Fault
from qiao.testing.world import World
from qiao.web.cashier.texts import FAILURES, TEXTS

ENGLISH = {"accept-language": "en"}


def address(base_url: str, payment: Payment) -> str:
    tail = f"{payment.merchant_id}/{payment.payment_id}/{payment.cashier_token}"
    return f"{base_url}/cashier/{tail}"


async def look(url: str) -> httpx.Response:
    async with httpx.AsyncClient(headers=ENGLISH, trust_env=False) as client:
        return await client.get(url)


async def test_a_decline_is_told_with_another_try(world: World, base_url: str) -> None:
    payment = await world.accept()
    await world.attempt(payment, code=DECLINED_CODE)
    shown = (await look(address(base_url, payment))).text
    assert f'role="alert">{FAILURES["failed"]["en"]}' in shown
    assert 'name="method" value="bank:qr"' in shown


async def test_what_was_not_sent_charged_nothing(world: World, base_url: str) -> None:
    payment = await world.accept()
    await world.attempt(payment, Fault.NOT_CONNECTED)
    shown = (await look(address(base_url, payment))).text
    assert FAILURES["not_sent"]["en"] in shown
    assert 'value="bank:qr"' in shown


async def test_a_lost_answer_is_neither_failed_nor_paid(world: World, base_url: str) -> None:
    payment = await world.accept()
    await world.attempt(payment, Fault.ANSWER_LOST)
    shown = (await look(address(base_url, payment))).text
    assert TEXTS["checking"]["en"] in shown
    assert "alert" not in shown
    assert "<button" not in shown
    # The customer got nothing to pay with: the same way again tells the channel the same order.
    again = (await look(address(base_url, payment) + "?choose=1")).text
    assert f'?choose=1">{TEXTS["again"]["en"]}' in shown
    assert 'value="bank:qr"' in again
    async with httpx.AsyncClient(headers=ENGLISH, trust_env=False) as client:
        sent = await client.post(address(base_url, payment) + "/pay", data={"method": "bank:qr"})
        assert "<svg" in (await client.get(base_url + sent.headers["location"])).text
    assert len(world.bank.orders) == 1


async def test_a_choice_that_is_none_leads_back(world: World, base_url: str) -> None:
    payment = await world.accept()
    async with httpx.AsyncClient(headers=ENGLISH, trust_env=False) as client:
        for choice in ("bank:nothing", "bank:app", "nobody:qr", ""):
            sent = await client.post(address(base_url, payment) + "/pay", data={"method": choice})
            assert sent.status_code == 303, choice
            shown = await client.get(base_url + sent.headers["location"])
            assert FAILURES["failed"]["en"] in shown.text, choice
            assert 'value="bank:qr"' in shown.text, choice


async def test_expired_then_closed(world: World, base_url: str) -> None:
    payment = await world.accept()
    await world.engine.database.execute("UPDATE payment SET expires_at = now()")
    url = address(base_url, payment)
    shown = (await look(url)).text
    assert TEXTS["expired"]["en"] in shown
    assert TEXTS["expired_settling"]["en"] in shown
    await close(world.engine, world.scope, payment.payment_id)
    shown = (await look(url)).text
    assert TEXTS["expired_more"]["en"] in shown
    assert " data-live" not in shown


async def test_closed_by_the_merchant_stays_closed(world: World, base_url: str) -> None:
    payment = await world.accept()
    await close(world.engine, world.scope, payment.payment_id)
    world.clock.ahead += timedelta(days=1)
    shown = (await look(address(base_url, payment))).text
    assert TEXTS["closed"]["en"] in shown
    assert TEXTS["expired"]["en"] not in shown


async def test_what_is_to_be_shared_is_paid_where_it_can_be(
    world: World, base_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = await world.accept(profit_sharing=True)
    assert 'value="bank:qr"' in (await look(address(base_url, payment))).text
    plain = replace(MANIFEST, capabilities=MANIFEST.capabilities - {Capability.PROFIT_SHARING})
    monkeypatch.setattr(BankChannel, "manifest", plain)
    assert "bank:qr" not in (await look(address(base_url, payment))).text
    with pytest.raises(InvalidInput) as refused:
        await world.attempt(payment)
    assert refused.value.field == "method.channel"
    assert 'value="bank:qr"' in (await look(address(base_url, await world.accept()))).text


@pytest.mark.parametrize("tail", ["", "/return", "/payer/bank"])
async def test_a_wrong_token_finds_nothing(world: World, base_url: str, tail: str) -> None:
    payment = await world.accept()
    found = await look(address(base_url, payment)[:-1] + "!" + tail)
    assert found.status_code == 404
    assert TEXTS["missing"]["en"] in found.text
    assert payment.order_id not in found.text


async def test_the_stream_is_not_held_back(world: World, base_url: str) -> None:
    payment = await world.accept()
    async with (
        httpx.AsyncClient(trust_env=False) as client,
        client.stream("GET", address(base_url, payment) + "/events") as answer,
    ):
        assert answer.headers["x-accel-buffering"] == "no"
        assert answer.headers["cache-control"].startswith("no-store")
        lines = answer.aiter_lines()
        assert await anext(lines) == "event: version"
