"""One WeChat Pay account on API v2: its manifest, and each verb handed to its own file."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from qiao.channels.interface import Capability, Notification, StatementEntry
from qiao.channels.requests import (
    Context,
    PaymentQuery,
    PaymentRequest,
    RefundQuery,
    RefundRequest,
    StatementRequest,
)
from qiao.channels.wechat import channel as v3
from qiao.channels.wechat import oauth
from qiao.channels.wechat.settings import WechatV2Settings
from qiao.channels.wechat.statements import parse_statement
from qiao.channels.wechat.v2 import notifications, payments, products, refunds, statements
from qiao.channels.wechat.v2.account import Account
from qiao.channels.wechat.v2.gateway import Gateway
from qiao.channels.wire import HttpMessage, HttpReply, Operation
from qiao.domain.outcomes import PaymentOutcome, RefundOutcome

MANIFEST: Final = replace(
    v3.MANIFEST,
    products=frozenset(products.TRADE_TYPES),
    capabilities=frozenset(
        {Capability.CODE_REVERSAL, Capability.PAYER_IDENTITY, Capability.STATEMENTS}
    ),
    documentation_url="https://pay.weixin.qq.com/doc/v2/merchant/4011935214",
)
"""Narrower than the channel's: what an account on API v2 can do.

Its transfers (/mmpaymkttransfers/…) are closed to merchants who did not have them before, and its
profit sharing (/secapi/pay/profitsharing) is left to API v3, which takes the same payments.
"""


class WechatV2Channel:
    """The verbs of :class:`qiao.channels.interface.Channel` and of every capability declared.

    Raises InvalidSettings when the settings do not go together.
    """

    manifest = MANIFEST

    def __init__(self, settings: WechatV2Settings) -> None:
        self._gateway = Gateway(account=Account.load(settings))

    def create(self, request: PaymentRequest, context: Context) -> Operation[PaymentOutcome]:
        """Ask for a payment; see :func:`.products.create_payment`."""
        return products.create_payment(self._gateway, request, context)

    def query(self, query: PaymentQuery, context: Context) -> Operation[PaymentOutcome]:
        """Ask for the order's state; see :func:`.payments.query_payment`."""
        return payments.query_payment(self._gateway, query, context)

    def close(self, query: PaymentQuery, context: Context) -> Operation[PaymentOutcome]:
        """Close the order; see :func:`.payments.close_payment`."""
        return payments.close_payment(self._gateway, query, context)

    def reverse(self, query: PaymentQuery, context: Context) -> Operation[PaymentOutcome]:
        """Take a code payment back; see :func:`.payments.reverse_payment`."""
        return payments.reverse_payment(self._gateway, query, context)

    def refund(self, request: RefundRequest, context: Context) -> Operation[RefundOutcome]:
        """Give money back; see :func:`.refunds.refund_payment`."""
        return refunds.refund_payment(self._gateway, request, context)

    def query_refund(self, query: RefundQuery, context: Context) -> Operation[RefundOutcome]:
        """Ask for a refund; see :func:`.refunds.query_refund`."""
        return refunds.query_refund(self._gateway, query, context)

    def authenticate(self, message: HttpMessage, context: Context) -> Notification:
        """Prove and read a notification; see :func:`.notifications.authenticate`."""
        return notifications.authenticate(self._gateway.account, message)

    def acknowledge(self, *, accepted: bool) -> HttpReply:
        """SUCCESS or FAIL, as XML."""
        return notifications.acknowledge(accepted=accepted)

    def authorization_url(self, *, redirect_url: str, state: str) -> str:
        """Where the payer's browser goes for a code, on either version of the API."""
        settings = self._gateway.account.settings
        return oauth.authorization_url(settings, redirect_url=redirect_url, state=state)

    def identify(self, code: str, context: Context) -> Operation[str | None]:
        """The payer's id for the code, on either version of the API."""
        return oauth.identify_payer(self._gateway.account.settings, code)

    def download_statement(
        self, request: StatementRequest, context: Context
    ) -> Operation[bytes | None]:
        """The day's trade bill; see :func:`.statements.download_statement`."""
        return statements.download_statement(self._gateway, request, context)

    def parse_statement(self, statement: bytes) -> Sequence[StatementEntry]:
        """Read the bill, whose columns are API v3's."""
        return parse_statement(statement)
