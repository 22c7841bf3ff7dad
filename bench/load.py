"""The load generator, a process of its own: reads what to ask from standard input, tells how long.

``python -m bench.load``: a Load as JSON comes in, a Told as JSON goes out.
"""

import asyncio
import sys
from collections import Counter
from itertools import repeat
from time import perf_counter

import msgspec
import uvloop

from bench.wire import Client


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """Whole requests, each sent once, over as many connections as ``concurrency`` says."""

    port: int
    concurrency: int
    requests: list[str]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """How long it took in all, how long each answer took, and which statuses came how often."""

    seconds: float
    latencies: list[float]
    statuses: dict[int, int]


async def run(load: Load) -> Told:
    loop = asyncio.get_running_loop()
    requests = iter([request.encode("latin-1") for request in load.requests])
    begun = perf_counter()
    clients: list[Client] = []
    endings: list[asyncio.Future[None]] = []
    for _ in repeat(None, load.concurrency):
        ending: asyncio.Future[None] = loop.create_future()
        client = Client(requests, ending)
        await loop.create_connection(lambda client=client: client, "127.0.0.1", load.port)  # type: ignore[misc]
        clients.append(client)
        endings.append(ending)
    await asyncio.gather(*endings)
    return Told(
        seconds=perf_counter() - begun,
        latencies=sorted(second for client in clients for second in client.seconds),
        statuses=dict(Counter(status for client in clients for status in client.statuses)),
    )


if __name__ == "__main__":
    told = uvloop.run(run(msgspec.json.decode(sys.stdin.buffer.read(), type=Load)))
    sys.stdout.buffer.write(msgspec.json.encode(told))
