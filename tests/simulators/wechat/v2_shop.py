"""What tests of the simulated API v2 share: a shop, and questions about its orders."""

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
from aiohttp import web

from qiao.channels.requests import PaymentQuery, PaymentRequest, RefundQuery, RefundRequest
from qiao.channels.wechat import WechatV2Channel
from qiao.channels.wire import HttpMessage, Operation
from qiao.domain.money import Money
from qiao.domain.outcomes import AwaitCustomer, Pending, RefundPending
from qiao.transport.asynchronous import AsyncTransport

Order = Callable[..., PaymentRequest]
OpenV2 = Callable[..., WechatV2Channel]
SIGN_TYPES = ["MD5", "HMAC-SHA256"]


class Shop:
    """Where notifications arrive; answered as the channel says, or refused."""

    def __init__(self, channel: WechatV2Channel) -> None:
        self.channel, self.accepting, self.url = channel, True, ""
        self.messages: list[HttpMessage] = []

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = await request.read()
        self.messages.append(HttpMessage(method="POST", target="/", headers=headers, body=body))
        reply = self.channel.acknowledge(accepted=self.accepting)
        return web.Response(status=reply.status, body=reply.body)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.messages) < count:
                await asyncio.sleep(0.01)


def asked(request: PaymentRequest) -> PaymentQuery:
    return PaymentQuery(reference=request.reference, amount=request.amount)


def back(request: PaymentRequest, number: str, minor: int, url: str | None = None) -> RefundRequest:
    return RefundRequest(
        reference=number,
        payment_reference=request.reference,
        payment_amount=request.amount,
        amount=Money(minor, "CNY"),
        notify_url=url,
        reason="售罄",
    )


def about(refund: RefundRequest) -> RefundQuery:
    return RefundQuery(
        reference=refund.reference,
        payment_reference=refund.payment_reference,
        amount=refund.amount,
    )


async def approve(http: aiohttp.ClientSession, reference: str) -> int:
    async with http.post(f"/_control/payments/{reference}/approve") as answer:
        return answer.status


async def new_code(http: aiohttp.ClientSession) -> str:
    async with http.post("/_control/auth_codes") as answer:
        code: str = (await answer.json())["auth_code"]
        return code


async def settled(transport: AsyncTransport, ask: Callable[[], Operation[Any]]) -> Any:
    """What it comes to when it is no longer pending."""
    async with asyncio.timeout(10):
        found: Any = Pending(action=AwaitCustomer())
        while isinstance(found, Pending | RefundPending):
            found = await transport.run(ask())
    return found
