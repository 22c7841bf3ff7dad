"""Trades, refunds, transfers and sharings as Alipay keeps them. Amounts are fen; pure, no I/O."""

import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from qiao.simulators.alipay.codec import Refusal
from qiao.simulators.kit.scenarios import Scenario, scenario_of

if TYPE_CHECKING:
    from qiao.simulators.alipay.agreements import Agreement
    from qiao.simulators.alipay.complaints import Complaint
    from qiao.simulators.alipay.holds import Hold

YUAN: Final = re.compile(r"(0|[1-9][0-9]{0,8})(?:\.([0-9]{1,2}))?", re.ASCII)
NUMBER: Final = re.compile(r"[0-9A-Za-z_]{1,64}", re.ASCII)
MAX_FEN: Final = 100_000_000_00
BUYER_ID: Final = "2088102146225135"
BUYER_LOGON_ID: Final = "159****5620"


class State(StrEnum):
    """``PREPARED`` is an order that no customer has opened: for the API there is no trade yet."""

    PREPARED = "PREPARED"
    WAITING = "WAIT_BUYER_PAY"
    SUCCESS = "TRADE_SUCCESS"
    CLOSED = "TRADE_CLOSED"


@dataclass(kw_only=True)
class Refund:
    """One refund of a trade; not ``done`` while it is processed."""

    out_request_no: str
    fen: int
    at: datetime
    done: bool = True


@dataclass(kw_only=True)
class Trade:
    """One order of one seller."""

    app_id: str
    seller_id: str
    out_trade_no: str
    trade_no: str
    token: str
    """Names the trade in the wallet's pages and in its QR code."""
    fen: int
    subject: str
    method: str
    charset: str
    """Of the request that made it: what is told of it later is written in the same."""
    created_at: datetime
    expires_at: datetime
    notify_url: str | None
    return_url: str | None
    state: State = State.PREPARED
    paid_at: datetime | None = None
    closed_at: datetime | None = None
    refunds: dict[str, Refund] = field(default_factory=dict)
    sharings: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    """Of each request number what each receiver got, as Alipay tells it."""
    share_returns: dict[str, tuple[str, int, datetime]] = field(default_factory=dict)
    """Of each request number whose share it was, how much of it came back, and when."""
    shares_finished: bool = False
    notifications: int = 0

    @property
    def scenario(self) -> Scenario | None:
        return scenario_of(self.fen)

    @property
    def refunded(self) -> int:
        return sum(refund.fen for refund in self.refunds.values())


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Money paid out to a person."""

    out_biz_no: str
    order_id: str
    fen: int
    payee: str
    at: datetime


class Book:
    """Every trade of every seller. Raises Refusal with Alipay's own codes."""

    def __init__(self) -> None:
        self.trades: dict[tuple[str, str], Trade] = {}
        self.holds: dict[tuple[str, str], Hold] = {}
        self.agreements: dict[tuple[str, str], Agreement] = {}
        self.transfers: dict[tuple[str, str], Transfer] = {}
        self.share_receivers: set[tuple[str, str, str]] = set()
        """Of each seller the kind and the account of who may get shares."""
        self.complaints: dict[str, Complaint] = {}
        """By the number of the trade that they are about."""
        self.gateways: dict[str, str] = {}
        """Where each app is told what is about no one trade (应用网关)."""
        self.codes: set[str] = set()
        self._tokens: dict[str, Trade] = {}
        self._numbers = 0

    def order(self, trade: Trade, now: datetime) -> Trade:
        """The trade of that number, made now or known already."""
        known = self.trades.get((trade.seller_id, trade.out_trade_no))
        if known is None:
            self.trades[trade.seller_id, trade.out_trade_no] = trade
            self._tokens[trade.token] = trade
            return trade
        self.expire(known, now)
        if known.state is State.SUCCESS:
            raise refused("ACQ.TRADE_HAS_SUCCESS", "交易已被支付")
        if known.state is State.CLOSED:
            raise refused("ACQ.TRADE_HAS_CLOSE", "交易已经关闭")
        if (known.fen, known.subject) != (trade.fen, trade.subject):
            raise refused("ACQ.CONTEXT_INCONSISTENT", "交易信息被篡改")
        return known

    def hold(self, hold: "Hold", now: datetime) -> "Hold":
        """The authorization of that number, made now or known already."""
        known = self.holds.setdefault((hold.seller_id, hold.out_trade_no), hold)
        self._tokens[known.token] = known
        self.expire(known, now)
        if (known.fen, known.subject) != (hold.fen, hold.subject):
            raise refused("ILLEGAL_ARGUMENT", "请求信息不一致")
        return known

    def number(self, now: datetime) -> str:
        """A number of Alipay's own."""
        self._numbers += 1
        return f"{now:%Y%m%d}220014{self._numbers:014}"

    def of_token(self, token: str) -> Trade | None:
        return self._tokens.get(token)

    def trade(self, seller_id: str, out_trade_no: str, trade_no: str, now: datetime) -> Trade:
        """What the API can see: not an order that nobody has opened."""
        if out_trade_no:
            found = self.trades.get((seller_id, out_trade_no))
        else:
            mine = (one for one in self.trades.values() if one.seller_id == seller_id)
            found = next((one for one in mine if one.trade_no == trade_no), None)
        if found is None or found.state is State.PREPARED:
            raise refused("ACQ.TRADE_NOT_EXIST", "交易不存在")
        self.expire(found, now)
        return found

    def expire(self, trade: Trade, now: datetime) -> None:
        if trade.state in (State.PREPARED, State.WAITING) and now >= trade.expires_at:
            trade.state, trade.closed_at = State.CLOSED, trade.expires_at

    def open(self, trade: Trade, now: datetime) -> None:
        """The customer has the order before their eyes."""
        self.expire(trade, now)
        if trade.state is State.PREPARED:
            trade.state = State.WAITING

    def pay(self, trade: Trade, now: datetime, *, late: bool = False) -> bool:
        """The customer pays; whether that was possible."""
        self.expire(trade, now)
        payable = (State.PREPARED, State.WAITING, *((State.CLOSED,) if late else ()))
        if trade.state not in payable:
            return False
        trade.state, trade.paid_at, trade.closed_at = State.SUCCESS, now, None
        return True

    def close(self, trade: Trade, now: datetime) -> None:
        if trade.state is not State.WAITING:
            raise refused("ACQ.TRADE_STATUS_ERROR", "交易状态不合法")
        trade.state, trade.closed_at = State.CLOSED, now

    def refund(self, trade: Trade, number: str, fen: int, now: datetime) -> tuple[Refund, bool]:
        """The refund, and whether it is new. The same number again moves no money."""
        known = trade.refunds.get(number)
        if known is not None:
            if known.fen != fen:
                raise refused("ACQ.DISCORDANT_REPEAT_REQUEST", "请求信息不一致")
            return known, False
        if trade.paid_at is None or trade.state is not State.SUCCESS:
            raise refused("ACQ.TRADE_STATUS_ERROR", "交易状态不合法")
        if trade.scenario is Scenario.REFUND_REFUSED:
            raise refused("ACQ.SELLER_BALANCE_NOT_ENOUGH", "卖家余额不足")
        if fen <= 0 or trade.refunded + fen > trade.fen:
            raise refused("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "退款金额超限")
        made = Refund(out_request_no=number, fen=fen, at=now)
        made.done = trade.scenario is not Scenario.REFUND_PROCESSING
        trade.refunds[number] = made
        self.settle_refunds(trade, now)
        return made, True

    def settle_refunds(self, trade: Trade, now: datetime) -> None:
        """A trade of which all has gone back is closed."""
        if trade.refunded == trade.fen and all(one.done for one in trade.refunds.values()):
            trade.state, trade.closed_at = State.CLOSED, now

    def use_code(self, code: str) -> None:
        """A payment code is good once. Raises Refusal."""
        if code not in self.codes:
            raise refused("ACQ.PAYMENT_AUTH_CODE_INVALID", "付款码无效")
        self.codes.discard(code)

    def new_code(self) -> str:
        """What a customer's wallet shows at a till."""
        code = "28" + "".join(secrets.choice("0123456789") for _ in range(16))
        self.codes.add(code)
        return code


def refused(sub_code: str, text: str) -> Refusal:
    """A business refusal."""
    return Refusal("40004", sub_code, text)


def fen_of(text: object, *, name: str = "total_amount") -> int:
    """Yuan text as fen. Raises Refusal for what Alipay does not take."""
    match = YUAN.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise refused("ACQ.INVALID_PARAMETER", f"参数无效: {name}")
    fen = int(match[1]) * 100 + int((match[2] or "").ljust(2, "0"))
    if not 0 < fen <= MAX_FEN:
        raise refused("ACQ.INVALID_PARAMETER", f"参数无效: {name}")
    return fen


def yuan_of(fen: int) -> str:
    sign, fen = ("-", -fen) if fen < 0 else ("", fen)
    return f"{sign}{fen // 100}.{fen % 100:02}"
