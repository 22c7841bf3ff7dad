"""The floor of webhook delivery, a process of its own: a bare HTTP client that posts one body.

``python -m bench.sender``: reads how many to post from standard input, a line each time, and
answers each line when they are posted.
"""

import asyncio
import sys
from collections.abc import Iterator
from itertools import repeat

import aiohttp
import msgspec
import uvloop


async def post(session: aiohttp.ClientSession, url: str, body: bytes, left: Iterator[None]) -> None:
    headers = {
        "content-type": "application/json",
        "webhook-id": "evt_00000000000000000000000000",
        "webhook-timestamp": "0",
        "webhook-signature": "v1,",
    }
    for _ in left:
        async with session.post(url, data=body, headers=headers) as answer:
            await answer.read()


async def main(url: str, concurrency: int) -> None:
    body = msgspec.json.encode({"id": "evt", "type": "payment.created", "data": "x" * 600})
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector) as session:
        print("{}", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            left = repeat(None, int(line))
            await asyncio.gather(*(post(session, url, body, left) for _ in range(concurrency)))
            print("{}", flush=True)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
