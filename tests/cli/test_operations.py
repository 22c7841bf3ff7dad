"""What operators use, as programs: metrics, probes, logs, traces, ``qiao audit``, ``qiao top``."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import IO, Any

import asyncpg
import httpx
import pytest

QIAO = [sys.executable, "-c", "from qiao.cli.main import main; main()"]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(tmp_path: Path, postgres_url: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {**kept, "QIAO_HOME": str(tmp_path), "QIAO_DATABASE_URL": postgres_url, "COLUMNS": "100"}


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    def run(*arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*QIAO, *arguments],
            env={**environment, **more},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@contextmanager
def process(
    environment: dict[str, str], errors: IO[str], *arguments: str, ends_with: int = 0
) -> Iterator["subprocess.Popen[str]"]:
    started = subprocess.Popen(
        [*QIAO, *arguments], env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
    )
    try:
        yield started
    finally:
        started.terminate()
        assert started.wait(timeout=60) == ends_with
        assert started.stdout is not None
        started.stdout.close()


def read_json(started: "subprocess.Popen[str]") -> Any:
    assert started.stdout is not None
    text = ""
    while not text.endswith("}\n"):
        line = started.stdout.readline()
        assert line, "it ended before it served"
        text += line
    return json.loads(text)


@contextmanager
def collector() -> Iterator[tuple[str, list[str]]]:
    """What a collector of traces is to an exporter: its URL, and the paths that were posted to."""
    got: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            got.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", got
        finally:
            server.shutdown()
            thread.join()


def test_a_server_is_watched_and_says_that_it_is_going(
    environment: dict[str, str], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with collector() as (collecting, _), log.open("w") as errors:
        watched = {
            **environment,
            "QIAO_LOG": "info",
            "QIAO_METRICS_PORT": "0",
            "QIAO_DRAIN_SECONDS": "300",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collecting,
        }
        serving = process(
            watched, errors, "serve", "--port", "0", "--json", ends_with=-signal.SIGTERM
        )
        with serving as server:
            told = read_json(server)
            client = httpx.Client(trust_env=False, headers={"x-request-id": "asked-for-4711"})
            assert client.get(f"{told['url']}/readyz").status_code == 200
            assert client.get(f"{told['url']}/v1/payments").status_code == 401
            shown = client.get(f"{told['metrics_url']}/metrics").text
            assert (
                'qiao_http_requests_total{method="GET",route="/v1/payments",status="401"}' in shown
            )
            assert "qiao_snapshot_timestamp_seconds" in shown
            server.send_signal(signal.SIGTERM)
            wait_until(lambda: client.get(f"{told['url']}/readyz").status_code == 503)
            assert client.get(f"{told['metrics_url']}/readyz").json()["failed"][0] == "process"
            assert client.get(f"{told['url']}/livez").status_code == 200
            client.close()
            server.send_signal(signal.SIGTERM)  # a second one does not wait for drain_seconds
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    [line] = [one for one in lines if one.get("route") == "/v1/payments"]
    assert (line["request_id"], line["status"], line["level"]) == ("asked-for-4711", 401, "info")
    assert len(line["trace_id"]) == 32


def test_traces_are_sent_before_it_ends(environment: dict[str, str], tmp_path: Path) -> None:
    with collector() as (collecting, got):
        traced = {**environment, "OTEL_EXPORTER_OTLP_ENDPOINT": collecting}
        with (
            (tmp_path / "log").open("w") as errors,
            process(traced, errors, "serve", "--port", "0", "--json") as server,
        ):
            httpx.get(f"{read_json(server)['url']}/livez", trust_env=False)
        assert set(got) == {"/v1/traces"}


def test_a_worker_has_metrics_and_probes_too(environment: dict[str, str], tmp_path: Path) -> None:
    with (
        (tmp_path / "log").open("w") as errors,
        process(environment, errors, "worker", "--metrics-port", "0") as worker,
    ):
        assert worker.stdout is not None
        url = worker.stdout.readline().split()[-1]
        assert httpx.get(f"{url}/readyz", trust_env=False).json() == {"status": "ok"}

        def snapshot_taken() -> bool:
            text = httpx.get(f"{url}/metrics", trust_env=False).text
            return "qiao_snapshot_timestamp_seconds 0.0" not in text

        wait_until(snapshot_taken)


def wait_until(condition: Callable[[], bool]) -> None:
    async def wait() -> None:
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.05)

    asyncio.run(wait())


def test_the_audit_log_is_listed_proven_and_a_forgery_is_named(
    run: Run, environment: dict[str, str]
) -> None:
    merchant = json.loads(run("merchant", "add", "茶馆", "--json").stdout)["merchant_id"]
    run("key", "issue", merchant)
    [key] = json.loads(run("key", "list", merchant, "--json").stdout)
    assert run("key", "revoke", merchant, key["api_key_id"]).returncode == 0
    found = json.loads(run("audit", "list", merchant, "--json").stdout)
    assert [one["action"] for one in found] == [
        "api_key.revoked",
        "api_key.issued",
        "merchant.added",
    ]
    assert {one["actor_kind"] for one in found} == {"command"}
    assert "api_key.revoked" in run("audit", "list", merchant).stdout
    good = run("audit", "check")
    assert (good.returncode, "rows 3, chains 1" in good.stdout) == (0, True)
    asyncio.run(_forge(environment["QIAO_DATABASE_URL"]))
    bad = run("audit", "check")
    assert bad.returncode == 1
    assert f"{merchant} row 2: its content is not what was written" in " ".join(bad.stdout.split())
    told = json.loads(run("audit", "check", "--json").stdout)
    assert [(one["chain"], one["sequence"]) for one in told["broken"]] == [(merchant, 2)]


async def _forge(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("ALTER TABLE audit_entry DISABLE TRIGGER USER")
    await connection.execute(
        "UPDATE audit_entry SET content = replace(content, 'issued', 'found') WHERE sequence = 2"
    )
    await connection.execute("ALTER TABLE audit_entry ENABLE TRIGGER USER")
    await connection.close()


def test_top_for_programs_and_for_people(run: Run, environment: dict[str, str]) -> None:
    asyncio.run(_attempts(environment["QIAO_DATABASE_URL"]))
    told = json.loads(run("top", "--once", "--json").stdout)
    assert told["events"] == {"payment.created": 1}
    [channel] = told["channels"]
    assert channel["attempts"] == {"succeeded": 3, "declined": 1}
    assert (channel["success_rate"], channel["unknown"]["number"]) == (0.75, 0)
    assert told["slowest_calls"] is None
    shown = run("top", "--once")
    assert max(len(line) for line in shown.stdout.splitlines()) <= 100
    assert "75.0%" in shown.stdout
    refused = run("top", "--json")
    assert (refused.returncode, "--once" in refused.stderr) == (2, True)
    lost = run("top", "--once", "--metrics", "http://127.0.0.1:1/metrics")
    assert "no metrics from" in lost.stdout


async def _attempts(url: str) -> None:
    """Three attempts that succeeded and one that was declined, of a payment each."""
    connection = await asyncpg.connect(url)
    await connection.execute(
        """
        INSERT INTO merchant (merchant_id, name) VALUES ('m', 'Tea house');
        INSERT INTO channel_account VALUES ('m', 'a', false, 'bank', 'bank', '');
        INSERT INTO payment (merchant_id, payment_id, live, order_id, amount_minor, currency,
                             description, cashier_token, expires_at)
        SELECT 'm', 'p' || n, false, 'o' || n, 100, 'CNY', 'tea', 't', now()
        FROM generate_series(1, 4) AS n;
        INSERT INTO attempt (merchant_id, attempt_id, payment_id, account_id, channel, product,
                             reference, amount_minor, currency, state, expires_at)
        SELECT 'm', 'x' || n, 'p' || n, 'a', 'bank', 'qr', 'r' || n, 100, 'CNY',
               CASE n WHEN 1 THEN 'declined' ELSE 'succeeded' END, now()
        FROM generate_series(1, 4) AS n;
        INSERT INTO event (merchant_id, event_id, live, payment_id, type, data)
        VALUES ('m', 'e', false, 'p1', 'payment.created', '{}');
        """
    )
    await connection.close()
