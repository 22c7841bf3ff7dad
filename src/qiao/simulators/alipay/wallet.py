"""What the customer sees and does: wallet pages, authorisation, and the same as JSON for tests."""

import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from aiohttp import web

from qiao.simulators.alipay import complaints
from qiao.simulators.alipay.book import State, Trade, yuan_of
from qiao.simulators.alipay.codec import Refusal
from qiao.simulators.alipay.methods import DECLINES, order_of
from qiao.simulators.alipay.pages import page
from qiao.simulators.kit.complaining import complaint_route
from qiao.simulators.kit.pages import json_answer
from qiao.simulators.kit.scenarios import ENTRIES

if TYPE_CHECKING:
    from qiao.simulators.alipay.simulator import Simulator


class Wallet:
    """The customer's wallet: pages under ``/wallet``, authorisation under ``/oauth2``."""

    def __init__(self, simulator: "Simulator") -> None:
        self._simulator = simulator

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/wallet/code", self._code),
            web.get("/wallet/scenarios", self._scenarios),
            web.post("/wallet/app", self._app_order),
            web.post("/wallet/trade", self._trade_number),
            web.get("/wallet/{token}", self._order),
            web.post("/wallet/{token}/approve", self._approve),
            web.post("/wallet/{token}/refuse", self._refuse),
            web.get("/oauth2/publicAppAuthorize.htm", self._authorize),
        ]

    async def _order(self, request: web.Request) -> web.Response:
        trade = self._trade_of(request)
        self._simulator.book.open(trade, self._simulator.clock.now())
        return self._show(trade)

    async def _approve(self, request: web.Request) -> web.StreamResponse:
        trade = self._trade_of(request)
        if trade.scenario in DECLINES:
            return self._show(trade, DECLINES[trade.scenario][1])
        if not self._simulator.pay(trade) and trade.state is not State.SUCCESS:
            return self._show(trade)
        if back := self._simulator.return_url(trade):
            raise web.HTTPFound(back)
        return self._show(trade)

    async def _refuse(self, request: web.Request) -> web.Response:
        return self._show(self._trade_of(request), "您没有付款 You have not paid")

    async def _app_order(self, request: web.Request) -> web.Response:
        """What the app SDK does with its order string: Alipay verifies it like any request."""
        simulator = self._simulator
        text = str((await request.post()).get("orderString", ""))
        try:
            told = simulator.codec.merge(text, b"")
            asked = simulator.codec.read(told, simulator.clock.now())
            trade = order_of(simulator, asked, "alipay.trade.app.pay")
        except Refusal as refusal:
            raise web.HTTPBadRequest(text=f"{refusal.sub_code} {refusal.text}") from None
        raise web.HTTPFound(f"/wallet/{trade.token}")

    async def _trade_number(self, request: web.Request) -> web.Response:
        """What a page inside Alipay does with a trade number (JSAPI, mini program)."""
        number = str((await request.post()).get("tradeNO", ""))
        for trade in self._simulator.book.trades.values():
            if trade.trade_no == number and trade.state is not State.PREPARED:
                raise web.HTTPFound(f"/wallet/{trade.token}")
        raise web.HTTPBadRequest(text="ACQ.TRADE_NOT_EXIST 交易不存在")

    async def _code(self, _: web.Request) -> web.Response:
        return page("code.html", code=self._simulator.book.new_code())

    async def _scenarios(self, _: web.Request) -> web.Response:
        return page("scenarios.html", entries=ENTRIES, yuan_of=yuan_of)

    async def _authorize(self, request: web.Request) -> web.Response:
        """The customer lets the app know who they are, without being asked (auth_base)."""
        target = request.query.get("redirect_uri", "")
        known = {app.app_id for app in self._simulator.credentials.apps.values()}
        if request.query.get("app_id") not in known or not target.startswith("http"):
            raise web.HTTPBadRequest(text="app_id 或 redirect_uri 无效")
        granted = secrets.token_hex(16)
        self._simulator.oauth_codes.add(granted)
        told = {
            "app_id": request.query["app_id"],
            "scope": request.query.get("scope", ""),
            "auth_code": granted,
            "state": request.query.get("state", ""),
        }
        raise web.HTTPFound(f"{target}{'&' if '?' in target else '?'}{urlencode(told)}")

    def _trade_of(self, request: web.Request) -> Trade:
        trade = self._simulator.book.of_token(request.match_info["token"])
        if trade is None:
            raise web.HTTPNotFound
        return trade

    def _show(self, trade: Trade, message: str = "") -> web.Response:
        return page(
            "order.html",
            trade=trade,
            merchant=self._simulator.app(trade.app_id).merchant,
            yuan=yuan_of(trade.fen),
            scenario=next((one for one in ENTRIES if one.minor == trade.fen), None),
            message=message,
            back=self._simulator.return_url(trade) if trade.state is State.SUCCESS else None,
        )


def trade_control_routes(simulator: "Simulator") -> list[web.RouteDef]:
    """Trades as JSON under ``/_control``, for tests and for the sandbox's commands."""

    def found(request: web.Request) -> Trade:
        number = request.match_info["number"]
        for trade in (*simulator.book.trades.values(), *simulator.book.holds.values()):
            if trade.out_trade_no == number:
                return trade
        raise web.HTTPNotFound

    async def payments(_: web.Request) -> web.Response:
        return json_answer([_view(trade) for trade in simulator.book.trades.values()])

    async def payment(request: web.Request) -> web.Response:
        return json_answer(_view(found(request)))

    async def approve(request: web.Request) -> web.Response:
        trade = found(request)
        declined = trade.scenario in DECLINES
        done = not declined and simulator.pay(trade)
        return json_answer(_view(trade), status=200 if done else 409)

    async def refuse(request: web.Request) -> web.Response:
        trade = found(request)
        simulator.book.open(trade, simulator.clock.now())
        return json_answer(_view(trade))

    async def auth_code(_: web.Request) -> web.Response:
        return json_answer({"auth_code": simulator.book.new_code()}, status=201)

    async def resend(request: web.Request) -> web.Response:
        simulator.notify(found(request))
        return web.Response(status=202)

    return [
        web.get("/_control/payments", payments),
        web.get("/_control/payments/{number}", payment),
        web.post("/_control/payments/{number}/approve", approve),
        web.post("/_control/payments/{number}/refuse", refuse),
        complaint_route(
            lambda request, asked: complaints.control(simulator, found(request), asked)
        ),
        web.post("/_control/auth_codes", auth_code),
        web.post("/_control/notifications/{number}/resend", resend),
    ]


def _view(trade: Trade) -> dict[str, Any]:
    return {
        "out_trade_no": trade.out_trade_no,
        "trade_no": trade.trade_no,
        "seller_id": trade.seller_id,
        "fen": trade.fen,
        "state": trade.state,
        "wallet": f"/wallet/{trade.token}",
        "refunds": {number: refund.fen for number, refund in trade.refunds.items()},
    }
