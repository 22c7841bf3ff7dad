"""The floor programs: the same work with the same parts, and nothing else.

An ASGI application without a framework on uvicorn (uvloop, httptools), msgspec, asyncpg, aiohttp
and cryptography. No key is checked, no input validated, no state guarded beyond the one statement:
nobody should take money with this. What Qiao does beyond it is what the ratio shows.

``python -m bench.floors``: a Setting as JSON comes in, ``{"port": …}`` goes out.
"""

import base64
import secrets
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import aiohttp
import asyncpg
import msgspec
import uvicorn
import uvloop
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from bench.statements import CREATE, SETTLE, SHOW

Scope: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]
Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]
SERVER_SETTINGS = {"timezone": "UTC", "jit": "off"}  # as Qiao's own pool


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What the floors need to know: the same database, peer and keys as Qiao's account."""

    database_url: str
    peer_url: str
    merchant_id: str
    account_id: str
    private_key: str
    platform_key: str
    api_v3_key: str
    mchid: str
    serial_no: str
    appid: str
    connections: int = 32
    """To the database."""
    port: int = 0
    """To listen on, which others of them may do too; any for 0."""


class Method(msgspec.Struct):
    """As Qiao's API takes it."""

    channel: str
    product: str


class Order(msgspec.Struct):
    """As Qiao's API takes it."""

    order_id: str
    amount: int
    description: str
    method: Method


class CodeUrl(msgspec.Struct):
    """The peer's answer to an order."""

    code_url: str


class Resource(msgspec.Struct):
    """The sealed part of a notification."""

    nonce: str
    associated_data: str
    ciphertext: str


class Envelope(msgspec.Struct):
    """A notification."""

    id: str
    resource: Resource


class Total(msgspec.Struct):
    """How much was paid, in fen."""

    total: int
    currency: str


class Transaction(msgspec.Struct):
    """What a notification's sealed part says."""

    out_trade_no: str
    transaction_id: str
    success_time: datetime
    amount: Total


class Floors:
    """One handler for each floor; each gives the status and the body of its answer."""

    def __init__(
        self, setting: Setting, pool: "asyncpg.Pool[Any]", session: aiohttp.ClientSession
    ) -> None:
        private = load_pem_private_key(setting.private_key.encode(), None)
        public = load_pem_public_key(setting.platform_key.encode())
        if not isinstance(private, RSAPrivateKey) or not isinstance(public, RSAPublicKey):
            raise TypeError("not RSA keys")
        self._private, self._public = private, public
        self._aead = AESGCM(setting.api_v3_key.encode())
        self._setting, self._pool, self._session = setting, pool, session
        self._order = msgspec.json.Decoder(Order)
        self._code_url = msgspec.json.Decoder(CodeUrl)
        self._envelope = msgspec.json.Decoder(Envelope)
        self._transaction = msgspec.json.Decoder(Transaction)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if scope["method"] == "GET":
            status, answer = await self._show(path.rpartition("/")[2])
        else:
            body = b""
            more = True
            while more:
                message = await receive()
                body += message.get("body", b"")
                more = message.get("more_body", False)
            if path.startswith("/v1"):
                status, answer = await self._create(body)
            else:
                status, answer = await self._notify(body, dict(scope["headers"]))
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(answer)).encode()),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _create(self, body: bytes) -> tuple[int, bytes]:
        order = self._order.decode(body)
        payment_id, attempt_id = f"pay_{secrets.token_hex(13)}", f"att_{secrets.token_hex(13)}"
        reference, now = attempt_id.replace("_", ""), datetime.now(UTC)
        expires_at = now + timedelta(minutes=30)
        code_url = await self._ask(order, reference, expires_at)
        action = {"type": "qr_code", "content": code_url}
        await self._pool.execute(
            CREATE,
            self._setting.merchant_id,
            payment_id,
            order.order_id,
            order.amount,
            order.description,
            secrets.token_urlsafe(24),
            expires_at,
            f"evt_{secrets.token_hex(13)}",
            attempt_id,
            self._setting.account_id,
            order.method.channel,
            order.method.product,
            reference,
            msgspec.json.encode(action).decode(),
            now,
        )
        told = {"id": payment_id, "order_id": order.order_id, "amount": order.amount}
        return 201, msgspec.json.encode({**told, "state": "open", "action": action})

    async def _ask(self, order: Order, reference: str, expires_at: datetime) -> str:
        """Sign once, and make the one call."""
        setting, path = self._setting, "/v3/pay/transactions/native"
        content = msgspec.json.encode(
            {
                "appid": setting.appid,
                "mchid": setting.mchid,
                "description": order.description,
                "out_trade_no": reference,
                "amount": {"total": order.amount, "currency": "CNY"},
                "notify_url": "https://shop.invalid/notify",
                "time_expire": expires_at.isoformat(timespec="seconds"),
            }
        )
        nonce, timestamp = secrets.token_hex(16), int(time.time())
        signed = f"POST\n{path}\n{timestamp}\n{nonce}\n".encode() + content + b"\n"
        signature = base64.b64encode(
            self._private.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        ).decode()
        authorization = (
            f'WECHATPAY2-SHA256-RSA2048 mchid="{setting.mchid}",nonce_str="{nonce}",'
            f'timestamp="{timestamp}",serial_no="{setting.serial_no}",signature="{signature}"'
        )
        headers = {"authorization": authorization, "content-type": "application/json"}
        url = setting.peer_url + path
        async with self._session.post(url, data=content, headers=headers) as answer:
            return self._code_url.decode(await answer.read()).code_url

    async def _notify(self, body: bytes, headers: dict[bytes, bytes]) -> tuple[int, bytes]:
        signed = headers[b"wechatpay-timestamp"] + b"\n" + headers[b"wechatpay-nonce"] + b"\n"
        signature = base64.b64decode(headers[b"wechatpay-signature"])
        self._public.verify(signature, signed + body + b"\n", padding.PKCS1v15(), hashes.SHA256())
        envelope = self._envelope.decode(body)
        sealed = envelope.resource
        plain = self._aead.decrypt(
            sealed.nonce.encode(),
            base64.b64decode(sealed.ciphertext),
            sealed.associated_data.encode(),
        )
        told = self._transaction.decode(plain)
        paid = await self._pool.fetchval(
            SETTLE,
            self._setting.merchant_id,
            told.out_trade_no,
            told.amount.total,
            told.amount.currency,
            told.transaction_id,
            told.success_time,
            f"evt_{secrets.token_hex(13)}",
            self._setting.account_id,
            envelope.id,
        )
        return (204, b"") if paid else (400, b"")

    async def _show(self, payment_id: str) -> tuple[int, bytes]:
        row = await self._pool.fetchrow(SHOW, self._setting.merchant_id, payment_id)
        if row is None:
            return 404, b""
        shown = dict(row.items())
        shown["metadata"] = msgspec.Raw(row["metadata"].encode())
        shown["attempts"] = msgspec.Raw(row["attempts"].encode())
        shown["refunds"] = msgspec.Raw(row["refunds"].encode())
        return 200, msgspec.json.encode(shown)


async def _keep(_: object) -> None:
    """Instead of asyncpg's reset, as in Qiao's own pool."""


async def main(setting: Setting) -> None:
    listener = socket.socket()
    if setting.port:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", setting.port))
    listener.listen(2048)
    async with (
        asyncpg.create_pool(
            setting.database_url,
            min_size=setting.connections,
            max_size=setting.connections,
            reset=_keep,
            server_settings=SERVER_SETTINGS,
        ) as pool,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=256)) as session,
    ):
        config = uvicorn.Config(
            Floors(setting, pool, session),
            http="httptools",
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
        )
        hello = {"port": listener.getsockname()[1]}
        sys.stdout.write(msgspec.json.encode(hello).decode() + "\n")
        sys.stdout.flush()
        await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    uvloop.run(main(msgspec.json.decode(sys.stdin.buffer.readline(), type=Setting)))
