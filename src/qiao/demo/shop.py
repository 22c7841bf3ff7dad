"""A small shop that sells tea: what a merchant's own program looks like that uses Qiao.

It knows Qiao only by its API and its webhooks.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import aiohttp
import msgspec
from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from qiao.domain.money import Money

TOLERANCE_SECONDS: Final = 300
TEAS: Final = (
    ("longjing", "龙井茶 Longjing tea", 12800),
    ("puer", "普洱茶 Pu'er tea", 8800),
    ("cup", "一杯绿茶 A cup of green tea", 1250),
)


@dataclass
class Shop:
    """Its orders, and the events that Qiao told it."""

    api_url: str
    api_key: str
    webhook_secret: str = ""
    url: str = ""
    tell: Callable[[str], None] = print
    events: list[dict[str, Any]] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    told_at: dict[str, str] = field(default_factory=dict)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever an event arrives; whoever waits for one clears it."""

    def application(self) -> web.Application:
        application = web.Application()
        application.add_routes(
            [
                web.get("/", self._front),
                web.post("/buy/{tea}", self._buy),
                web.get("/orders/{order}", self._order),
                web.post("/webhook", self._webhook),
                web.get("/favicon.ico", self._nothing),
            ]
        )
        return application

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One call of Qiao's API."""
        headers = {"authorization": f"Bearer {self.api_key}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request(method, self.api_url + path, json=body) as answer,
        ):
            answer.raise_for_status()
            return await answer.json()

    async def sell(self, minor: int, description: str, **more: Any) -> Any:
        """A new order and its payment."""
        order = f"shop-{secrets.token_hex(5)}"
        self.states[order] = "open"
        return await self.ask(
            "POST",
            "/v1/payments",
            {
                "order_id": order,
                "amount": minor,
                "description": description,
                "return_url": f"{self.url}/orders/{order}",
                **more,
            },
        )

    async def _nothing(self, _: web.Request) -> web.Response:
        return web.Response(status=204)

    async def _front(self, _: web.Request) -> web.Response:
        return _page("front.html", teas=TEAS)

    async def _buy(self, request: web.Request) -> web.Response:
        tea = next((one for one in TEAS if one[0] == request.match_info["tea"]), None)
        if tea is None:
            raise web.HTTPNotFound
        payment = await self.sell(tea[2], tea[1])
        self.tell(f"shop: order {payment['order_id']} for {tea[1]}")
        raise web.HTTPSeeOther(payment["cashier_url"])

    async def _order(self, request: web.Request) -> web.Response:
        order = request.match_info["order"]
        if order not in self.states:
            raise web.HTTPNotFound
        return _page("order.html", order=order, state=self.states[order])

    async def _webhook(self, request: web.Request) -> web.Response:
        body = await request.read()
        if not verified(self.webhook_secret, request.headers, body):
            return web.Response(status=401)
        event = msgspec.json.decode(body)
        if any(known["id"] == event["id"] for known in self.events):
            return web.Response(status=204)
        self.events.append(event)
        self.arrived.set()
        data = event["data"]
        if data["object"] == "payment":
            if event["timestamp"] >= self.told_at.get(
                data["order_id"], ""
            ):  # the older may be later
                self.told_at[data["order_id"]] = event["timestamp"]
                self.states[data["order_id"]] = data["state"]
            self.tell(f"shop: webhook {event['type']} for order {data['order_id']}")
        else:
            amount = Money(data["amount"], data["currency"])
            self.tell(f"shop: webhook {event['type']} of {amount}")
        return web.Response(status=204)


def verified(secret: str, headers: Any, body: bytes) -> bool:
    """Whether Qiao sent the webhook, lately (Standard Webhooks)."""
    name, moment = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not moment.isdecimal() or abs(time.time() - int(moment)) > TOLERANCE_SECONDS:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{name}.{moment}.".encode() + body, hashlib.sha256)
    expected = f"v1,{base64.b64encode(digest).decode()}"
    given = headers.get("webhook-signature", "").split(" ")
    return any(hmac.compare_digest(expected.encode(), one.encode()) for one in given)


def _page(name: str, **values: Any) -> web.Response:
    return web.Response(
        text=_templates().get_template(name).render(**values), content_type="text/html"
    )


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("qiao.demo"), autoescape=True, undefined=StrictUndefined
    )
