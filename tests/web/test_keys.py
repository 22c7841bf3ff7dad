"""What a key may do, until when and from where; and the same at both doors, quick or not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest

from qiao.bootstrap.serving import listen, serving
from qiao.domain.errors import InvalidInput
from qiao.engine.errors import Conflict, Missing
from qiao.engine.key_policy import KeyPolicy, KeyScope
from qiao.engine.merchants import (
    ApiKey,
    api_keys,
    issue_api_key,
    revoke_api_key,
    rotate_api_key,
)
from qiao.testing.world import World
from qiao.web.access import NEEDS, require_key
from qiao.web.app import create_app

ORDER = {"order_id": "o-1", "amount": 1000, "description": "tea"}
NOBODY = "0" * 26
JSON = {"content-type": "application/json"}
REQUESTS: list[tuple[KeyScope, str, str]] = [
    (KeyScope.PAYMENTS_WRITE, "POST", "/v1/payments"),
    (KeyScope.PAYMENTS_READ, "GET", "/v1/payments"),
    (KeyScope.PAYMENTS_READ, "GET", f"/v1/payments/pay_{NOBODY}"),
    (KeyScope.PAYMENTS_WRITE, "POST", f"/v1/payments/pay_{NOBODY}/attempts"),
    (KeyScope.PAYMENTS_READ, "POST", f"/v1/payments/pay_{NOBODY}/query"),
    (KeyScope.PAYMENTS_WRITE, "POST", f"/v1/payments/pay_{NOBODY}/close"),
    (KeyScope.REFUNDS_WRITE, "POST", f"/v1/payments/pay_{NOBODY}/refunds"),
    (KeyScope.PAYMENTS_READ, "GET", f"/v1/refunds/ref_{NOBODY}"),
    (KeyScope.PAYMENTS_READ, "GET", "/v1/events"),
    (KeyScope.PAYMENTS_READ, "GET", "/v1/channels"),
    (KeyScope.WEBHOOKS_WRITE, "POST", "/v1/webhook_endpoints"),
    (KeyScope.WEBHOOKS_WRITE, "GET", "/v1/webhook_endpoints"),
    (KeyScope.WEBHOOKS_WRITE, "DELETE", f"/v1/webhook_endpoints/whe_{NOBODY}"),
    (KeyScope.WEBHOOKS_WRITE, "GET", f"/v1/webhook_endpoints/whe_{NOBODY}/deliveries"),
    (
        KeyScope.WEBHOOKS_WRITE,
        "POST",
        f"/v1/webhook_endpoints/whe_{NOBODY}/deliveries/evt_{NOBODY}/replay",
    ),
    (KeyScope.LEDGER_READ, "GET", "/v1/ledger/balances"),
    (KeyScope.LEDGER_READ, "GET", "/v1/ledger/entries"),
    (KeyScope.AUDIT_READ, "GET", "/v1/audit"),
    (KeyScope.PAYMENTS_WRITE, "POST", "/pay"),
    (KeyScope.PAYMENTS_READ, "GET", "/order"),
]


@asynccontextmanager
async def client_of(
    world: World, key: str, *, quick: bool = True, address: str = "192.0.2.7"
) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(
        create_app(world.engine, quick=quick),  # type: ignore[arg-type]
        client=(address, 4711),
    )
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://qiao", headers=headers
    ) as client:
        yield client


async def only_key(world: World) -> ApiKey:
    [key] = await api_keys(world.engine, world.scope.merchant_id)
    return key


def handlers(world: World) -> list[Any]:
    """Those that ask for a key."""
    found = {
        one.handler_name: one
        for route in create_app(world.engine).routes
        for one in getattr(route, "route_handlers", [])
        if require_key in one.resolve_guards() and one.handler_name != "options_handler"
    }
    return list(found.values())


async def test_every_handler_behind_the_guard_says_what_it_needs(world: World) -> None:
    found = handlers(world)
    assert len(found) >= len(REQUESTS)
    assert {one.handler_name for one in found if NEEDS not in one.opt} == set()


@pytest.mark.parametrize("quick", [True, False], ids=["quick", "framework"])
async def test_each_scope_opens_its_doors_and_no_others(world: World, quick: bool) -> None:
    for scope in KeyScope:
        key = await issue_api_key(world.engine, world.scope, policy=KeyPolicy.read(scopes=[scope]))
        async with client_of(world, key, quick=quick) as client:
            for needed, method, path in REQUESTS:
                body = b"{}" if method == "POST" else None
                answer = await client.request(method, path, content=body, headers=JSON)
                if needed is scope:
                    assert answer.status_code not in (401, 403), (scope, method, path)
                    continue
                assert answer.status_code == 403, (scope, method, path)
                told = answer.json()
                assert (told["code"], told["title"]) == (
                    "scope_missing",
                    f"this key lacks {needed}",
                )
                assert needed in told["remedy"]


async def test_a_handler_that_says_nothing_needs_every_scope() -> None:
    some = KeyPolicy.read(scopes=[scope.value for scope in KeyScope])
    assert not some.allows(None)
    assert KeyPolicy().allows(None)


@pytest.mark.parametrize("quick", [True, False], ids=["quick", "framework"])
async def test_a_key_ends(world: World, quick: bool) -> None:
    policy = KeyPolicy(expires_at=world.engine.now() + timedelta(hours=1))
    key = await issue_api_key(world.engine, world.scope, policy=policy)
    async with client_of(world, key, quick=quick) as client:
        assert (await client.post("/v1/payments", json=ORDER)).status_code == 201
        world.clock.pass_by(hours=1)
        refused = await client.post("/v1/payments", json={**ORDER, "order_id": "o-2"})
    assert (refused.status_code, refused.json()["code"]) == (401, "key_expired")
    assert refused.headers["www-authenticate"] == "Bearer"
    count = "SELECT count(*) FROM payment"
    assert await world.engine.database.fetch_value(count) == 1


NETWORKS = ["203.0.113.7", "198.51.100.0/24", "2001:db8:7::/48"]


@pytest.mark.parametrize("quick", [True, False], ids=["quick", "framework"])
@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("203.0.113.7", 404),
        ("203.0.113.8", 403),
        ("198.51.100.255", 404),
        ("::ffff:198.51.100.1", 404),
        ("::ffff:198.51.101.1", 403),
        ("2001:db8:7:ffff::1", 404),
        ("2001:db8:8::1", 403),
        ("", 403),
        ("a-socket", 403),
    ],
)
async def test_a_key_is_used_from_its_addresses(
    world: World, address: str, status: int, quick: bool
) -> None:
    policy = KeyPolicy.read(networks=NETWORKS)
    key = await issue_api_key(world.engine, world.scope, policy=policy)
    async with client_of(world, key, quick=quick, address=address) as client:
        answer = await client.get(f"/v1/payments/pay_{NOBODY}")
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["code"] == "address_not_allowed"


@pytest.mark.parametrize(("trusted", "status"), [("127.0.0.1", 404), (None, 403)])
async def test_behind_a_proxy_the_address_is_what_a_trusted_one_says(
    world: World, trusted: str | None, status: int
) -> None:
    key = await issue_api_key(
        world.engine, world.scope, policy=KeyPolicy.read(networks=["203.0.113.7"])
    )
    headers = {"authorization": f"Bearer {key}", "x-forwarded-for": "198.51.100.9, 203.0.113.7"}
    async with (
        serving(world.engine, listen("127.0.0.1", 0), trusted_proxies=trusted) as url,
        httpx.AsyncClient(headers=headers, trust_env=False) as client,
    ):
        answer = await client.get(f"{url}/v1/payments/pay_{NOBODY}")
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"scopes": ["payments:all"]}, "scopes"),
        ({"scopes": []}, "scopes"),
        ({"networks": ["10.0.0.1/8"]}, "allowed_addresses"),
        ({"networks": ["here"]}, "allowed_addresses"),
        ({"networks": []}, "allowed_addresses"),
        ({"networks": ["10.0.0.0/8"] * 65}, "allowed_addresses"),
    ],
)
def test_what_is_not_a_policy(given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        KeyPolicy.read(**given)
    assert refused.value.field == field


async def test_a_key_that_is_over_is_not_issued(world: World) -> None:
    policy = KeyPolicy(expires_at=world.engine.now())
    with pytest.raises(InvalidInput) as refused:
        await issue_api_key(world.engine, world.scope, policy=policy)
    assert refused.value.field == "expires_at"


async def used(world: World) -> ApiKey:
    """The only key, once its use was written."""
    while True:
        key = await only_key(world)
        if key.last_used_at is not None:
            return key
        await asyncio.sleep(0.01)


async def test_the_last_use_is_written_beside_the_request(world: World) -> None:
    key = await issue_api_key(world.engine, world.scope)
    assert (await only_key(world)).last_used_at is None
    async with asyncio.timeout(60), client_of(world, key) as client:
        before = world.engine.now()
        assert (await client.get(f"/v1/payments/pay_{NOBODY}")).status_code == 404
        first = await used(world)
        assert first.last_used_from == "192.0.2.7"
        assert first.last_used_at is not None
        assert first.last_used_at >= before
        # Within the same minute nothing more is written.
        for _ in range(5):
            await client.get(f"/v1/payments/pay_{NOBODY}")
        assert await only_key(world) == first


async def test_a_refused_use_is_none(world: World) -> None:
    policy = KeyPolicy.read(scopes=["audit:read"], networks=["203.0.113.0/24"])
    key = await issue_api_key(world.engine, world.scope, policy=policy)
    async with client_of(world, key) as client:
        assert (await client.get("/v1/audit")).status_code == 403
    async with client_of(world, key, address="203.0.113.1") as client:
        assert (await client.get("/v1/payments")).status_code == 403
        assert (await only_key(world)).last_used_at is None
        assert (await client.get("/v1/audit")).status_code == 200
        async with asyncio.timeout(60):
            assert (await used(world)).last_used_from == "203.0.113.1"


async def test_what_was_noted_is_written_before_the_server_ends(world: World) -> None:
    key = await issue_api_key(world.engine, world.scope)
    headers = {"authorization": f"Bearer {key}"}
    async with (
        serving(world.engine, listen("127.0.0.1", 0)) as url,
        httpx.AsyncClient(headers=headers, trust_env=False) as client,
    ):
        await client.get(f"{url}/v1/payments/pay_{NOBODY}")
    assert (await only_key(world)).last_used_from == "127.0.0.1"


async def status_of(world: World, key: str) -> int:
    """What a process that has not seen the key yet answers."""
    async with client_of(world, key, address="203.0.113.1") as client:
        return (await client.get(f"/v1/payments/pay_{NOBODY}")).status_code


async def test_a_key_is_rotated_with_an_overlap(world: World) -> None:
    policy = KeyPolicy.read(
        scopes=["payments:read", "audit:read"],
        expires_at=world.engine.now() + timedelta(days=90),
        networks=["203.0.113.0/24"],
    )
    old = await issue_api_key(world.engine, world.scope, policy=policy)
    was = await only_key(world)
    world.clock.pass_by(days=80)
    new = await rotate_api_key(
        world.engine, world.scope.merchant_id, was.api_key_id, overlap=timedelta(hours=24)
    )
    before, after = await api_keys(world.engine, world.scope.merchant_id)
    assert before.replaced_by == after.api_key_id
    assert (after.scopes, after.allowed_addresses, after.live) == (
        was.scopes,
        was.allowed_addresses,
        was.live,
    )
    assert after.expires_at is not None
    assert after.expires_at > world.engine.now() + timedelta(days=89)
    assert [await status_of(world, key) for key in (old, new)] == [404, 404]
    world.clock.pass_by(hours=24)
    assert [await status_of(world, key) for key in (old, new)] == [401, 404]


async def test_an_overlap_prolongs_nothing(world: World) -> None:
    ends = world.engine.now() + timedelta(hours=2)
    await issue_api_key(world.engine, world.scope, policy=KeyPolicy(expires_at=ends))
    old = await only_key(world)
    await rotate_api_key(
        world.engine, world.scope.merchant_id, old.api_key_id, overlap=timedelta(days=30)
    )
    before, _ = await api_keys(world.engine, world.scope.merchant_id)
    assert before.expires_at == old.expires_at


async def test_only_a_key_in_use_is_rotated(world: World) -> None:
    merchant_id, no_time = world.scope.merchant_id, timedelta()
    await issue_api_key(world.engine, world.scope)
    first = await only_key(world)

    async def refused(api_key_id: str, overlap: timedelta = no_time) -> str:
        with pytest.raises(InvalidInput) as error:
            await rotate_api_key(world.engine, merchant_id, api_key_id, overlap=overlap)
        assert isinstance(error.value, Conflict | Missing) or error.value.field == "overlap"
        return error.value.code

    assert await refused(first.api_key_id, timedelta(seconds=-1)) == "invalid_input"
    assert await refused(first.api_key_id, timedelta(days=31)) == "invalid_input"
    assert await refused(f"key_{NOBODY}") == "not_found"
    await rotate_api_key(world.engine, merchant_id, first.api_key_id, overlap=no_time)
    assert await refused(first.api_key_id) == "key_not_in_use"
    second = (await api_keys(world.engine, merchant_id))[1]
    await revoke_api_key(world.engine, merchant_id, second.api_key_id)
    assert await refused(second.api_key_id) == "key_not_in_use"
    assert len(await api_keys(world.engine, merchant_id)) == 2


async def test_two_at_once_rotate_once(world: World) -> None:
    await issue_api_key(world.engine, world.scope)
    key_id = (await only_key(world)).api_key_id
    done = await asyncio.gather(
        *(
            rotate_api_key(
                world.engine, world.scope.merchant_id, key_id, overlap=timedelta(hours=1)
            )
            for _ in range(4)
        ),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in done) == ["Conflict"] * 3 + ["str"]
    assert len(await api_keys(world.engine, world.scope.merchant_id)) == 2
