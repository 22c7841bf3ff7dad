"""The other side, a process of its own: WeChat Pay's answer to a native order, and a webhook.

It stands for the simulator, which verifies and signs each time and would be the bottleneck on
two cores. WeChat Pay's signature is over a time, a nonce and the body alone, so one answer serves
every order, signed anew each second by the simulator's own codec. Qiao verifies it each time.

``python -m bench.peer CREDENTIALS``: prints ``{"port": …}`` once it listens.
"""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

import msgspec
import uvloop

from bench.wire import Server
from qiao.simulators.wechat.codec import Codec
from qiao.simulators.wechat.credentials import Credentials

BODY = b'{"code_url":"weixin://wxpay/bizpayurl?pr=bench"}'
TAKEN = b"HTTP/1.1 204 No Content\r\n\r\n"


class Peer:
    """Answers, and counts what came to the webhook since it was told to forget."""

    def __init__(self, credentials: Credentials) -> None:
        self._codec = Codec(credentials)
        self._merchant = credentials.merchants["ordinary"]
        self._arrivals: list[float] = []
        self.order = b""
        self.sign()

    def sign(self) -> None:
        headers = self._codec.headers(self._merchant, BODY, datetime.now(UTC))
        self.order = _answer({**headers, "Content-Type": "application/json"}, BODY)

    def __call__(self, line: bytes) -> bytes:
        if line.startswith(b"POST /webhook"):
            self._arrivals.append(perf_counter())
            return TAKEN
        if line.startswith(b"GET /arrivals"):
            return self._tell()
        if line.startswith(b"POST /forget"):
            self._arrivals = []
            return TAKEN
        return self.order

    def _tell(self) -> bytes:
        """How many came since the first of them, and in how many seconds."""
        arrivals = self._arrivals
        seconds = arrivals[-1] - arrivals[0] if arrivals else 0.0
        return _answer({}, msgspec.json.encode({"count": len(arrivals), "seconds": seconds}))


def _answer(headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join(["HTTP/1.1 200 OK", *lines, f"Content-Length: {len(body)}", "", ""])
    return head.encode("latin-1") + body


async def main(path: str) -> None:
    credentials = Credentials.from_json(await asyncio.to_thread(Path(path).read_bytes))
    peer = Peer(credentials)
    server = await asyncio.get_running_loop().create_server(
        lambda: Server(peer), "127.0.0.1", 0, backlog=512
    )
    hello = {"port": server.sockets[0].getsockname()[1]}
    sys.stdout.write(msgspec.json.encode(hello).decode() + "\n")
    sys.stdout.flush()
    while True:
        await asyncio.sleep(1)
        peer.sign()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
