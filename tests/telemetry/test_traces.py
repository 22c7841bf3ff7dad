"""One payment's spans, from the API over the channel's notification to the webhook, are linked."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from qiao.bootstrap.config import Config
from qiao.bootstrap.telemetry import tracing
from qiao.demo.world import API_KEY, World, running
from qiao.domain.errors import InvalidInput

CALLERS_TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLERS_SPAN = "b7ad6b7169203331"


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    """Spans of this process; OpenTelemetry takes a provider once for the whole of its life."""
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    trace.set_tracer_provider(provider)
    return kept


@pytest_asyncio.fixture
async def world(
    exporter: InMemorySpanExporter, tmp_path: Path, postgres_url: str
) -> AsyncIterator[World]:
    """The demonstration: real HTTP between the shop, the platform and the simulated channels."""
    exporter.clear()
    config = Config(home=str(tmp_path), database_url=postgres_url)
    async with running(config, lambda _: None) as world:
        yield world


async def pay(world: World) -> str:
    """A QR payment, from the order until the shop has been told; its reference."""
    headers = {
        "authorization": f"Bearer {API_KEY}",
        "traceparent": f"00-{CALLERS_TRACE}-{CALLERS_SPAN}-01",
        "x-request-id": "shop-request-1",
    }
    body = {
        "order_id": "traced-1",
        "amount": 1250,
        "description": "tea",
        "method": {"channel": "alipay", "product": "qr"},
    }
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{world.url}/v1/payments", json=body, headers=headers) as answer:
            made = (await answer.json())["attempts"][0]
        async with session.get(made["action"]["content"]) as answer:
            answer.raise_for_status()
        number = str(made["reference"])
        approve = f"{world.alipay.base_url}/_control/payments/{number}/approve"
        async with session.post(approve) as answer:
            answer.raise_for_status()
    async with asyncio.timeout(60):
        while not any(event["type"] == "payment.paid" for event in world.shop.events):
            world.shop.arrived.clear()
            await world.shop.arrived.wait()
    return number


def parents(span: ReadableSpan, spans: list[ReadableSpan]) -> list[str]:
    """The span's name and its ancestors', the nearest first."""
    by_id = {one.context.span_id: one for one in spans}
    found = [span.name]
    while span.parent is not None and span.parent.span_id in by_id:
        span = by_id[span.parent.span_id]
        found.append(span.name)
    return found


def linked(span: ReadableSpan) -> set[str]:
    return {trace.format_trace_id(link.context.trace_id) for link in span.links}


async def until(exporter: InMemorySpanExporter, *names: str) -> list[ReadableSpan]:
    """The spans once all of these have ended: a span ends after its answer has arrived."""
    async with asyncio.timeout(60):
        while not set(names) <= {span.name for span in exporter.get_finished_spans()}:
            await asyncio.sleep(0.01)
    return list(exporter.get_finished_spans())


async def test_a_payment_from_the_api_to_the_webhook(
    world: World, exporter: InMemorySpanExporter
) -> None:
    number = await pay(world)
    notified = "POST /notify/{merchant_id}/{account_id}"
    spans = await until(exporter, "POST /v1/payments", notified, "job deliver_webhook")

    [created] = [one for one in spans if one.name == "channel create"]
    assert parents(created, spans) == ["channel create", "order", "POST /v1/payments"]
    assert trace.format_trace_id(created.context.trace_id) == CALLERS_TRACE
    assert dict(created.attributes or {}) == {"qiao.channel": "alipay", "qiao.outcome": "pending"}

    sent = [one for one in spans if one.kind is SpanKind.CLIENT and one.name == "POST create"]
    [request] = sent
    assert parents(request, spans)[1] == "channel create"
    attributes = dict(request.attributes or {})
    assert attributes.pop("server.port") == int(world.alipay.base_url.rpartition(":")[2])
    assert attributes == {
        "http.request.method": "POST",
        "server.address": "127.0.0.1",
        "qiao.operation": "create",
        "http.response.status_code": 200,
    }

    [served] = [one for one in spans if one.name == "POST /v1/payments"]
    assert (served.attributes or {})["qiao.request_id"] == "shop-request-1"

    [settled] = [one for one in spans if one.name == "notification"]
    assert parents(settled, spans)[1] == notified
    assert trace.format_trace_id(settled.context.trace_id) != CALLERS_TRACE
    assert linked(settled) == {CALLERS_TRACE}

    told = [one for one in spans if one.name == "POST webhook"]
    jobs = {one.context.span_id: one for one in spans if one.name == "job deliver_webhook"}
    assert told
    for one in told:
        assert one.parent is not None
        assert linked(jobs[one.parent.span_id]) == {CALLERS_TRACE}

    everything = " ".join(one.to_json() for one in spans)
    for hidden in (API_KEY, number, "sign", "?", "whsec_"):
        assert hidden not in everything


async def test_a_customer_or_a_channel_does_not_choose_the_trace(
    world: World, exporter: InMemorySpanExporter
) -> None:
    headers = {"traceparent": f"00-{CALLERS_TRACE}-{CALLERS_SPAN}-01"}
    async with aiohttp.ClientSession(headers=headers) as session:
        await (await session.post(f"{world.url}/notify/mer_x/acc_x")).read()
    spans = await until(exporter, "POST /notify/{merchant_id}/{account_id}")
    assert CALLERS_TRACE not in {trace.format_trace_id(one.context.trace_id) for one in spans}


def test_nothing_is_set_up_unless_it_is_asked_for() -> None:
    for environment in (
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
    ):
        before = trace.get_tracer_provider()
        with tracing(environment):
            assert trace.get_tracer_provider() is before


def test_another_protocol_is_refused() -> None:
    given = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    }
    with pytest.raises(InvalidInput, match="4318"), tracing(given):
        pass
