"""What Qiao's own WeChat Pay channel sends, for other people's verifiers to read."""

from dataclasses import replace
from datetime import date, timedelta

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
from qiao.channels.wechat import WechatChannel, WechatSettings
from qiao.channels.wire import HttpRequest
from qiao.domain.money import Money
from qiao.simulators.wechat import Simulator
from qiao.simulators.wechat.book import OPENID

NOTIFY_URL = "https://shop.example/notify"


def order(product: Product, context: Context) -> PaymentRequest:
    return PaymentRequest(
        reference="pay_000001",
        amount=Money(1250, "CNY"),
        product=product,
        description="绿茶 Green tea {250 g}, 'best' & <cheap>",
        notify_url=NOTIFY_URL,
        expires_at=context.now() + timedelta(minutes=30),
        return_url="https://shop.example/back?a=1",
        payer=OPENID,
        auth_code="134567890123456789" if product is Product.CODE else None,
        client_ip="203.0.113.7",
    )


def channel_of(simulator: Simulator, name: str) -> WechatChannel:
    settings = simulator.credentials.settings(name, base_url=simulator.base_url)
    return WechatChannel(WechatSettings.read(settings))


def requests_of(channel: WechatChannel, context: Context) -> list[HttpRequest]:
    """The first request of many operations."""
    amount = Money(1250, "CNY")
    query = PaymentQuery(reference="pay_000001", amount=amount)
    refund = RefundRequest(
        reference="ref_000001",
        payment_reference="pay_000001",
        payment_amount=amount,
        amount=Money(250, "CNY"),
        notify_url=NOTIFY_URL,
        reason="太凉了",
    )
    question = RefundQuery(
        reference="ref_000001", payment_reference="pay_000001", amount=refund.amount
    )
    bill = StatementRequest(day=date(2026, 11, 25))
    transfer = TransferRequest(
        reference="out0001",
        amount=Money(500, "CNY"),
        payee=OPENID,
        description="thanks",
        notify_url=NOTIFY_URL,
    )
    sent = TransferQuery(reference="out0001", amount=transfer.amount)
    return [
        *(
            next(channel.create(order(product, context), context))
            for product in Product
            if product not in (Product.PAGE, Product.AGREEMENT)
        ),
        next(channel.query(query, context)),
        next(channel.close(query, context)),
        next(channel.reverse(query, context)),
        next(channel.refund(refund, context)),
        next(channel.query_refund(question, context)),
        next(channel.download_statement(bill, context)),
        next(channel.download_fund_flow(bill, context)),
        *sharing_requests_of(channel, context),
        next(channel.transfer(transfer, context)),
        next(channel.query_transfer(sent, context)),
    ]


def sharing_requests_of(channel: WechatChannel, context: Context) -> list[HttpRequest]:
    """The first request of everything about profit sharing."""
    share = Share(
        receiver_type="MERCHANT_ID",
        receiver="1900000109",
        amount=Money(100, "CNY"),
        description="part",
    )
    sharing = ProfitSharingRequest(
        reference="share_1",
        payment_reference="pay_000001",
        payment_channel_reference="4200000001",
        shares=(share,),
    )
    shared = ProfitSharingQuery(
        reference="share_1",
        payment_reference="pay_000001",
        payment_channel_reference="4200000001",
        amount=share.amount,
    )
    back = ShareReturnRequest(
        reference="return_1",
        amount=share.amount,
        sharing_reference="share_1",
        payment_reference="pay_000001",
        payment_channel_reference="4200000001",
        share=share,
        description="back",
    )
    returned = ShareReturnQuery(
        reference="return_1",
        amount=share.amount,
        sharing_reference="share_1",
        payment_reference="pay_000001",
        payment_channel_reference="4200000001",
        share=share,
    )
    receiver = ReceiverRequest(
        reference="rcv_1", receiver_type="PERSONAL_OPENID", receiver=OPENID, relation="PARTNER"
    )
    return [
        next(channel.share_profit(sharing, context)),
        next(channel.query_profit_sharing(shared, context)),
        next(channel.share_profit(replace(sharing, shares=()), context)),
        next(channel.return_share(back, context)),
        next(channel.query_share_return(returned, context)),
        next(channel.bind_receiver(receiver, context)),
        next(channel.unbind_receiver(receiver, context)),
    ]
