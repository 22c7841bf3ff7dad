"""The load generator, a process of its own: reads what to ask from standard input, tells how long.

``python -m bench.load``: a Load as JSON comes in, a Told as JSON goes out.
"""

import asyncio
import sys
from collections import Counter
from time import perf_counter

import msgspec
import uvloop

from bench.wire import Client


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """Whole requests, each sent once, over as many connections as ``concurrency`` says.

    Each goes when the answer to the one before is there; and, with ``per_second``, not earlier than
    its share of that rate allows.
    """

    port: int
    concurrency: int
    requests: list[str]
    per_second: float | None = None


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """How long it took in all, how long each answer took, and which statuses came how often.

    ``refusals`` is how long those took that were a 503.
    """

    seconds: float
    latencies: list[float]
    statuses: dict[int, int]
    refusals: list[float]


async def run(load: Load) -> Told:
    loop = asyncio.get_running_loop()
    requests = iter([request.encode("latin-1") for request in load.requests])
    begun = perf_counter()
    clients: list[Client] = []
    endings: list[asyncio.Future[None]] = []
    every = load.concurrency / load.per_second if load.per_second else 0.0
    for number in range(load.concurrency):
        ending: asyncio.Future[None] = loop.create_future()
        client = Client(requests, ending, every_seconds=every, phase=number / load.concurrency)
        await loop.create_connection(lambda client=client: client, "127.0.0.1", load.port)  # type: ignore[misc]
        clients.append(client)
        endings.append(ending)
    await asyncio.gather(*endings)
    return Told(
        seconds=perf_counter() - begun,
        latencies=sorted(second for client in clients for second in client.seconds),
        statuses=dict(Counter(status for client in clients for status in client.statuses)),
        refusals=sorted(
            second
            for client in clients
            for second, status in zip(client.seconds, client.statuses, strict=True)
            if status == 503
        ),
    )


if __name__ == "__main__":
    told = uvloop.run(run(msgspec.json.decode(sys.stdin.buffer.read(), type=Load)))
    sys.stdout.buffer.write(msgspec.json.encode(told))
