"""``qiao listen`` against a server that restarts, and events that commit late."""

import asyncio
import json
import socket
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from standardwebhooks import Webhook

from qiao.domain.ids import IdKind, new_id

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Stay = Callable[..., Any]
PATIENCE_SECONDS = 240


@pytest.fixture
def access(run: Run, server: str) -> dict[str, str]:
    merchant = json.loads(run("merchant", "add", "茶馆", "--json").stdout)["merchant_id"]
    key = json.loads(run("key", "issue", merchant, "--json").stdout)["api_key"]
    return {"QIAO_URL": server, "QIAO_API_KEY": key}


def ask(access: dict[str, str], method: str, path: str, **more: Any) -> Any:
    headers = {"authorization": f"Bearer {access['QIAO_API_KEY']}"}
    url = access["QIAO_URL"] + path
    answer = httpx.request(method, url, headers=headers, trust_env=False, timeout=30, **more)
    assert answer.is_success, answer.text
    return answer.json()


def order(access: dict[str, str], number: str) -> Any:
    body = {"order_id": number, "amount": 1250, "description": "tea"}
    return ask(access, "POST", "/v1/payments", json=body)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():
            await asyncio.sleep(0.05)


async def test_the_bytes_and_the_signature_are_those_of_a_webhook(
    stay: Stay, access: dict[str, str], handler: Any
) -> None:
    order(access, "before")
    real = ask(access, "POST", "/v1/webhook_endpoints", json={"url": handler.url})
    listening = stay("listen", "--forward-to", handler.url, "--json", **access)
    payment = order(access, "o-1")
    line = listening.next_document()
    assert (line["type"], line["payment_id"]) == ("payment.created", payment["id"])
    assert (line["status"], line["error"]) == (204, None)
    await until(lambda: len(handler.received) == 2)
    secrets = {real["secret"], listening.document["secret"]}
    assert len({body for _, body in handler.received}) == 1
    verified = {
        secret
        for headers, body in handler.received
        for secret in secrets
        if _verifies(secret, headers, body)
    }
    assert verified == secrets
    assert json.loads(handler.received[0][1])["data"]["id"] == payment["id"]


def _verifies(secret: str, headers: dict[str, str], body: bytes) -> bool:
    try:
        Webhook(secret).verify(body, headers)
    except Exception:  # noqa: BLE001 - whatever it says, it does not verify
        return False
    return True


async def test_a_restart_of_the_server_loses_nothing(stay: Stay, run: Run, handler: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    serving = stay("serve", "--port", port, "--json")
    merchant = json.loads(run("merchant", "add", "茶馆", "--json").stdout)["merchant_id"]
    key = json.loads(run("key", "issue", merchant, "--json").stdout)["api_key"]
    access = {"QIAO_URL": f"http://127.0.0.1:{port}", "QIAO_API_KEY": key}
    listening = stay("listen", "--forward-to", handler.url, "--json", **access)
    first = order(access, "o-1")
    assert listening.next_document()["payment_id"] == first["id"]
    assert serving.stop() == 0
    other = {**access, "QIAO_URL": stay("serve", "--port", "0", "--json").document["url"]}
    while_away = order(other, "o-2")
    stay("serve", "--port", port, "--json")
    assert listening.next_document()["payment_id"] == while_away["id"]
    assert handler.types == ["payment.created"] * 2


async def test_an_event_that_commits_late_is_not_missed(
    stay: Stay, access: dict[str, str], handler: Any, postgres_url: str
) -> None:
    old = order(access, "o-1")
    stay("listen", "--forward-to", handler.url, "--json", **access)
    late = new_id(IdKind.EVENT, now=datetime.now(UTC) - timedelta(seconds=30), random=bytes(10))
    connection = await asyncpg.connect(postgres_url)
    try:
        async with connection.transaction():
            await connection.execute(
                "INSERT INTO event (merchant_id, event_id, live, payment_id, type, data)"
                " SELECT merchant_id, $2, live, payment_id, 'payment.surplus', '{}'"
                " FROM payment WHERE payment_id = $1",
                old["id"],
                late,
            )
            order(access, "o-2")
            await until(lambda: len(handler.received) == 1)
            assert json.loads(handler.received[0][1])["id"] > late
    finally:
        await connection.close()
    await until(lambda: len(handler.received) == 2)
    assert json.loads(handler.received[1][1])["id"] == late
    order(access, "o-3")
    await until(lambda: len(handler.received) == 3)
    assert handler.types == ["payment.created", "payment.surplus", "payment.created"]


async def test_only_some_events_and_whatever_the_handler_says(
    stay: Stay, access: dict[str, str], handler: Any
) -> None:
    handler.status = 500
    arguments = ("--forward-to", handler.url, "--events", "payment.closed", "--json")
    listening = stay("listen", *arguments, **access)
    payment = order(access, "o-1")
    ask(access, "POST", f"/v1/payments/{payment['id']}/close")
    line = listening.next_document()
    assert (line["type"], line["status"]) == ("payment.closed", 500)
    assert handler.types == ["payment.closed"]
    assert listening.stop() == 0
    again = stay("listen", *arguments, "--after", line["event_id"], **access)
    assert again.document["secret"] == listening.document["secret"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--forward-to", "localhost:3000"], "forward-to"),
        (["--forward-to", "http://["], "forward-to"),
        (["--forward-to", "http://x", "--events", "payment.lost"], "choose from: agreement.active"),
        (["--forward-to", "http://x", "--after", "pay_1"], "after"),
        ([], "forward-to"),
    ],
)
def test_wrong_input(run: Run, arguments: list[str], said: str) -> None:
    done = run("listen", *arguments, QIAO_API_KEY="x", QIAO_URL="http://127.0.0.1:1")
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_key(run: Run, server: str) -> None:
    done = run("listen", "--forward-to", "http://x", QIAO_URL=server, QIAO_API_KEY="sk_test_no")
    assert done.returncode == 2
    assert "unknown or revoked" in done.stderr
