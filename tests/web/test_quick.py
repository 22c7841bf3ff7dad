"""What the quick doors answer is what the framework answers, header by header and byte by byte."""

import re
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio
import structlog
from structlog.testing import capture_logs

from qiao.engine.merchants import issue_api_key
from qiao.engine.refunds import refund
from qiao.engine.runtime import Scope
from qiao.store.database import Database
from qiao.testing.bank import DECLINED_CODE
from qiao.testing.world import World, make_world
from qiao.web.app import create_app
from qiao.web.limits import WRONG_KEYS, Buckets, Limits

ORDER = {"order_id": "o-1", "amount": 1000, "description": "茶 tea"}
QR = {"channel": "bank", "product": "qr"}
CODE = {"channel": "bank", "product": "code", "auth_code": "284561"}
BODIES: list[Any] = [
    ORDER,
    {**ORDER, "method": QR},
    {**ORDER, "method": CODE, "metadata": {"table": "7"}, "return_url": "https://shop.invalid/"},
    {**ORDER, "method": {**CODE, "auth_code": DECLINED_CODE}},
    {**ORDER, "methods": ["other"], "method": QR},
    {**ORDER, "method": {"channel": "none", "product": "qr"}},
    {**ORDER, "method": {"channel": "bank", "product": "nothing"}},
    {**ORDER, "amount": "1000"},
    {**ORDER, "amount": 0},
    {**ORDER, "amount": 10**20},
    {**ORDER, "surprise": 1},
    {**ORDER, "description": "a\nb"},
    {**ORDER, "return_url": "javascript:1"},
    {"order_id": "o-1"},
    [],
    b"",
    b"{",
    b"\xff",
    b'{"order_id": "o-1", "amount": 1.0, "description": "tea"}',
    b'{"order_id": "o-1", "order_id": "o-2", "amount": 1, "description": "tea"}',
    b'{"order_id": "o-1", "amount": 1, "description": "' + b"x" * 70_000 + b'"}',
]
HEADERS: list[dict[str, str]] = [
    {},
    {"idempotency-key": "one"},
    {"idempotency-key": "not one"},
    {"content-type": "application/json; charset=utf-8"},
    {"content-type": "text/plain"},
    {"authorization": "Bearer sk_test_nobody"},
    {"authorization": "Basic x"},
    {"authorization": ""},
]


class Both:
    """Two worlds on one database, one behind quick doors; what they answer is compared."""

    def __init__(self, worlds: list[World], clients: list[httpx.AsyncClient]) -> None:
        self.worlds = worlds
        self.clients = clients

    async def same(self, method: str, path: str, **request: Any) -> httpx.Response:
        """The quick answer; the framework's is the same but for what is random."""
        return await self.alike(method, [{"url": path, **request}] * 2)

    async def alike(self, method: str, requests: list[dict[str, Any]]) -> httpx.Response:
        """The same, of a request for each of the two."""
        answers, told = [], []
        for client, request in zip(self.clients, requests, strict=True):
            with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
                answers.append(await client.request(method, **request))
            told.append([_told(line) for line in logs])
        quick, framework = answers
        assert (quick.status_code, _plain(quick)) == (framework.status_code, _plain(framework))
        assert _names(quick) == _names(framework)
        assert told[0] == told[1]
        assert [line["status"] for line in told[0] if line["event"] == "request"] == [
            quick.status_code
        ]
        return quick


def _told(line: MutableMapping[str, Any]) -> dict[str, Any]:
    """What is logged, but for what differs between any two requests."""
    ours = {"milliseconds", "merchant_id", "account_id"}
    told = {name: value for name, value in line.items() if name not in ours}
    return {**told, "exc_info": repr(line.get("exc_info"))}


def _names(answer: httpx.Response) -> dict[str, str]:
    return {name: text for name, text in answer.headers.items() if name != "date"}


def _plain(answer: httpx.Response) -> bytes:
    """Without what differs between two payments that are the same otherwise."""
    text = re.sub(rb"(pay|att|evt|ref)_?[0-9a-z]{26}", rb"\1", answer.content)
    text = re.sub(rb'/cashier/[^"]*', b"/cashier", text)
    return re.sub(rb"\d{4}-\d\d-\d\dT[0-9:.]+Z", b"TIME", text)


@asynccontextmanager
async def both_of(database: Database, limits: Callable[[], Limits] = Limits) -> AsyncIterator[Both]:
    async with AsyncExitStack() as stack:
        worlds, clients = [], []
        for number, quick in enumerate((True, False)):
            scope = Scope(merchant_id=f"mer_{number}", live=False)
            world = await make_world(database, scope)
            key = await issue_api_key(world.engine, scope)
            application = create_app(world.engine, limits=limits(), quick=quick)
            transport = httpx.ASGITransport(application)  # type: ignore[arg-type]
            client = httpx.AsyncClient(
                transport=transport,
                base_url="http://qiao",
                headers={
                    "authorization": f"Bearer {key}",
                    "content-type": "application/json",
                    "x-request-id": "the-same-for-both",
                },
            )
            clients.append(await stack.enter_async_context(client))
            worlds.append(world)
        yield Both(worlds, clients)


@pytest_asyncio.fixture
async def both(database: Database) -> AsyncIterator[Both]:
    async with both_of(database) as both:
        yield both


@pytest.mark.parametrize("headers", HEADERS, ids=str)
async def test_create(both: Both, headers: dict[str, str]) -> None:
    for body in BODIES:
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        await both.same("POST", "/v1/payments", content=content, headers=headers)


async def test_show(both: Both) -> None:
    paths = []
    for world in both.worlds:
        payment = await world.paid()
        await refund(world.engine, world.scope, payment.payment_id, amount_minor=300)
        paths.append(f"/v1/payments/{payment.payment_id}")
    shown = await both.alike("GET", [{"url": path} for path in paths])
    assert (shown.status_code, len(shown.json()["refunds"])) == (200, 1)
    for end in ("?x=1", "/", "/attempts"):
        await both.alike("GET", [{"url": path + end} for path in paths])
    for path in ("/v1/payments/pay_00000000000000000000000000", "/v1/payments/x", "/v1/payments/"):
        await both.same("GET", path)
        await both.same("DELETE", path)
    nobody = {"authorization": "Bearer sk_test_nobody"}
    await both.alike("GET", [{"url": path, "headers": nobody} for path in paths])


async def test_notify(both: Both) -> None:
    authentic = []
    for world in both.worlds:
        started = await world.attempt(await world.accept())
        world.bank.pay(started.reference)
        notice = world.bank.payment_notice(started.reference)
        url = f"/notify/{world.scope.merchant_id}/{world.account_id}"
        authentic.append({"url": url, "content": notice.body, "headers": dict(notice.headers)})
    for method in ("POST", "GET", "PUT", "POST"):
        await both.alike(method, authentic)
        for body in (b"forged", b"", b"x" * 300_000):
            await both.alike(method, [{**one, "content": body} for one in authentic])
    for path in ("/notify/mer_0/acc_none", "/notify/mer_0", "/notify/mer_0/a/b", "/notify/"):
        await both.same("POST", path, content=b"{}")
    for world in both.worlds:
        told = "SELECT count(*) FROM notification WHERE merchant_id = $1"
        assert await world.engine.database.fetch_value(told, world.scope.merchant_id) == 1


async def test_what_a_key_may_ask(database: Database) -> None:
    def limits() -> Limits:
        stopped = [Buckets(now=lambda: 5.0) for _ in range(2)]
        return Limits(per_second=3, keys=stopped[0], wrong_keys=stopped[1])

    async with both_of(database, limits) as both:
        answers = [
            await both.same("POST", "/v1/payments", json={**ORDER, "order_id": f"o-{number}"})
            for number in range(5)
        ]
        assert [one.status_code for one in answers] == [201, 201, 201, 429, 429]
        assert answers[0].headers["ratelimit"] == '"key";r=2;t=1'
        assert answers[3].headers["retry-after"] == "1"
        nobody = {"authorization": "Bearer sk_test_nobody"}
        wrong = [
            (await both.same("GET", "/v1/payments/x", headers=nobody)).status_code
            for _ in range(WRONG_KEYS + 2)
        ]
        assert wrong == [401] * WRONG_KEYS + [429] * 2


async def test_the_time_of_a_request(both: Both) -> None:
    for given, status in (("0.000001", 504), ("soon", 400), ("0", 400), ("20", 201)):
        answer = await both.same(
            "POST", "/v1/payments", json=ORDER, headers={"request-timeout": given}
        )
        assert answer.status_code == status


async def test_an_id_of_the_request_is_made_where_none_came(both: Both) -> None:
    answers = [
        await client.get("/v1/payments/x", headers={"x-request-id": ""}) for client in both.clients
    ]
    assert len({one.headers["x-request-id"] for one in answers}) == 2


@pytest.mark.parametrize("quick", [True, False])
async def test_what_breaks_is_500_and_tells_nothing(world: World, quick: bool) -> None:
    key = await issue_api_key(world.engine, world.scope)
    application = create_app(world.engine, quick=quick)
    transport = httpx.ASGITransport(application)  # type: ignore[arg-type]
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://qiao", headers=headers
    ) as client:
        address = "/v1/payments/pay_00000000000000000000000000"
        assert (await client.get(address)).status_code == 404
        await world.engine.database.execute("ALTER TABLE payment RENAME TO gone")
        failed = await client.get(address)
    assert (failed.status_code, failed.json()["code"]) == (500, "internal_error")
