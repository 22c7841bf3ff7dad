"""The simulated Alipay as a whole: its state, what happens later, and whom it tells."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date
from typing import Final

from aiohttp import web

from qiao.simulators.alipay.bills import trade_bill
from qiao.simulators.alipay.book import (
    BUYER_ID,
    BUYER_LOGON_ID,
    Book,
    Refund,
    State,
    Trade,
    yuan_of,
)
from qiao.simulators.alipay.codec import CHINA, Codec, china_time
from qiao.simulators.alipay.credentials import App, Credentials
from qiao.simulators.alipay.gateway import gateway_routes
from qiao.simulators.alipay.holds import Hold, notification
from qiao.simulators.alipay.methods import LATE_SECONDS, REFUND_SECONDS
from qiao.simulators.alipay.signing_pages import agreement_control_routes, signing_routes
from qiao.simulators.alipay.wallet import Wallet, trade_control_routes
from qiao.simulators.kit.clock import ScaledClock
from qiao.simulators.kit.control import control_routes
from qiao.simulators.kit.faults import FaultPlan
from qiao.simulators.kit.notifier import Message, Notifier
from qiao.simulators.kit.scenarios import Scenario
from qiao.simulators.kit.server import serve

RETRY_SECONDS: Final = (240.0, 600.0, 600.0, 3600.0, 7200.0, 21_600.0, 54_000.0)
OK: Final = 200


class Simulator:
    """Alipay for these apps. ``time_scale`` makes its delays and retries that much shorter."""

    def __init__(self, *, credentials: Credentials, time_scale: float = 1.0) -> None:
        self.credentials = credentials
        self.clock = ScaledClock(scale=time_scale)
        self.faults = FaultPlan()
        self.notifier = Notifier(clock=self.clock, faults=self.faults, retry_seconds=RETRY_SECONDS)
        self.book = Book()
        self.codec = Codec(credentials)
        self.oauth_codes: set[str] = set()
        self.base_url = ""
        self._bills: dict[str, tuple[str, date]] = {}
        self._later: set[asyncio.Task[None]] = set()
        self.application = web.Application()
        self.application.add_routes(
            [
                *gateway_routes(self),
                *signing_routes(self),
                *agreement_control_routes(self),
                *Wallet(self).routes(),
                *trade_control_routes(self),
                *control_routes(self.faults, self.notifier),
            ]
        )

    @asynccontextmanager
    async def running(self, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
        """Serve it on loopback; gives its URL."""
        async with serve(self.application, host=host, port=port) as self.base_url:
            try:
                yield self.base_url
            finally:
                for task in self._later:
                    task.cancel()
                await asyncio.gather(*self._later, return_exceptions=True)
                await self.notifier.close()

    def app(self, app_id: str) -> App:
        return next(app for app in self.credentials.apps.values() if app.app_id == app_id)

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        """Do it after so many seconds of the channel's time."""

        async def wait() -> None:
            await self.clock.sleep(seconds)
            action()

        task = asyncio.get_running_loop().create_task(wait())
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    def pay(self, trade: Trade, *, late: bool = False) -> bool:
        """The customer pays, and the merchant is told; whether that was possible."""
        if not self.book.pay(trade, self.clock.now(), late=late):
            return False
        self.notify(trade)
        return True

    def close(self, trade: Trade) -> None:
        """Close it; with the scenario for it, money arrives all the same. Raises Refusal."""
        self.book.close(trade, self.clock.now())
        if trade.scenario is Scenario.LATE_SUCCESS:
            self.later(LATE_SECONDS, lambda: self.pay(trade, late=True))

    def refunded(self, trade: Trade, refund: Refund) -> None:
        """A new refund was taken: tell the merchant, at once or when it is done."""

        def settle() -> None:
            refund.done = True
            self.book.settle_refunds(trade, self.clock.now())
            self.notify(trade, refund)

        if refund.done:
            settle()
        else:
            self.later(REFUND_SECONDS, settle)

    def notify(self, trade: Trade, refund: Refund | None = None) -> None:
        """Tell the merchant of the trade as it is now, until it says ``success``.

        Source for the charset: Alipay's help centre, article 201602456561.
        """
        if not trade.notify_url or trade.scenario is Scenario.NEVER_NOTIFIED:
            return
        fields = self._fields(trade, refund)
        app = self.app(trade.app_id)

        kind = f"application/x-www-form-urlencoded; charset={trade.charset}"

        def build(wrongly: bool) -> tuple[dict[str, str], bytes]:
            return {"content-type": kind}, self.codec.form(app, fields, wrongly=wrongly)

        message = Message(
            operation="notify.refund" if refund else "notify.trade",
            url=trade.notify_url,
            build=build,
            accepts=lambda status, body: status == OK and body == b"success",
        )
        twice = trade.scenario is Scenario.NOTIFIED_TWICE
        for _ in range(2 if twice else 1):
            self.notifier.notify(message)

    def return_url(self, trade: Trade) -> str | None:
        """Where the browser goes after paying, with Alipay's signed word for it."""
        if not trade.return_url:
            return None
        app = self.app(trade.app_id)
        fields = {
            "app_id": trade.app_id,
            "charset": trade.charset,
            "method": f"{trade.method}.return",
            "out_trade_no": trade.out_trade_no,
            "seller_id": trade.seller_id,
            "timestamp": china_time(self.clock.now()),
            "total_amount": yuan_of(trade.fen),
            "trade_no": trade.trade_no,
            "version": "1.0",
        }
        joint = "&" if "?" in trade.return_url else "?"
        return f"{trade.return_url}{joint}{self.codec.form(app, fields).decode()}"

    def bill_token(self, seller_id: str, day: str) -> str | None:
        """A download token for a day's bill; None when there is none. Today's is there at once."""
        try:
            wanted = date.fromisoformat(day)
        except ValueError:
            return None
        if wanted > self.clock.now().astimezone(CHINA).date():
            return None
        token = secrets.token_urlsafe(16)
        self._bills[token] = (seller_id, wanted)
        return token

    def bill(self, token: str) -> bytes | None:
        """The bill of a token, once."""
        found = self._bills.pop(token, None)
        return trade_bill(self.book, *found, self.clock.now()) if found else None

    def _fields(self, trade: Trade, refund: Refund | None) -> dict[str, str]:
        trade.notifications += 1
        now = self.clock.now()
        app = self.app(trade.app_id)
        fields = {
            "notify_time": china_time(now),
            "notify_type": "trade_status_sync",
            "notify_id": f"{now:%Y%m%d}00222{secrets.randbelow(10**21):021}",
            "app_id": trade.app_id,
            "auth_app_id": app.auth_app_id or trade.app_id,
            "charset": trade.charset,
            "version": "1.0",
        }
        if isinstance(trade, Hold):
            return fields | notification(trade)
        fields |= {
            "trade_no": trade.trade_no,
            "out_trade_no": trade.out_trade_no,
            "buyer_id": BUYER_ID,
            "buyer_logon_id": BUYER_LOGON_ID,
            "seller_id": trade.seller_id,
            "subject": trade.subject,
            "trade_status": str(trade.state),
            "total_amount": yuan_of(trade.fen),
            "receipt_amount": yuan_of(trade.fen),
            "buyer_pay_amount": yuan_of(trade.fen),
            "gmt_create": china_time(trade.created_at),
        }
        if trade.paid_at:
            fields["gmt_payment"] = china_time(trade.paid_at)
        if trade.state is State.CLOSED and trade.closed_at:
            fields["gmt_close"] = china_time(trade.closed_at)
        if refund:
            fields["out_biz_no"] = refund.out_request_no
            fields["refund_fee"] = yuan_of(trade.refunded)
            fields["gmt_refund"] = china_time(refund.at) + ".000"
        return fields
