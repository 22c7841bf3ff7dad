"""The unattended story: five payments, each with an end that is known beforehand."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from qiao.demo.world import World
from qiao.simulators.kit.faults import Fault, FaultKind

PATIENCE_SECONDS: Final = 60.0
LOST_ANSWER, LATE_SUCCESS = 50001, 50008


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """What was tried and what came of it."""

    title: str
    expected: str
    happened: str

    @property
    def went_well(self) -> bool:
        return self.happened == self.expected


class _TookTooLong(Exception):
    pass


async def tell_story(world: World) -> list[Chapter]:
    """Every chapter, in order; none stops the others."""
    paid: dict[str, Any] = {}
    alipay, wechat = world.alipay, world.wechat

    async def by_qr(channel: str, base_url: str) -> str:
        method = {"channel": channel, "product": "qr"}
        payment = await world.shop.sell(1250, "一杯绿茶 A cup of green tea", method=method)
        paid.update(payment)
        await _visit(payment["attempts"][0]["action"]["content"])
        await _approve(base_url, payment)
        await _event(world, "payment.paid", payment["id"])
        return str((await _state(world, payment))["state"])

    async def by_code(channel: str, code: str) -> str:
        payment = await _code_payment(world, 8800, channel, code)
        await _event(world, "payment.paid", payment["id"])
        return str(payment["state"])

    async def refunded_in_part() -> str:
        path = f"/v1/payments/{paid['id']}/refunds"
        given = await world.shop.ask("POST", path, {"amount": 300, "reason": "cold tea"})
        await _event(world, "refund.succeeded", paid["id"], refund_id=given["id"])
        now = await _state(world, paid)
        return f"{now['state']}, {now['refunded']} of {now['captured']} refunded"

    async def lost_answer() -> str:
        # No notification either: only asking finds out.
        alipay.faults.add(Fault(kind=FaultKind.DROP_NOTIFICATION))
        payment = await _code_payment(world, LOST_ANSWER, "alipay", alipay.book.new_code())
        first = payment["attempts"][0]["state"]
        await _event(world, "payment.paid", payment["id"])
        now = await _state(world, payment)
        return f"{first}, then {now['state']}"

    async def late_success() -> str:
        method = {"channel": "alipay", "product": "qr"}
        payment = await world.shop.sell(LATE_SUCCESS, "普洱茶 Pu'er tea", method=method)
        await _visit(payment["attempts"][0]["action"]["content"])
        await world.shop.ask("POST", f"/v1/payments/{payment['id']}/close")
        await _event(world, "payment.surplus", payment["id"])
        await _event(world, "refund.succeeded", payment["id"])
        now = await _state(world, payment)
        left = LATE_SUCCESS - sum(one["amount"] for one in now["refunds"])
        return f"{now['state']}, {left} kept"

    return [
        await _chapter("Alipay: QR code", "paid", lambda: by_qr("alipay", alipay.base_url)),
        await _chapter("WeChat Pay: QR code", "paid", lambda: by_qr("wechat", wechat.base_url)),
        await _chapter(
            "Alipay: payment code", "paid", lambda: by_code("alipay", alipay.book.new_code())
        ),
        await _chapter(
            "WeChat Pay: payment code", "paid", lambda: by_code("wechat", wechat.book.new_code())
        ),
        await _chapter("refunded in part", "paid, 300 of 1250 refunded", refunded_in_part),
        await _chapter("answer lost, found by asking", "unknown, then paid", lost_answer),
        await _chapter("money after closing, given back", "closed, 0 kept", late_success),
    ]


async def _chapter(title: str, expected: str, work: Callable[[], Awaitable[str]]) -> Chapter:
    try:
        happened = await work()
    except _TookTooLong as error:
        happened = f"waited in vain for {error}"
    except (aiohttp.ClientError, KeyError, IndexError) as error:
        happened = f"{type(error).__name__}: {error}"
    return Chapter(title=title, expected=expected, happened=happened)


async def _code_payment(world: World, minor: int, channel: str, code: str) -> Any:
    method = {"channel": channel, "product": "code", "auth_code": code}
    return await world.shop.sell(minor, "普洱茶 Pu'er tea", method=method)


async def _state(world: World, payment: dict[str, Any]) -> Any:
    return await world.shop.ask("GET", f"/v1/payments/{payment['id']}")


async def _visit(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        answer.raise_for_status()


async def _approve(base_url: str, payment: dict[str, Any]) -> None:
    number = payment["attempts"][0]["reference"]
    url = f"{base_url}/_control/payments/{number}/approve"
    async with aiohttp.ClientSession() as session, session.post(url) as answer:
        answer.raise_for_status()


async def _event(
    world: World, kind: str, payment_id: str, *, refund_id: str | None = None
) -> dict[str, Any]:
    """Wait until the shop has been told."""

    def told() -> dict[str, Any] | None:
        for event in world.shop.events:
            data = event["data"]
            about = data["id"] if data["object"] == "payment" else data["payment_id"]
            if (event["type"], about) == (kind, payment_id) and refund_id in (None, data["id"]):
                return event
        return None

    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (event := told()) is None:
                world.shop.arrived.clear()
                await world.shop.arrived.wait()
            return event
    except TimeoutError:
        raise _TookTooLong(kind) from None
