"""Orders, refunds, transfers and sharings as WeChat Pay keeps them. Amounts are fen; no I/O."""

import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from qiao.simulators.kit.scenarios import Scenario, scenario_of
from qiao.simulators.wechat.codec import Refusal

if TYPE_CHECKING:
    from qiao.simulators.wechat.complaints import Complaint

CHINA: Final = timezone(timedelta(hours=8))
NUMBER: Final = re.compile(r"[0-9A-Za-z_\-|*]{6,32}", re.ASCII)
MAX_FEN: Final = 10_000_000_000
OPENID: Final = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"


class State(StrEnum):
    """A refunded order stays REFUND, even when only a part went back. The last two are of charges
    by a contract alone: accepted and not charged yet, and failed."""

    NOTPAY = "NOTPAY"
    USERPAYING = "USERPAYING"
    SUCCESS = "SUCCESS"
    REFUND = "REFUND"
    CLOSED = "CLOSED"
    REVOKED = "REVOKED"
    PAYERROR = "PAYERROR"
    ACCEPT = "ACCEPT"
    PAY_FAIL = "PAY_FAIL"


@dataclass(kw_only=True)
class Refund:
    """One refund of an order; not ``done`` while it is processed."""

    out_refund_no: str
    refund_id: str
    fen: int
    at: datetime
    notify_url: str | None
    done: bool = True
    v2: bool = False
    """Whether it was asked for on API v2, and so is told there."""

    @property
    def status(self) -> str:
        return "SUCCESS" if self.done else "PROCESSING"


@dataclass(kw_only=True)
class Order:
    """One order of one merchant."""

    owner: str
    mchid: str
    appid: str
    out_trade_no: str
    transaction_id: str
    token: str
    """Names the order in the wallet's pages and in its QR code."""
    prepay_id: str
    fen: int
    description: str
    trade_type: str
    created_at: datetime
    expires_at: datetime
    notify_url: str | None
    state: State = State.NOTPAY
    paid_at: datetime | None = None
    refunds: dict[str, Refund] = field(default_factory=dict)
    sign_type: str | None = None
    """How an order of API v2 is signed for; None for one of API v3."""
    profit_sharing: bool = False
    """Whether it may be divided: then its money is frozen for that until it is let go."""
    unfrozen: bool = False
    shared: int = 0
    """What receivers have of it."""
    attach: str = ""
    device_info: str = ""

    @property
    def scenario(self) -> Scenario | None:
        return scenario_of(self.fen)

    @property
    def refunded(self) -> int:
        return sum(refund.fen for refund in self.refunds.values())


@dataclass(kw_only=True)
class Transfer:
    """Money to a person, who has to confirm it."""

    out_bill_no: str
    transfer_bill_no: str
    fen: int
    openid: str
    at: datetime
    state: str = "WAIT_USER_CONFIRM"


@dataclass(kw_only=True)
class Contract:
    """A customer's word to be charged (委托代扣), once it is signed and until it is ended."""

    mchid: str
    plan_id: str
    contract_code: str
    contract_id: str
    request_serial: str
    display_account: str
    notify_url: str
    token: str
    """Names it in the wallet's pages."""
    signed_at: datetime | None = None
    ended_at: datetime | None = None
    ended_by: str = ""

    @property
    def open(self) -> bool:
        return self.signed_at is not None and self.ended_at is None


class Book:
    """Every order of every merchant. Raises Refusal with WeChat Pay's own codes."""

    def __init__(self) -> None:
        self.orders: dict[tuple[str, str], Order] = {}
        self.transfers: dict[tuple[str, str], Transfer] = {}
        self.sharings: dict[tuple[str, str], dict[str, Any]] = {}
        self.share_returns: dict[tuple[str, str], dict[str, Any]] = {}
        self.share_receivers: set[tuple[str, str, str]] = set()
        """Of each merchant the kind and the account of who may get shares."""
        self.complaints: dict[str, Complaint] = {}
        """By the number of the transaction that they are about."""
        self.complaint_urls: dict[str, str] = {}
        self.codes: set[str] = set()
        self.contracts: dict[tuple[str, str, str], Contract] = {}
        self._numbers = 0

    def number(self, now: datetime, prefix: str = "42000000") -> str:
        self._numbers += 1
        return f"{prefix}{now:%Y%m%d}{self._numbers:010}"

    def make(self, order: Order, now: datetime) -> Order:
        """The order of that number, made now or known already."""
        known = self.orders.setdefault((order.owner, order.out_trade_no), order)
        self.expire(known, now)
        if known.state in (State.SUCCESS, State.REFUND):
            raise Refusal(400, "ORDERPAID", "该订单已支付")
        if known.state is not State.NOTPAY:
            raise Refusal(400, "ORDER_CLOSED", "订单已关闭")
        same = (known.fen, known.trade_type) == (order.fen, order.trade_type)
        if not same:
            raise Refusal(400, "INVALID_REQUEST", "201 商户订单号重复")
        return known

    def find(self, owner: str, out_trade_no: str, now: datetime) -> Order:
        found = self.orders.get((owner, out_trade_no))
        if found is None:
            raise Refusal(404, "ORDER_NOT_EXIST", "订单不存在")
        self.expire(found, now)
        return found

    def of_token(self, token: str) -> Order | None:
        return next(
            (one for one in self.orders.values() if token in (one.token, one.prepay_id)), None
        )

    def expire(self, order: Order, now: datetime) -> None:
        if order.state in (State.NOTPAY, State.USERPAYING) and now >= order.expires_at:
            order.state = State.CLOSED

    def pay(self, order: Order, now: datetime, *, late: bool = False) -> bool:
        """The customer pays; whether that was possible."""
        self.expire(order, now)
        waiting = (State.NOTPAY, State.USERPAYING, State.ACCEPT)
        payable = (*waiting, *((State.CLOSED,) if late else ()))
        if order.state not in payable:
            return False
        order.state, order.paid_at = State.SUCCESS, now
        return True

    def close(self, order: Order) -> None:
        if order.state in (State.SUCCESS, State.REFUND):
            raise Refusal(400, "ORDERPAID", "订单已支付，不能关闭")
        order.state = State.CLOSED

    def reverse(self, order: Order, now: datetime) -> None:
        """Take a code payment back: in full what was paid, and nothing may come any more."""
        if order.state is State.REFUND:
            raise Refusal(400, "INVALID_REQUEST", "订单已退款，不能撤销")
        if order.state is State.SUCCESS:
            order.refunds[order.out_trade_no] = Refund(
                out_refund_no=order.out_trade_no,
                refund_id=self.number(now, "50000000"),
                fen=order.fen,
                at=now,
                notify_url=None,
            )
        order.state = State.REVOKED

    def refund(self, order: Order, made: Refund) -> tuple[Refund, bool]:
        """The refund, and whether it is new. The same number again moves no money."""
        known = order.refunds.get(made.out_refund_no)
        if known is not None:
            if known.fen != made.fen:
                raise Refusal(400, "INVALID_REQUEST", "退款金额与之前不一致")
            return known, False
        if order.state not in (State.SUCCESS, State.REFUND):
            raise Refusal(400, "INVALID_REQUEST", "订单未支付")
        if order.scenario is Scenario.REFUND_REFUSED:
            raise Refusal(403, "NOT_ENOUGH", "余额不足")
        if made.fen <= 0 or order.refunded + made.fen > order.fen:
            raise Refusal(400, "INVALID_REQUEST", "申请退款金额大于订单金额")
        frozen = order.profit_sharing and not order.unfrozen
        if frozen and made.fen > order.fen - order.refunded - order.shared:
            raise Refusal(400, "INVALID_REQUEST", "申请退款金额大于剩余未分账金额")
        made.done = order.scenario is not Scenario.REFUND_PROCESSING
        order.refunds[made.out_refund_no] = made
        order.state = State.REFUND
        return made, True

    def use_code(self, code: str) -> None:
        """A payment code is good once. Raises Refusal."""
        if code not in self.codes:
            raise Refusal(400, "AUTH_CODE_INVALID", "付款码无效")
        self.codes.discard(code)

    def new_code(self) -> str:
        """What a customer's wallet shows at a till."""
        code = "13" + "".join(secrets.choice("0123456789") for _ in range(16))
        self.codes.add(code)
        return code


def china_time(moment: datetime) -> str:
    return moment.astimezone(CHINA).isoformat(timespec="seconds")


def fen_of(value: object, *, name: str = "amount.total") -> int:
    """Raises Refusal for what WeChat Pay does not take."""
    if type(value) is not int or not 0 < value <= MAX_FEN:
        raise Refusal(400, "PARAM_ERROR", f"参数错误: {name}")
    return value


def text_of(body: Any, name: str, *, most: int = 512) -> str:
    value = body.get(name) if isinstance(body, dict) else None
    if not isinstance(value, str) or not 0 < len(value) <= most:
        raise Refusal(400, "PARAM_ERROR", f"参数错误: {name}")
    return value
