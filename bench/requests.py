"""The requests of each measurement, whole, made before the clock starts."""

import json
from datetime import UTC, datetime

import msgspec

from bench.statements import PENDING
from bench.world import World, fresh
from qiao.domain.ids import IdKind, order_number
from qiao.simulators.wechat.book import china_time


def creates(world: World, count: int) -> list[str]:
    """Orders with a method, each new."""
    return [
        _request(
            "POST /v1/payments",
            {"authorization": f"Bearer {world.api_key}", "content-type": "application/json"},
            msgspec.json.encode(
                {
                    "order_id": fresh("order"),
                    "amount": 1000,
                    "description": "茶 tea",
                    "method": {"channel": "wechat", "product": "qr"},
                }
            ),
        )
        for _ in range(count)
    ]


async def notifications(world: World, count: int) -> list[str]:
    """Signed successes, each of another payment that waits for it."""
    attempts = await pending(world, count)
    merchant = world.credentials.merchants["ordinary"]
    now = datetime.now(UTC)
    path = f"POST /notify/{world.scope.merchant_id}/{world.account_id}"
    requests = []
    for attempt_id in attempts.values():
        told = {
            "mchid": merchant.mchid,
            "appid": merchant.appid,
            "out_trade_no": order_number(attempt_id),
            "transaction_id": fresh("4200"),
            "trade_type": "NATIVE",
            "trade_state": "SUCCESS",
            "bank_type": "OTHERS",
            "success_time": china_time(now),
            "payer": {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
            "amount": {"total": 1000, "payer_total": 1000, "currency": "CNY"},
        }
        envelope = {
            "id": fresh("EV"),
            "create_time": china_time(now),
            "resource_type": "encrypt-resource",
            "event_type": "TRANSACTION.SUCCESS",
            "summary": "paid",
            "resource": {
                "original_type": "transaction",
                **world.codec.seal(merchant, json.dumps(told).encode(), "transaction"),
            },
        }
        body = json.dumps(envelope).encode()
        headers = world.codec.headers(merchant, body, now)
        requests.append(_request(path, {**headers, "content-type": "application/json"}, body))
    return requests


async def queries(world: World, count: int) -> list[str]:
    """Questions, each about another payment."""
    headers = {"authorization": f"Bearer {world.api_key}"}
    return [
        _request(f"GET /v1/payments/{payment_id}", headers, b"")
        for payment_id in await pending(world, count)
    ]


async def pending(world: World, count: int) -> dict[str, str]:
    """New payments that wait for their customer: the ids of their attempts by their own."""
    new_id = world.engine.new_id
    made = {new_id(IdKind.PAYMENT): new_id(IdKind.ATTEMPT) for _ in range(count)}
    await world.engine.database.execute(
        PENDING, world.scope.merchant_id, world.account_id, list(made), list(made.values())
    )
    return made


def _request(line: str, headers: dict[str, str], body: bytes) -> str:
    lines = [f"{name}: {value}" for name, value in headers.items()]
    length = [f"content-length: {len(body)}"] if body else []
    head = "\r\n".join([f"{line} HTTP/1.1", "host: bench", *lines, *length, "", ""])
    return head + body.decode("latin-1")
