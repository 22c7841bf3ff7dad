"""Profit sharing at the simulated Alipay, by Qiao's channel."""

from collections.abc import Callable
from dataclasses import replace

import aiohttp
import pytest

from qiao.channels.interface import Channel
from qiao.channels.requests import Context, PaymentRequest
from qiao.domain.errors import InvalidInput
from qiao.transport.asynchronous import AsyncTransport
from tests.simulators.sharing import Life, begin, live

RECEIVERS = ("2088102146225136", "2088102146225137")


@pytest.fixture(params=["ordinary", "certificate"])
async def life(
    request: pytest.FixtureRequest,
    open_channel: Callable[[str], Channel],
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    order: Callable[..., PaymentRequest],
    context: Context,
) -> Life:
    channel = open_channel(request.param)
    return await begin(channel, transport, http, order, context, "userId", RECEIVERS)


async def test_its_whole_life(life: Life) -> None:
    await live(life)


async def test_what_is_not_even_asked(life: Life) -> None:
    receiver = life.receiver(RECEIVERS[0])
    for changes, field in [
        ({"receiver_type": "MERCHANT_ID"}, "receiver_type"),
        ({"receiver_type": "loginName", "name": None}, "name"),
        ({"reference": "r" * 33}, "reference"),
    ]:
        with pytest.raises(InvalidInput) as error:
            await life.run("bind_receiver", replace(receiver, **changes))  # type: ignore[arg-type]
        assert error.value.field == field
    with pytest.raises(InvalidInput) as error:
        await life.run("share_profit", life.sharing())
    assert error.value.field == "shares"
