"""The whole life of a shared payment, against whichever simulator."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import aiohttp

from qiao.channels.interface import Channel
from qiao.channels.requests import (
    Context,
    PaymentRequest,
    Product,
    ProfitSharingQuery,
    ProfitSharingRequest,
    ReceiverRequest,
    RefundRequest,
    Share,
    ShareReturnQuery,
    ShareReturnRequest,
)
from qiao.domain.money import Money
from qiao.domain.outcomes import (
    BindingRefused,
    Bound,
    PartlyShared,
    Refunded,
    RefundPending,
    Succeeded,
    TransferPending,
    Transferred,
    TransferRefused,
    Unbound,
)
from qiao.transport.asynchronous import AsyncTransport

CLOSED_FEN = 40002
"""The amount that does not reach its receiver."""
TOTAL_FEN = 100_000
DONE = (Refunded, RefundPending)


@dataclass(kw_only=True)
class Life:
    """One payment, and two receivers that are bound."""

    channel: Any
    transport: AsyncTransport
    context: Context
    receiver_type: str
    receivers: tuple[str, str]
    paid: Succeeded
    shares: int = 0

    async def run(self, verb: str, asked: object) -> Any:
        return await self.transport.run(getattr(self.channel, verb)(asked, self.context))

    def receiver(self, account: str) -> ReceiverRequest:
        self.shares += 1
        return ReceiverRequest(
            reference=f"rcv{self.shares:06}",
            receiver_type=self.receiver_type,
            receiver=account,
            name="茶园",
            relation="PARTNER",
            memo="茶",
        )

    def share_of(self, account: str, fen: int) -> Share:
        return Share(
            receiver_type=self.receiver_type,
            receiver=account,
            amount=Money(fen, "CNY"),
            description="commission",
        )

    def sharing(
        self, *shares: Share, reference: str = "share_1", finish: bool = False
    ) -> ProfitSharingRequest:
        return ProfitSharingRequest(
            reference=reference,
            payment_reference="pay_000001",
            payment_channel_reference=self.paid.channel_reference,
            shares=shares,
            finish=finish,
        )

    async def told(self, request: ProfitSharingRequest) -> Any:
        return await self.run(
            "query_profit_sharing",
            ProfitSharingQuery(
                reference=request.reference,
                payment_reference=request.payment_reference,
                payment_channel_reference=request.payment_channel_reference,
                amount=sum((one.amount for one in request.shares), Money(0, "CNY")),
                shares=request.shares,
            ),
        )

    async def refund(self, fen: int) -> Any:
        return await self.run(
            "refund",
            RefundRequest(
                reference=f"refund_{fen}",
                payment_reference="pay_000001",
                payment_amount=Money(TOTAL_FEN, "CNY"),
                amount=Money(fen, "CNY"),
            ),
        )


async def begin(
    channel: Channel,
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    order: Callable[..., PaymentRequest],
    context: Context,
    receiver_type: str,
    receivers: tuple[str, str],
) -> Life:
    async with http.post("/_control/auth_codes") as answer:
        code = (await answer.json())["auth_code"]
    paying = order(
        "pay_000001", TOTAL_FEN, product=Product.CODE, auth_code=code, profit_sharing=True
    )
    paid = await transport.run(channel.create(paying, context))
    assert isinstance(paid, Succeeded)
    return Life(
        channel=channel,
        transport=transport,
        context=context,
        receiver_type=receiver_type,
        receivers=receivers,
        paid=paid,
    )


async def live(life: Life) -> None:
    """Bind, share, share in part, take back, release, refund; each told again does no more."""
    first, second = life.receivers
    stranger = life.sharing(life.share_of(first, 100))
    assert isinstance(await life.run("share_profit", stranger), TransferRefused)
    for account in life.receivers:
        for _ in range(2):
            assert await life.run("bind_receiver", life.receiver(account)) == Bound()

    request = life.sharing(life.share_of(first, 500), life.share_of(second, CLOSED_FEN))
    for _ in range(2):
        assert isinstance(await life.run("share_profit", request), TransferPending)
    told = await life.told(request)
    assert isinstance(told, PartlyShared)
    assert (told.amount, [one.arrived for one in told.results]) == (
        Money(500, "CNY"),
        [True, False],
    )
    all_failed = life.sharing(life.share_of(second, CLOSED_FEN), reference="share_2")
    await life.run("share_profit", all_failed)
    assert isinstance(await life.told(all_failed), TransferRefused)
    too_much = life.sharing(life.share_of(first, TOTAL_FEN), reference="share_3")
    assert isinstance(await life.run("share_profit", too_much), TransferRefused)

    back = ShareReturnRequest(
        reference="return_1",
        amount=Money(200, "CNY"),
        sharing_reference="share_1",
        payment_reference="pay_000001",
        payment_channel_reference=life.paid.channel_reference,
        share=request.shares[0],
        description="goods came back",
    )
    done = await life.run("return_share", back)
    assert isinstance(done, Transferred)
    assert done.amount == back.amount
    assert await life.run("return_share", back) == done
    more = replace(back, reference="return_2", amount=Money(301, "CNY"))
    assert isinstance(await life.run("return_share", more), TransferRefused)
    query = ShareReturnQuery(
        reference=back.reference,
        amount=back.amount,
        sharing_reference=back.sharing_reference,
        payment_reference=back.payment_reference,
        payment_channel_reference=back.payment_channel_reference,
        share=back.share,
    )
    assert await life.run("query_share_return", query) == done

    release = life.sharing(reference="release_1", finish=True)
    for _ in range(2):
        outcome = await life.run("share_profit", release)
        assert isinstance(outcome, TransferPending | Transferred)
    assert isinstance(await life.told(release), Transferred)
    late = life.sharing(life.share_of(first, 100), reference="share_4")
    assert isinstance(await life.run("share_profit", late), TransferRefused)
    assert isinstance(await life.refund(TOTAL_FEN - 300), DONE)
    assert await life.run("unbind_receiver", life.receiver(first)) == Unbound()


async def refuse(life: Life) -> None:
    """Who it does not know by its kind is not even sent; a refusal is one."""
    wrong = replace(life.receiver(life.receivers[0]), receiver="x" * 65)
    assert isinstance(await life.run("bind_receiver", wrong), BindingRefused)
