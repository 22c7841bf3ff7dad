"""One WeChat Pay account on API v2: its manifest, and each verb handed to its own file."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from qiao.channels.interface import Capability, Notification, StatementEntry
from qiao.channels.requests import (
    AgreementCharge,
    AgreementQuery,
    AgreementRequest,
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
from qiao.channels.wechat.v2 import (
    agreements,
    notifications,
    payments,
    products,
    refunds,
    statements,
)
from qiao.channels.wechat.v2.account import Account
from qiao.channels.wechat.v2.gateway import Gateway
from qiao.channels.wire import HttpMessage, HttpReply, Operation
from qiao.crypto.keyed_digest import KeyedDigest
from qiao.domain.outcomes import AgreementOutcome, PaymentOutcome, RefundOutcome

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


MANIFEST_WITH_AGREEMENTS: Final = replace(
    MANIFEST,
    capabilities=MANIFEST.capabilities | {Capability.AGREEMENTS},
    agreement_products=agreements.PRODUCTS,
)
"""Of a merchant on MD5: the documentation of 委托代扣 knows no other signature. Service providers'
addresses (/papay/partner/…) are not there."""


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


class WechatV2AgreementsChannel(WechatV2Channel):
    """The same, and agreements (委托代扣); see ``MANIFEST_WITH_AGREEMENTS``."""

    manifest = MANIFEST_WITH_AGREEMENTS

    def sign(self, request: AgreementRequest, context: Context) -> Operation[AgreementOutcome]:
        """Where the customer signs; see :func:`.agreements.sign`."""
        return agreements.sign(self._gateway, request, context)

    def query_agreement(
        self, query: AgreementQuery, context: Context
    ) -> Operation[AgreementOutcome]:
        """Ask whether it is signed; see :func:`.agreements.query_agreement`."""
        return agreements.query_agreement(self._gateway, query, context)

    def end_agreement(self, query: AgreementQuery, context: Context) -> Operation[AgreementOutcome]:
        """End it; see :func:`.agreements.end_agreement`."""
        return agreements.end_agreement(self._gateway, query, context)

    def charge(self, request: AgreementCharge, context: Context) -> Operation[PaymentOutcome]:
        """Take money by it; see :func:`.agreements.charge`."""
        return agreements.charge(self._gateway, request, context)


def open_channel(settings: WechatV2Settings) -> WechatV2Channel:
    """The channel of one account, with agreements where its merchant can have them."""
    can_have_them = settings.sign_type is KeyedDigest.MD5 and settings.sub_mchid is None
    return (WechatV2AgreementsChannel if can_have_them else WechatV2Channel)(settings)
