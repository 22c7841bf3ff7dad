"""What is known of a request: its id, its line in the log, its metrics; and the probes."""

import asyncio

import httpx
import pytest
import structlog
import uvicorn
from structlog.testing import capture_logs

from qiao.store.database import Database
from qiao.telemetry import metrics
from qiao.telemetry.redaction import redact_text
from qiao.testing.world import World
from qiao.web.app import create_app
from qiao.web.health import Readiness, create_operators_app
from qiao.web.observed import read_request_id


def counted(route: str, method: str, status: int) -> float:
    labels = {"route": route, "method": method, "status": str(status)}
    return metrics.REGISTRY.get_sample_value("qiao_http_requests_total", labels) or 0.0


@pytest.mark.parametrize("given", ["order-4711.a_b", "0" * 64])
async def test_a_sane_request_id_comes_back(api: httpx.AsyncClient, given: str) -> None:
    answer = await api.get("/v1/payments", headers={"x-request-id": given})
    assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize("given", [b"short", b"x" * 65, b"with space", b"semi;colon", b"\xff" * 9])
def test_another_gets_a_new_one(given: bytes) -> None:
    made = read_request_id(given)
    assert len(made) == 32
    assert made != read_request_id(None)


def test_a_new_one_is_never_taken_for_somebodys_number() -> None:
    made = [read_request_id(None) for _ in range(2000)]  # of hexadecimal ones, some ten would be
    assert [redact_text(one) for one in made] == made


async def test_every_answer_is_counted_by_its_route(
    api: httpx.AsyncClient, base_url: str, world: World
) -> None:
    payment = await world.accept()
    route = "/v1/payments/{payment_id}"
    before = [counted(route, "GET", 200), counted(metrics.NONE, "GET", 404)]
    assert (await api.get(f"/v1/payments/{payment.payment_id}")).status_code == 200
    assert (await api.get(f"/nowhere/{payment.payment_id}")).status_code == 404
    after = [counted(route, "GET", 200), counted(metrics.NONE, "GET", 404)]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1]
    assert payment.payment_id not in metrics.exposition().decode()
    assert world.scope.merchant_id not in metrics.exposition().decode()


async def test_a_line_for_each_request_without_its_path(
    api: httpx.AsyncClient, world: World
) -> None:
    payment = await world.accept()
    address = f"/cashier/{payment.merchant_id}/{payment.payment_id}/{payment.cashier_token}"
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        answer = await api.get(address, headers={"x-request-id": "cashier-1"})
    assert answer.status_code == 200
    [line] = [one for one in logs if one["event"] == "request"]
    assert line.pop("milliseconds") > 0
    assert line == {
        "event": "request",
        "log_level": "info",
        "request_id": "cashier-1",
        "route": "/cashier/{merchant_id}/{payment_id}/{token}",
        "method": "GET",
        "status": 200,
    }
    assert payment.cashier_token not in str(logs)


async def test_metrics_are_not_at_the_public_doors(api: httpx.AsyncClient) -> None:
    assert (await api.get("/metrics")).status_code == 404


async def test_the_operators_listener(world: World) -> None:
    async with operators(Readiness(world.engine)) as client:
        shown = await client.get("/metrics")
        assert shown.headers["content-type"] == metrics.CONTENT_TYPE
        assert "qiao_database_connections{" in shown.text
        assert (await client.get("/livez")).json() == {"status": "ok"}
        assert (await client.get("/readyz")).json() == {"status": "ok"}
        assert (await client.get("/v1/payments")).status_code == 404


async def test_ready_says_which_check_failed(world: World, database: Database) -> None:
    await database.execute("UPDATE alembic_version SET version_num = '0001'")
    async with operators(Readiness(world.engine)) as client:
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["failed"]) == (503, ["schema"])
        assert "qiao db migrate" in answer.json()["checks"]["schema"]
    await database.execute("UPDATE alembic_version SET version_num = '9999'")
    async with operators(Readiness(world.engine)) as client:
        assert (await client.get("/readyz")).status_code == 200


async def test_alive_without_a_database_and_not_ready(world: World, database: Database) -> None:
    readiness = Readiness(world.engine)
    await database._pool.close()
    async with operators(readiness) as client:
        assert (await client.get("/livez")).status_code == 200
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["failed"]) == (503, ["database", "schema"])


async def test_ready_fails_first_at_the_end(world: World) -> None:
    readiness = Readiness(world.engine)
    async with running(create_app(world.engine, readiness)) as client:
        assert (await client.get("/readyz")).status_code == 200
        readiness.stop()
        answer = await client.get("/health")
        assert (answer.status_code, answer.json()["failed"][0]) == (503, "process")
        assert (await client.get("/livez")).status_code == 200
        assert (await client.get("/docs")).status_code == 200  # it still serves


def operators(readiness: Readiness) -> "running":
    return running(create_operators_app(readiness))


class running:  # noqa: N801 - reads as what it does
    """An application on a free port, and a client of it."""

    def __init__(self, app: object) -> None:
        config = uvicorn.Config(app, port=0, log_config=None, ws="none")  # type: ignore[arg-type]
        self.server = uvicorn.Server(config)

    async def __aenter__(self) -> httpx.AsyncClient:
        self.task = asyncio.create_task(self.server.serve())
        while not self.server.started:
            await asyncio.sleep(0.01)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False)
        return self.client

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()
        self.server.should_exit = True
        await self.task


async def test_the_audit_log_through_the_door(
    api: httpx.AsyncClient, live_api: httpx.AsyncClient, world: World
) -> None:
    payment = await world.accept()
    await api.post(f"/v1/payments/{payment.payment_id}/close")
    found = (await api.get("/v1/audit", params={"limit": 1})).json()
    [row] = found["data"]
    assert found["has_more"] is True
    assert (row["action"], row["subject_id"]) == ("payment.close_asked", payment.payment_id)
    assert (row["actor"], row["origin"]) == ("api_key", "127.0.0.1")
    assert row["actor_id"].startswith("key_")
    older = (await api.get("/v1/audit", params={"before": row["sequence"]})).json()["data"]
    assert [one["sequence"] for one in older] == sorted(
        (one["sequence"] for one in older), reverse=True
    )
    theirs = (await live_api.get("/v1/audit")).json()["data"]
    assert {one["live"] for one in theirs} == {True, None}
