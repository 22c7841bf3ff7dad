"""``kill -9`` of server and worker at random moments while 200 payments run: nothing is lost,
nothing happens twice, and every webhook arrives.
"""

import asyncio
import os
import random
from pathlib import Path

import pytest

from tests.crash.live import Live, live

PAYMENTS = 200
"""At least so many; more, for as long as the killing goes on."""
KILLS = int(os.environ.get("QIAO_TEST_KILLS", "8"))


@pytest.mark.parametrize("seed", [20261124])
async def test_nothing_is_lost_and_nothing_doubled(
    seed: int, tmp_path: Path, postgres_url: str
) -> None:
    async with live(tmp_path, postgres_url) as platform:
        await platform.buy_while(_kill(platform, random.Random(seed)), at_least=PAYMENTS)
        payments, events = await platform.end()
    assert payments >= PAYMENTS
    print(f"{KILLS} kills, {payments} payments, {events} events: nothing lost or doubled")


async def _kill(platform: Live, chance: random.Random) -> None:
    for _ in range(KILLS):
        await asyncio.sleep(chance.uniform(0.4, 2.5))
        victim = chance.choice([platform.server, platform.worker])
        await victim.kill()
        await victim.start()
