"""Under load: who is let in, who is told to come back, how long a request may take."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest

from qiao.bootstrap.serving import listen, serving
from qiao.engine import bulkheads
from qiao.engine.bulkheads import Bulkheads
from qiao.engine.merchants import issue_api_key
from qiao.testing.world import ACCOUNT_ID, World
from qiao.web.admission import Admission, Kind, kind_of
from qiao.web.limits import WRONG_KEYS, Buckets, Limits

ORDER = {"amount": 1000, "description": "tea", "method": {"channel": "bank", "product": "qr"}}


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("POST", "/notify/mer_1/acc_1", Kind.NOTIFY),
        ("GET", "/notify/mer_1/acc_1", Kind.NOTIFY),
        ("POST", "/v1/payments/pay_1/refunds", Kind.ACT),
        ("POST", "/v1/payments/pay_1/query", Kind.ACT),
        ("POST", "/v1/payments/pay_1/close", Kind.ACT),
        ("GET", "/v1/payments/pay_1", Kind.ACT),
        ("GET", "/v1/refunds/ref_1", Kind.ACT),
        ("GET", "/order", Kind.ACT),
        ("POST", "/v1/payments", Kind.CREATE),
        ("POST", "/v1/payments/pay_1/attempts", Kind.CREATE),
        ("POST", "/pay", Kind.CREATE),
        ("GET", "/cashier/mer_1/pay_1/token", Kind.CREATE),
        ("GET", "/cashier/mer_1/pay_1/token/events", Kind.LIST),
        ("GET", "/cashier/mer_1/pay_1/token/state", Kind.LIST),
        ("GET", "/v1/payments", Kind.LIST),
        ("GET", "/v1/events", Kind.LIST),
        ("GET", "/docs", Kind.LIST),
        ("GET", "/health", None),
        ("GET", "/metrics", None),
    ],
)
def test_what_a_request_is(method: str, path: str, kind: Kind | None) -> None:
    assert kind_of(method, path) is kind


async def taken(admission: Admission, kind: Kind) -> int:
    """How many of a kind come in at once."""
    count = 0
    while True:
        entering = asyncio.ensure_future(admission.enter(kind))
        await asyncio.sleep(0)
        if not entering.done():
            entering.cancel()
            await asyncio.gather(entering, return_exceptions=True)
            return count
        assert entering.result()
        count += 1


async def test_each_kind_leaves_room_for_what_matters_more() -> None:
    admission = Admission(slots=100)
    assert [await taken(admission, kind) for kind in Kind] == [25, 50, 15, 10]


async def test_a_free_slot_goes_to_what_matters_most_and_the_queue_is_bounded() -> None:
    admission = Admission(slots=8)
    for kind in reversed(Kind):
        await taken(admission, kind)
    order: list[Kind] = []

    async def come(kind: Kind) -> None:
        if await admission.enter(kind):
            order.append(kind)

    waiting = [asyncio.ensure_future(come(kind)) for kind in Kind]
    await asyncio.sleep(0)
    queued = [asyncio.ensure_future(admission.enter(Kind.LIST)) for _ in range(2)]
    await asyncio.sleep(0)
    assert [one.done() for one in queued] == [False, True]  # two of a list's share may wait
    assert queued[1].result() is False
    for _ in range(5):
        admission.leave()
    await asyncio.wait(waiting)
    assert order == [Kind.NOTIFY, Kind.ACT, Kind.CREATE]  # and the list waited in vain
    assert await queued[0] is False


class Channel:
    """Holds whatever is sent to a channel until told to let it go."""

    def __init__(self, world: World) -> None:
        self.held = 0
        self.go = asyncio.Event()
        self._transport = world.engine.transport

    async def run(self, operation):  # type: ignore[no-untyped-def]
        self.held += 1
        await self.go.wait()
        return await self._transport.run(operation)


@asynccontextmanager
async def served(world: World, **more: object) -> AsyncIterator[httpx.AsyncClient]:
    key = await issue_api_key(world.engine, world.scope)
    async with serving(world.engine, listen("127.0.0.1", 0), **more) as url:  # type: ignore[arg-type]
        headers = {"authorization": f"Bearer {key}"}
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(
            base_url=url, headers=headers, trust_env=False, timeout=60, limits=limits
        ) as client:
            yield client


async def test_a_channel_that_hangs_leaves_room_for_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulkheads, "SILENT_SECONDS", 0.0)
    channel = Channel(world)
    world.engine = replace(world.engine, transport=channel, bulkheads=Bulkheads(waiting=8))
    async with served(world, max_requests=16) as api:

        def order(number: int) -> asyncio.Future[httpx.Response]:
            body = {"order_id": f"h-{number}", **ORDER}
            return asyncio.ensure_future(api.post("/v1/payments", json=body))

        waiting = [order(number) for number in range(8)]
        async with asyncio.timeout(60):
            while channel.held < 8:
                await asyncio.sleep(0.01)
        for number in range(8, 20):
            refused = await order(number)
            assert (refused.status_code, refused.json()["code"]) == (503, "no_route")
            assert int(refused.headers["retry-after"]) >= 1
        other = {"order_id": "other", "amount": 1000, "description": "tea"}
        assert (await api.post("/v1/payments", json=other)).status_code == 201
        channel.go.set()
        assert {one.status_code for one in await asyncio.gather(*waiting)} == {201}


async def test_a_flood_of_orders_leaves_room_for_notifications_and_refunds(world: World) -> None:
    payment = await world.paid()
    channel = Channel(world)
    world.engine = replace(world.engine, transport=channel)
    async with served(world, max_requests=16) as api:
        orders = [
            asyncio.ensure_future(api.post("/v1/payments", json={"order_id": f"f-{n}", **ORDER}))
            for n in range(40)
        ]
        async with asyncio.timeout(60):
            while channel.held < 12:  # all the slots that orders may have
                await asyncio.sleep(0.01)
            while sum(one.done() for one in orders) < 28:  # those that found none
                await asyncio.sleep(0.01)
        refused = [one.result() for one in orders if one.done()]
        assert {one.status_code for one in refused} == {503}
        assert {one.json()["code"] for one in refused} == {"overloaded"}
        assert {one.headers["content-type"] for one in refused} == {"application/problem+json"}
        assert all(int(one.headers["retry-after"]) >= 1 for one in refused)

        assert (await api.get("/v1/payments")).status_code == 503
        told = await api.post(f"/notify/{world.scope.merchant_id}/{ACCOUNT_ID}", content=b"no")
        assert told.status_code != 503
        assert (await api.get(f"/v1/payments/{payment.payment_id}")).status_code == 200
        assert (await api.get("/health")).status_code == 200

        channel.go.set()
        answers = await asyncio.gather(*orders)
    assert sorted(one.status_code for one in answers) == [201] * 12 + [503] * 28
    accepted = await world.engine.database.fetch_value("SELECT count(*) FROM payment")
    assert accepted == 13  # what was refused left nothing


async def test_a_refusal_leaves_its_connection_in_order(world: World) -> None:
    """Whatever the pieces in which a refused body comes, the next request is read as it is."""
    channel = Channel(world)
    world.engine = replace(world.engine, transport=channel)
    async with served(world, max_requests=8) as api:
        orders = [
            asyncio.ensure_future(api.post("/v1/payments", json={"order_id": f"c-{n}", **ORDER}))
            for n in range(20)
        ]
        async with asyncio.timeout(60):
            while sum(one.done() for one in orders) < 14:
                await asyncio.sleep(0.01)
        waiting = [  # they fill the queue again, for a moment
            asyncio.ensure_future(api.post("/v1/payments", json={"order_id": f"d-{n}", **ORDER}))
            for n in range(20)
        ]
        body = b"POST /v1/payments HTTP/1.1\r\n\r\n"
        refused = b"POST /v1/payments?x=1 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(
            body
        )
        reader, writer = await asyncio.open_connection(api.base_url.host, api.base_url.port)
        for piece in (refused[:30], refused[30:], body[:9], body[9:], refused + body):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answers = await asyncio.wait_for(reader.read(), 30)
        assert answers.count(b"HTTP/1.1 ") == 3
        assert answers.count(b"HTTP/1.1 503 ") == 2
        assert answers.count(b"HTTP/1.1 200 ") == 1
        writer.close()
        channel.go.set()
        await asyncio.gather(*orders, *waiting)


async def test_the_time_of_a_request_is_bounded_and_no_outcome_guessed(world: World) -> None:
    async with served(world) as api:
        order = {"order_id": "short", **ORDER}
        late = await api.post("/v1/payments", json=order, headers={"request-timeout": "0.000001"})
        assert late.status_code == 504
        assert late.json()["code"] == "deadline_exceeded"
        assert "Idempotency-Key" in late.json()["remedy"]
        for wrong in ("soon", "-1", "0", "nan"):
            answer = await api.get("/v1/payments", headers={"request-timeout": wrong})
            assert answer.status_code == 400
            assert answer.json()["field"] == "Request-Timeout"
        in_time = await api.post("/v1/payments", json=order, headers={"request-timeout": "20"})
        assert in_time.status_code == 201


async def test_waiting_for_the_database_ends_with_the_request(world: World) -> None:
    payment = await world.accept()
    async with served(world) as api, world.engine.database.transaction() as transaction:
        await transaction.execute("LOCK TABLE attempt IN ACCESS EXCLUSIVE MODE")
        answer = await api.get(
            f"/v1/payments/{payment.payment_id}", headers={"request-timeout": "0.5"}
        )
        assert answer.status_code in (503, 504)
    assert (await world.now(payment)).state == "open"


async def test_a_body_that_never_comes_holds_no_slot(world: World) -> None:
    async with served(world, max_requests=8) as api:
        url = api.base_url
        slow = []
        for _ in range(20):
            reader, writer = await asyncio.open_connection(url.host, url.port)
            writer.write(
                b"POST /v1/payments HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
                b"Request-Timeout: 1\r\n\r\n{"
            )
            slow.append((reader, writer))
        made = await api.post("/v1/payments", json={"order_id": "quick", **ORDER})
        assert made.status_code == 201
        for reader, writer in slow:
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "body_too_slow"
            writer.close()


async def test_a_key_may_ask_so_often_and_is_told(world: World) -> None:
    limits = Limits(per_second=1000, of_merchants={world.scope.merchant_id: 3})
    stopped = Buckets(now=lambda: 5.0)
    async with served(world, limits=replace(limits, keys=stopped)) as api:
        answers = [await api.get("/v1/channels") for _ in range(5)]
        other = await issue_api_key(world.engine, world.scope)
        another = await api.get("/v1/channels", headers={"authorization": f"Bearer {other}"})
    assert [one.status_code for one in answers] == [200, 200, 200, 429, 429]
    assert [one.headers["ratelimit"] for one in answers[:3]] == [
        '"key";r=2;t=1',
        '"key";r=1;t=1',
        '"key";r=0;t=1',
    ]
    assert {one.headers["ratelimit-policy"] for one in answers} == {'"key";q=3;w=1'}
    assert answers[3].json()["code"] == "rate_limited"
    assert answers[3].headers["retry-after"] == "1"
    assert another.status_code == 200


async def test_wrong_keys_are_soon_not_looked_up_and_a_good_one_still_passes(world: World) -> None:
    limits = Limits(wrong_keys=Buckets(now=lambda: 5.0))
    async with served(world, limits=limits) as api:
        assert (await api.get("/v1/channels")).status_code == 200
        wrong = [
            (await api.get("/v1/channels", headers={"authorization": f"Bearer sk_test_{n}"}))
            for n in range(WRONG_KEYS + 3)
        ]
        assert [one.status_code for one in wrong] == [401] * WRONG_KEYS + [429] * 3
        assert int(wrong[-1].headers["retry-after"]) >= 1
        assert (await api.get("/v1/channels", headers={"authorization": ""})).status_code == 401
        assert (await api.get("/v1/channels")).status_code == 200


def test_buckets_fill_with_time_and_forget_who_is_not_there() -> None:
    now = [0.0]
    buckets = Buckets(now=lambda: now[0])

    def ask() -> tuple[bool, int]:
        taken = buckets.take("a", per_second=2, burst=4)
        return taken.admitted, taken.remaining

    assert [ask() for _ in range(5)] == [(True, 3), (True, 2), (True, 1), (True, 0), (False, 0)]
    now[0] = 0.5
    assert [ask() for _ in range(2)] == [(True, 0), (False, 0)]
    now[0] = 100.0
    assert ask() == (True, 3)
    for number in range(30_000):
        buckets.take(str(number), per_second=2, burst=4)
    assert len(buckets._free_at) <= 10_000
