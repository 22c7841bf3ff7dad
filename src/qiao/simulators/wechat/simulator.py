"""The simulated WeChat Pay as a whole: its state, what happens later, and whom it tells."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date
from typing import Any, Final

from aiohttp import web

from qiao.simulators.kit.clock import ScaledClock
from qiao.simulators.kit.control import control_routes
from qiao.simulators.kit.faults import FaultPlan
from qiao.simulators.kit.notifier import Message, Notifier
from qiao.simulators.kit.scenarios import Scenario
from qiao.simulators.kit.server import serve
from qiao.simulators.wechat.api import Api
from qiao.simulators.wechat.bills import fund_flow_bill, trade_bill
from qiao.simulators.wechat.book import CHINA, Book, Order, Refund, china_time
from qiao.simulators.wechat.codec import Codec, Request
from qiao.simulators.wechat.credentials import Credentials, Merchant
from qiao.simulators.wechat.methods import LATE_SECONDS, REFUND_SECONDS, refund_notice, transaction
from qiao.simulators.wechat.v2 import api as v2_api
from qiao.simulators.wechat.v2.codec import Codec as V2Codec
from qiao.simulators.wechat.v2.contract_pages import contract_routes, entrust_routes
from qiao.simulators.wechat.v2.notifications import payment_message, refund_message
from qiao.simulators.wechat.v2.tls import server_context
from qiao.simulators.wechat.wallet import Wallet, order_control_routes

SECURE_PORT_AFTER: Final = 100
RETRY_SECONDS: Final = (
    *(15.0, 15.0, 30.0, 180.0, 600.0, 1200.0, 1800.0, 1800.0, 1800.0, 3600.0),
    *(10_800.0, 10_800.0, 10_800.0, 21_600.0, 21_600.0),
)
ACCEPTED: Final = (200, 204)

SUMMARIES: Final = {
    "transaction": "支付成功",
    "refund": "退款成功",
    "complaint": "投诉单有更新",
}


class Simulator:
    """WeChat Pay for these merchants. ``time_scale`` makes its delays that much shorter."""

    def __init__(self, *, credentials: Credentials, time_scale: float = 1.0) -> None:
        self.credentials = credentials
        self.clock = ScaledClock(scale=time_scale)
        self.faults = FaultPlan()
        self.notifier = Notifier(clock=self.clock, faults=self.faults, retry_seconds=RETRY_SECONDS)
        self.book = Book()
        self.codec = Codec(credentials)
        self.v2 = V2Codec(credentials)
        self.oauth_codes: set[str] = set()
        self.base_url = ""
        self.secure_url = ""
        """API v2 over TLS, where a client may show its certificate."""
        self._bills: dict[str, bytes] = {}
        self._later: set[asyncio.Task[None]] = set()
        old = [*v2_api.Api(self).routes(), *entrust_routes(self)]
        self.application, self._secure = web.Application(), web.Application()
        self._secure.add_routes(old)
        self.application.add_routes(
            [
                *Api(self).routes(),
                *old,
                *Wallet(self).routes(),
                *order_control_routes(self),
                *contract_routes(self),
                *control_routes(self.faults, self.notifier),
            ]
        )

    @asynccontextmanager
    async def running(self, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
        """Serve it on loopback, and API v2 over TLS ``SECURE_PORT_AFTER`` ports later; its URL."""
        tls = server_context(self.credentials)
        secure_port = port + SECURE_PORT_AFTER if port else 0
        async with (
            serve(self.application, host=host, port=port) as self.base_url,
            serve(self._secure, host=host, port=secure_port, tls=tls) as self.secure_url,
        ):
            try:
                yield self.base_url
            finally:
                for task in self._later:
                    task.cancel()
                await asyncio.gather(*self._later, return_exceptions=True)
                await self.notifier.close()

    def merchant(self, mchid: str) -> Merchant:
        return next(one for one in self.credentials.merchants.values() if one.mchid == mchid)

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        """Do it after so many seconds of the channel's time."""

        async def wait() -> None:
            await self.clock.sleep(seconds)
            action()

        task = asyncio.get_running_loop().create_task(wait())
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    def pay(self, order: Order, *, late: bool = False) -> bool:
        """The customer pays, and the merchant is told; whether that was possible."""
        if not self.book.pay(order, self.clock.now(), late=late):
            return False
        self.notify(order)
        return True

    def close(self, order: Order) -> None:
        """Close it; with the scenario for it, money arrives all the same. Raises Refusal."""
        self.book.close(order)
        if order.scenario is Scenario.LATE_SUCCESS:
            self.later(LATE_SECONDS, lambda: self.pay(order, late=True))

    def refunded(self, order: Order, refund: Refund) -> None:
        """A new refund was taken: tell the merchant when it is done."""

        def settle() -> None:
            refund.done = True
            self.notify_refund(order, refund)

        self.later(0 if refund.done else REFUND_SECONDS, settle)

    def notify(self, order: Order) -> None:
        """Tell the merchant that the order is paid. A code payment is told at the till alone."""
        if order.notify_url and order.scenario is not Scenario.NEVER_NOTIFIED:
            asked = Request(merchant=self.merchant(order.mchid), body={}, query={})
            told = transaction(order, asked)
            count = 2 if order.scenario is Scenario.NOTIFIED_TWICE else 1
            if order.sign_type is not None:
                message = payment_message(self, order, order.sign_type, order.notify_url)
                for _ in range(count):
                    self.notifier.notify(message)
                return
            self.tell(order, "TRANSACTION.SUCCESS", "transaction", told, order.notify_url, count)

    def notify_refund(self, order: Order, refund: Refund) -> None:
        """Tell the merchant of a refund."""
        if refund.notify_url and refund.v2:
            self.notifier.notify(refund_message(self, order, refund, refund.notify_url))
        elif refund.notify_url:
            told = refund_notice(order, refund)
            self.tell(order, "REFUND.SUCCESS", "refund", told, refund.notify_url)

    def tell(
        self,
        order: Order,
        kind: str,
        about: str,
        told: dict[str, Any],
        url: str,
        count: int = 1,
    ) -> None:
        """Notify the order's merchant, sealed and signed."""
        merchant = self.merchant(order.mchid)
        now = self.clock.now()
        envelope = {
            "id": f"EV-{now:%Y%m%d}{secrets.token_hex(10)}",
            "create_time": china_time(now),
            "event_type": kind,
            "resource_type": "encrypt-resource",
            "summary": SUMMARIES[about],
            "resource": {
                "original_type": about,
                **self.codec.seal(merchant, json.dumps(told, ensure_ascii=False).encode(), about),
            },
        }
        body = json.dumps(envelope, ensure_ascii=False).encode()

        def build(wrongly: bool) -> tuple[dict[str, str], bytes]:
            headers = self.codec.headers(merchant, body, self.clock.now(), wrongly=wrongly)
            return {**headers, "Content-Type": "application/json"}, body

        message = Message(
            operation=f"notify.{about}",
            url=url,
            build=build,
            accepts=lambda status, _: status in ACCEPTED,
        )
        for _ in range(count):
            self.notifier.notify(message)

    def bill(self, owner: str, day: str, *, flow: bool) -> bytes | None:
        """The merchant's bill of a day; today's is there at once."""
        try:
            wanted = date.fromisoformat(day)
        except ValueError:
            return None
        if wanted > self.clock.now().astimezone(CHINA).date():
            return None
        return (fund_flow_bill if flow else trade_bill)(self.book, owner, wanted)

    def keep_bill(self, content: bytes) -> str:
        token = secrets.token_urlsafe(16)
        self._bills[token] = content
        return token

    def kept_bill(self, token: str) -> bytes | None:
        return self._bills.get(token)
