"""What the customer sees and does: wallet pages, authorisation, and the same as JSON for tests."""

import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from aiohttp import web

from qiao.simulators.kit.complaining import complaint_route
from qiao.simulators.kit.pages import json_answer
from qiao.simulators.kit.scenarios import ENTRIES
from qiao.simulators.wechat import complaints
from qiao.simulators.wechat.bills import yuan
from qiao.simulators.wechat.book import OPENID, Order, State
from qiao.simulators.wechat.methods import DECLINES
from qiao.simulators.wechat.pages import page

if TYPE_CHECKING:
    from qiao.simulators.wechat.simulator import Simulator


class Wallet:
    """The customer's wallet: pages under ``/wallet``, authorisation under ``/connect``."""

    def __init__(self, simulator: "Simulator") -> None:
        self._simulator = simulator

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/wallet/code", self._code),
            web.get("/wallet/scenarios", self._scenarios),
            web.post("/wallet/jsapi", self._jsapi),
            web.post("/wallet/app", self._app),
            web.get("/h5", self._h5),
            web.get("/wallet/{token}", self._order),
            web.post("/wallet/{token}/approve", self._approve),
            web.post("/wallet/{token}/refuse", self._refuse),
            web.get("/connect/oauth2/authorize", self._authorize),
            web.get("/sns/oauth2/access_token", self._access_token),
        ]

    async def _order(self, request: web.Request) -> web.Response:
        return self._show(self._order_of(request), request)

    async def _approve(self, request: web.Request) -> web.StreamResponse:
        order = self._order_of(request)
        if order.scenario in DECLINES:
            return self._show(order, request, DECLINES[order.scenario][2])
        done = self._simulator.pay(order) or order.paid_at is not None
        back = request.query.get("redirect_url")
        if done and back:
            raise web.HTTPFound(back)
        return self._show(order, request)

    async def _refuse(self, request: web.Request) -> web.Response:
        return self._show(self._order_of(request), request, "您没有付款 You have not paid")

    async def _h5(self, request: web.Request) -> web.Response:
        """The mobile page that jumps into the wallet."""
        order = self._simulator.book.of_token(request.query.get("prepay_id", ""))
        if order is None:
            raise web.HTTPNotFound
        back = request.query.get("redirect_url", "")
        raise web.HTTPFound(f"/wallet/{order.token}?{urlencode({'redirect_url': back})}")

    async def _jsapi(self, request: web.Request) -> web.Response:
        """What WeChat does with the parameters of a page or a mini program: it verifies them."""
        told = {name: str(value) for name, value in (await request.post()).items()}
        names = ("appId", "timeStamp", "nonceStr", "package")
        content = "".join(f"{told.get(name, '')}\n" for name in names)
        signature = told.pop("paySign", "")
        prepay_id = told.get("package", "").removeprefix("prepay_id=")
        return self._checked(prepay_id, content, told, signature)

    async def _app(self, request: web.Request) -> web.Response:
        """What the app SDK does with its parameters."""
        told = {name: str(value) for name, value in (await request.post()).items()}
        names = ("appid", "timestamp", "noncestr", "prepayid")
        content = "".join(f"{told.get(name, '')}\n" for name in names)
        signature = told.pop("sign", "")
        return self._checked(told.get("prepayid", ""), content, told, signature)

    def _checked(
        self, prepay_id: str, content: str, told: dict[str, str], signature: str
    ) -> web.Response:
        """An order of API v3 is signed for in lines, one of API v2 by all its parameters."""
        order = self._simulator.book.of_token(prepay_id)
        if order is None:
            raise web.HTTPBadRequest(text="prepay_id 无效")
        merchant = self._simulator.merchant(order.mchid)
        if order.sign_type is None:
            genuine = self._simulator.codec.verifies(merchant, content, signature)
        else:
            named = told.get("signType", order.sign_type) == order.sign_type
            signed = self._simulator.v2.verifies(merchant, told, order.sign_type, signature)
            genuine = named and signed
        if not genuine:
            raise web.HTTPBadRequest(text="支付验证签名失败")
        raise web.HTTPFound(f"/wallet/{order.token}")

    async def _code(self, _: web.Request) -> web.Response:
        return page("code.html", code=self._simulator.book.new_code())

    async def _scenarios(self, _: web.Request) -> web.Response:
        return page("scenarios.html", entries=ENTRIES, yuan=yuan)

    async def _authorize(self, request: web.Request) -> web.Response:
        """The customer lets the account know who they are, without being asked (snsapi_base)."""
        target = request.query.get("redirect_uri", "")
        known = {one.appid for one in self._simulator.credentials.merchants.values()}
        if request.query.get("appid") not in known or not target.startswith("http"):
            raise web.HTTPBadRequest(text="appid 或 redirect_uri 无效")
        granted = secrets.token_hex(16)
        self._simulator.oauth_codes.add(granted)
        told = {"code": granted, "state": request.query.get("state", "")}
        raise web.HTTPFound(f"{target}{'&' if '?' in target else '?'}{urlencode(told)}")

    async def _access_token(self, request: web.Request) -> web.Response:
        query = request.query
        merchants = self._simulator.credentials.merchants.values()
        known = {(one.appid, one.app_secret) for one in merchants}
        if (query.get("appid"), query.get("secret")) not in known:
            return json_answer({"errcode": 40125, "errmsg": "invalid appsecret"})
        if query.get("code") not in self._simulator.oauth_codes:
            return json_answer({"errcode": 40029, "errmsg": "invalid code"})
        self._simulator.oauth_codes.discard(query["code"])
        token = secrets.token_hex(32)
        return json_answer({"access_token": token, "expires_in": 7200, "openid": OPENID})

    def _order_of(self, request: web.Request) -> Order:
        order = self._simulator.book.of_token(request.match_info["token"])
        if order is None:
            raise web.HTTPNotFound
        self._simulator.book.expire(order, self._simulator.clock.now())
        return order

    def _show(self, order: Order, request: web.Request, message: str = "") -> web.Response:
        back = request.query.get("redirect_url")
        return page(
            "order.html",
            order=order,
            merchant=self._simulator.merchant(order.mchid).name,
            yuan=yuan(order.fen),
            open=order.state in (State.NOTPAY, State.USERPAYING),
            scenario=next((one for one in ENTRIES if one.minor == order.fen), None),
            message=message,
            back=back if order.paid_at else None,
            query=f"?{urlencode({'redirect_url': back})}" if back else "",
        )


def order_control_routes(simulator: "Simulator") -> list[web.RouteDef]:
    """Orders as JSON under ``/_control``, for tests and for the sandbox's commands."""

    def found(request: web.Request) -> Order:
        number = request.match_info["number"]
        for order in simulator.book.orders.values():
            if order.out_trade_no == number:
                return order
        raise web.HTTPNotFound

    async def payments(_: web.Request) -> web.Response:
        return json_answer([_view(order) for order in simulator.book.orders.values()])

    async def payment(request: web.Request) -> web.Response:
        return json_answer(_view(found(request)))

    async def approve(request: web.Request) -> web.Response:
        order = found(request)
        done = order.scenario not in DECLINES and simulator.pay(order)
        return json_answer(_view(order), status=200 if done else 409)

    async def refuse(request: web.Request) -> web.Response:
        return json_answer(_view(found(request)))

    async def auth_code(_: web.Request) -> web.Response:
        return json_answer({"auth_code": simulator.book.new_code()}, status=201)

    async def resend(request: web.Request) -> web.Response:
        simulator.notify(found(request))
        return web.Response(status=202)

    async def rotate(_: web.Request) -> web.Response:
        simulator.codec.rotate()
        return web.Response(status=204)

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
        web.post("/_control/platform_keys/rotate", rotate),
    ]


def _view(order: Order) -> dict[str, Any]:
    return {
        "out_trade_no": order.out_trade_no,
        "transaction_id": order.transaction_id,
        "mchid": order.mchid,
        "fen": order.fen,
        "state": order.state,
        "wallet": f"/wallet/{order.token}",
        "refunds": {number: refund.fen for number, refund in order.refunds.items()},
    }
