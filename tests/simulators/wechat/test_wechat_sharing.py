"""Profit sharing at the simulated WeChat Pay, by Qiao's channel."""

from collections.abc import Callable
from dataclasses import replace

import aiohttp
import pytest

from qiao.channels.interface import Channel
from qiao.channels.requests import Context, PaymentRequest, ShareReturnRequest
from qiao.domain.errors import InvalidInput
from qiao.domain.money import Money
from qiao.domain.outcomes import RefundRefused, TransferRefused
from qiao.transport.asynchronous import AsyncTransport
from tests.simulators.sharing import TOTAL_FEN, Life, begin, live, refuse

Open = Callable[[str], Channel]
Order = Callable[..., PaymentRequest]
RECEIVERS = ("1900000109", "1900000110")


@pytest.fixture(params=["ordinary", "certificate", "provider"])
async def life(
    request: pytest.FixtureRequest,
    open_channel: Open,
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    order: Order,
    context: Context,
) -> Life:
    channel = open_channel(request.param)
    return await begin(channel, transport, http, order, context, "MERCHANT_ID", RECEIVERS)


async def test_its_whole_life(life: Life) -> None:
    await live(life)


async def test_what_is_refused(life: Life) -> None:
    await refuse(life)
    first, second = RECEIVERS
    receiver = life.receiver(first)
    for changes, field in [
        ({"receiver_type": "userId"}, "receiver_type"),
        ({"relation": "FRIEND"}, "relation"),
        ({"relation": "CUSTOM", "memo": None}, "memo"),
        ({"name": None}, "name"),
    ]:
        with pytest.raises(InvalidInput) as error:
            await life.run("bind_receiver", replace(receiver, **changes))  # type: ignore[arg-type]
        assert error.value.field == field
    with pytest.raises(InvalidInput) as error:
        await life.run("share_profit", life.sharing())
    assert error.value.field == "shares"
    person = replace(life.share_of(second, 100), receiver_type="PERSONAL_OPENID")
    back = ShareReturnRequest(
        reference="return_1",
        amount=Money(100, "CNY"),
        sharing_reference="share_1",
        payment_reference="pay_000001",
        payment_channel_reference=life.paid.channel_reference,
        share=person,
        description="back",
    )
    with pytest.raises(InvalidInput) as error:
        await life.run("return_share", back)
    assert error.value.field == "line"


async def test_what_is_shared_is_not_refunded_before_the_rest_is_released(life: Life) -> None:
    first, _ = RECEIVERS
    await life.run("bind_receiver", life.receiver(first))
    shared = life.sharing(life.share_of(first, 500))
    await life.run("share_profit", shared)
    assert isinstance(await life.refund(TOTAL_FEN - 499), RefundRefused)


async def test_an_order_that_was_not_made_for_it_is_not_shared(
    open_channel: Open,
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    order: Order,
    context: Context,
) -> None:
    def plain(*given: object, profit_sharing: bool, **more: object) -> PaymentRequest:
        return order(*given, **more)

    life = await begin(
        open_channel("ordinary"), transport, http, plain, context, "MERCHANT_ID", RECEIVERS
    )
    await life.run("bind_receiver", life.receiver(RECEIVERS[0]))
    refused = await life.run("share_profit", life.sharing(life.share_of(RECEIVERS[0], 100)))
    assert isinstance(refused, TransferRefused)
    assert refused.code == "payment_not_shareable"
