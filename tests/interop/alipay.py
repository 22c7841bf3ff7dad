"""What Qiao's own Alipay channel sends, for other people's verifiers to read; and a browser."""

import re
from dataclasses import replace
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest

from qiao.channels.alipay import AlipayChannel, AlipaySettings
from qiao.channels.requests import (
    Context,
    PaymentQuery,
    PaymentRequest,
    Product,
    ProfitSharingQuery,
    ProfitSharingRequest,
    ReceiverRequest,
    RefundQuery,
    RefundRequest,
    Share,
    ShareReturnQuery,
    ShareReturnRequest,
    StatementRequest,
    TransferQuery,
    TransferRequest,
)
from qiao.channels.wire import HttpRequest
from qiao.domain.money import Money
from qiao.domain.outcomes import ClientParameters, Pending, Redirect
from qiao.simulators.alipay import Simulator
from qiao.simulators.alipay.book import BUYER_ID

AMOUNT = Money(1250, "CNY")
AUTH_CODE = "281234567890123456"
WITHOUT_A_REQUEST = (Product.PAGE, Product.H5, Product.APP)
"""Products for which the channel signs what the customer's own device sends."""


def channel_of(simulator: Simulator, app: str) -> AlipayChannel:
    settings = simulator.credentials.settings(app, base_url=simulator.base_url)
    return AlipayChannel(AlipaySettings.read(settings))


def order(
    product: Product, context: Context, number: str = "pay_1", auth_code: str = AUTH_CODE
) -> PaymentRequest:
    return PaymentRequest(
        reference=number,
        amount=AMOUNT,
        product=product,
        description="绿茶 Green tea {250 g}, 'best' & <cheap>",
        notify_url="https://shop.example/notify?a=1&b=2",
        expires_at=context.now() + timedelta(minutes=30),
        return_url="https://shop.example/back?a=1",
        payer=BUYER_ID if product is Product.MINI_PROGRAM else None,
        auth_code=auth_code if product is Product.CODE else None,
    )


def requests_of(channel: AlipayChannel, context: Context) -> list[HttpRequest]:
    """The first request of many operations."""
    query = PaymentQuery(reference="pay_1", amount=AMOUNT)
    products = (Product.QR, Product.CODE, Product.MINI_PROGRAM)
    return [
        *(next(channel.create(order(product, context), context)) for product in products),
        next(channel.query(query, context)),
        next(channel.close(query, context)),
        next(channel.reverse(query, context)),
        *later_requests_of(channel, context, "2026112522001"),
        next(channel.identify("4b203fe6c11548bcabd8da5bb087a83b", context)),
    ]


def later_requests_of(channel: AlipayChannel, context: Context, trade_no: str) -> list[HttpRequest]:
    """What can be asked once ``pay_1`` is paid, and Alipay's number of it known."""
    refund = RefundRequest(
        reference="ref_1",
        payment_reference="pay_1",
        payment_amount=AMOUNT,
        amount=Money(250, "CNY"),
        reason="太凉了",
    )
    question = RefundQuery(reference="ref_1", payment_reference="pay_1", amount=refund.amount)
    transfer = TransferRequest(
        reference="out_1",
        amount=Money(500, "CNY"),
        payee=BUYER_ID,
        payee_name="张三",
        description="thanks",
    )
    sent = TransferQuery(reference="out_1", amount=transfer.amount)
    return [
        next(channel.refund(refund, context)),
        next(channel.query_refund(question, context)),
        next(channel.transfer(transfer, context)),
        next(channel.query_transfer(sent, context)),
        *sharing_requests_of(channel, context, trade_no),
        next(channel.download_statement(StatementRequest(day=context.now().date()), context)),
    ]


def parameters_of(request: HttpRequest) -> dict[str, str]:
    """Query and body together, as Alipay merges them."""
    pairs = parse_qsl(urlsplit(request.url).query) + parse_qsl(request.body.decode())
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def handed_out(channel: AlipayChannel, product: Product, context: Context) -> dict[str, str]:
    """The parameters with which the customer's own device asks."""
    with pytest.raises(StopIteration) as done:  # it asks for nothing
        next(channel.create(order(product, context), context))
    made = done.value.value
    assert isinstance(made, Pending)
    match made.action:
        case Redirect(url=url):
            return dict(parse_qsl(urlsplit(url).query))
        case ClientParameters(parameters=parameters):
            return dict(parse_qsl(parameters["orderString"]))
        case _:
            raise AssertionError(made)


def submit(http: aiohttp.ClientSession, form: str, charset: str = "utf-8") -> Any:
    """What a browser does with the form."""
    action = re.search(r'action="([^"]+)"', form)
    assert action
    inputs = re.findall(r'name="([^"]+)" value="([^"]*)"', form)
    fields = aiohttp.FormData({name: unescape(value) for name, value in inputs}, charset=charset)
    return http.post(action[1].replace("&amp;", "&"), data=fields)


def sharing_requests_of(
    channel: AlipayChannel, context: Context, trade_no: str
) -> list[HttpRequest]:
    """The first request of everything about profit sharing, in an order that it can take."""
    share = Share(
        receiver_type="userId",
        receiver="2088101126765726",
        amount=Money(100, "CNY"),
        description="part",
    )
    sharing = ProfitSharingRequest(
        reference="share_1",
        payment_reference="pay_1",
        payment_channel_reference=trade_no,
        shares=(share,),
        finish=False,
    )
    shared = ProfitSharingQuery(
        reference="share_1",
        payment_reference="pay_1",
        payment_channel_reference=trade_no,
        amount=share.amount,
    )
    back = ShareReturnRequest(
        reference="return_1",
        amount=Money(60, "CNY"),
        sharing_reference="share_1",
        payment_reference="pay_1",
        payment_channel_reference=trade_no,
        share=share,
        description="back",
    )
    returned = ShareReturnQuery(
        reference="return_1",
        amount=back.amount,
        sharing_reference="share_1",
        payment_reference="pay_1",
        payment_channel_reference=trade_no,
        share=share,
    )
    receiver = ReceiverRequest(
        reference="rcv_1", receiver_type="userId", receiver=share.receiver, name="茶园", memo="茶"
    )
    release = replace(sharing, reference="release_1", shares=(), finish=True)
    return [
        next(channel.bind_receiver(receiver, context)),
        next(channel.share_profit(sharing, context)),
        next(channel.query_profit_sharing(shared, context)),
        next(channel.share_profit(release, context)),
        next(channel.return_share(back, context)),
        next(channel.query_share_return(returned, context)),
        next(channel.unbind_receiver(receiver, context)),
    ]
