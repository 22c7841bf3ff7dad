"""Schemathesis asks everything that the OpenAPI document admits, and much that it does not."""

import asyncio
import sys
from datetime import date
from pathlib import Path

import httpx

from qiao.testing.world import World

EXAMPLES = 25


async def test_the_api_is_what_its_schema_says(
    world: World, api: httpx.AsyncClient, base_url: str, tmp_path: Path
) -> None:
    for number in range(3):  # something to find
        body = {"order_id": f"s-{number}", "amount": 1000, "description": "tea"}
        await api.post("/v1/payments", json=body)
    agreement = {
        "number": "s",
        "channel": "bank",
        "max_amount": 1000,
        "period": {"unit": "month"},
        "first_charge_on": date.today().isoformat(),  # noqa: DTZ011 - yesterday would do, too
        "display_name": "member",
    }
    assert (await api.post("/v1/agreements", json=agreement)).status_code == 201
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        f"{base_url}/v1/openapi.json",
        "--header",
        f"Authorization: {api.headers['authorization']}",
        "--max-examples",
        str(EXAMPLES),
        "--seed",
        "1",
        "--generation-database",
        "none",
        "--exclude-checks",
        # A schema cannot say that an id must be known, an address be absolute, a channel be there,
        # and every such refusal has its own test; OPTIONS is answered by the framework for one
        # handler of a path at a time.
        "positive_data_acceptance,allow_header_conformance",
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()[-8000:]
    assert not await world.engine.database.fetch_value("SELECT count(*) FROM payment WHERE live")
