"""Authorizations at the simulated Alipay: held, taken in part, let go, by Qiao's own channel."""

from collections.abc import Callable
from typing import Any, cast

import aiohttp
import pytest
from yarl import URL

from qiao.channels.interface import Channel, PaymentNotification, SeparateCapture
from qiao.channels.requests import (
    AuthorizationQuery,
    CaptureQuery,
    CaptureRequest,
    Context,
    PaymentQuery,
    PaymentRequest,
    Product,
    RefundRequest,
)
from qiao.channels.wire import HttpMessage
from qiao.domain.money import Money
from qiao.domain.outcomes import (
    Authorized,
    AwaitCustomer,
    Closed,
    Declined,
    NotFound,
    Pending,
    QrCode,
    Refunded,
    Succeeded,
)
from qiao.simulators.alipay import Simulator
from qiao.transport.asynchronous import AsyncTransport

HELD = AuthorizationQuery(reference="att0001", amount=Money(1250, "CNY"))


@pytest.fixture
def holds(channel: Channel) -> SeparateCapture:
    return cast("SeparateCapture", channel)


async def freeze(
    transport: AsyncTransport,
    holds: SeparateCapture,
    order: Callable[..., PaymentRequest],
    http: aiohttp.ClientSession,
    context: Context,
) -> Any:
    async with http.post("/_control/auth_codes") as answer:
        code = (await answer.json())["auth_code"]
    request = order("att0001", product=Product.CODE, auth_code=code)
    return await transport.run(holds.authorize(request, context))


def taking(minor: int, reference: str = "cap0001") -> CaptureRequest:
    return CaptureRequest(
        reference=reference,
        amount=Money(minor, "CNY"),
        authorization=HELD,
        description="Green tea",
        notify_url="http://127.0.0.1:9/notify",
    )


async def test_a_part_is_taken_and_the_rest_let_go(
    transport: AsyncTransport,
    holds: SeparateCapture,
    channel: Channel,
    order: Callable[..., PaymentRequest],
    http: aiohttp.ClientSession,
    context: Context,
    simulator: Simulator,
) -> None:
    held = await freeze(transport, holds, order, http, context)
    assert isinstance(held, Authorized)
    assert held.amount == Money(1250, "CNY")
    asked = await transport.run(holds.query_authorization(HELD, context))
    assert asked == held
    payment = PaymentQuery(reference="att0001", amount=HELD.amount)
    assert await transport.run(channel.query(payment, context)) == NotFound()  # it is no trade
    for _ in range(2):  # told twice it is taken once
        taken = await transport.run(holds.capture(taking(700), context))
        assert isinstance(taken, Succeeded)
        assert taken.amount == Money(700, "CNY")
    query = CaptureQuery(reference="cap0001", amount=Money(700, "CNY"), authorization=HELD)
    assert isinstance(await transport.run(holds.query_capture(query, context)), Succeeded)
    [hold] = simulator.book.holds.values()
    assert (hold.taken_fen, hold.rest_fen) == (700, 0)
    assert isinstance(await transport.run(holds.query_authorization(HELD, context)), Closed)
    again = await transport.run(holds.capture(taking(100, "cap0002"), context))
    assert isinstance(again, Declined)
    refund = RefundRequest(
        reference="ref0001",
        payment_reference="cap0001",
        payment_amount=Money(700, "CNY"),
        amount=Money(700, "CNY"),
    )
    assert isinstance(await transport.run(channel.refund(refund, context)), Refunded)


async def test_all_of_it_is_let_go(
    transport: AsyncTransport,
    holds: SeparateCapture,
    order: Callable[..., PaymentRequest],
    http: aiohttp.ClientSession,
    context: Context,
) -> None:
    await freeze(transport, holds, order, http, context)
    for _ in range(2):
        assert isinstance(await transport.run(holds.void(HELD, context)), Closed)
    assert isinstance(await transport.run(holds.query_authorization(HELD, context)), Closed)
    refused = await transport.run(holds.capture(taking(1), context))
    assert isinstance(refused, Declined)


async def test_a_customer_scans_and_agrees(
    transport: AsyncTransport,
    holds: SeparateCapture,
    channel: Channel,
    order: Callable[..., PaymentRequest],
    http: aiohttp.ClientSession,
    context: Context,
    simulator: Simulator,
) -> None:
    pending = await transport.run(holds.authorize(order("att0001"), context))
    assert isinstance(pending, Pending)
    assert isinstance(pending.action, QrCode)
    assert await transport.run(holds.query_authorization(HELD, context)) == NotFound()
    wallet = URL(pending.action.content).path
    (await http.get(wallet)).close()
    opened = await transport.run(holds.query_authorization(HELD, context))
    assert isinstance(opened, Pending)
    assert opened.action == AwaitCustomer()
    (await http.post(f"{wallet}/approve")).close()
    held = await transport.run(holds.query_authorization(HELD, context))
    assert isinstance(held, Authorized)
    [hold] = simulator.book.holds.values()
    app = simulator.app(hold.app_id)
    body = simulator.codec.form(app, simulator._fields(hold, None))
    told = channel.authenticate(
        HttpMessage(method="POST", target="/", headers={}, body=body), context
    )
    assert isinstance(told, PaymentNotification)
    assert (told.reference, told.outcome) == ("att0001", held)


async def test_an_unfinished_one_is_given_up(
    transport: AsyncTransport,
    holds: SeparateCapture,
    order: Callable[..., PaymentRequest],
    http: aiohttp.ClientSession,
    context: Context,
) -> None:
    pending = await transport.run(holds.authorize(order("att0001"), context))
    assert isinstance(pending, Pending)
    assert isinstance(pending.action, QrCode)
    wallet = URL(pending.action.content).path
    (await http.get(wallet)).close()
    assert isinstance(await transport.run(holds.void(HELD, context)), Closed)
    (await http.post(f"{wallet}/approve")).close()
    assert isinstance(await transport.run(holds.query_authorization(HELD, context)), Closed)


async def test_more_than_is_held_is_never_taken(
    transport: AsyncTransport,
    holds: SeparateCapture,
    order: Callable[..., PaymentRequest],
    http: aiohttp.ClientSession,
    context: Context,
) -> None:
    await freeze(transport, holds, order, http, context)
    refused = await transport.run(holds.capture(taking(1251), context))
    assert isinstance(refused, Declined)
    assert isinstance(await transport.run(holds.query_authorization(HELD, context)), Authorized)
