"""The engine's metrics: what is counted when, and what the gauges say of the database."""

from collections.abc import Callable
from datetime import timedelta

import asyncpg
import pytest
import pytest_asyncio

from qiao.bootstrap.snapshot import show
from qiao.channels.wire import HttpMessage
from qiao.engine.closing import close
from qiao.engine.notifications import receive
from qiao.engine.operations import look_back, take_snapshot
from qiao.engine.refunds import refund
from qiao.engine.settlement import note_anomaly
from qiao.engine.webhooks import add_endpoint
from qiao.store.database import Database
from qiao.store.sql import load_statements
from qiao.telemetry.metrics import REGISTRY
from qiao.testing.bank import Fault
from qiao.testing.world import ACCOUNT_ID, World, make_world


@pytest_asyncio.fixture
async def world(database: Database) -> World:
    return await make_world(database)


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.fixture
def added() -> Callable[..., float]:
    """How much a series has grown since the test began."""
    before = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
    }

    def since(name: str, **labels: str) -> float:
        return value(name, **labels) - before.get((name, *sorted(labels.items())), 0.0)

    return since


async def test_a_payment_and_its_refund(world: World, added: Callable[..., float]) -> None:
    payment = await world.paid(1000)
    await refund(world.engine, world.scope, payment.payment_id)
    bank, code = {"channel": "bank"}, {"channel": "bank", "product": "code"}
    assert added("qiao_payments_total", event="accepted", channel="none", product="none") == 1
    assert added("qiao_payments_total", event="paid", **code) == 1
    assert added("qiao_attempts_total", outcome="succeeded", **code) == 1
    assert added("qiao_refunds_total", outcome="requested", **bank) == 1
    assert added("qiao_refunds_total", outcome="succeeded", **bank) == 1
    assert added("qiao_channel_calls_total", operation="create", outcome="succeeded", **bank) == 1
    assert added("qiao_channel_calls_total", operation="refund", outcome="refunded", **bank) == 1
    assert added("qiao_channel_call_seconds_count", operation="create", **bank) == 1


@pytest.mark.parametrize(
    ("fault", "outcome"), [(Fault.NOT_CONNECTED, "not_sent"), (Fault.ANSWER_LOST, "unknown")]
)
async def test_failures_are_told_apart(
    world: World, added: Callable[..., float], fault: Fault, outcome: str
) -> None:
    await world.attempt(await world.accept(), fault)
    labels = {"channel": "bank", "product": "qr", "outcome": outcome}
    assert added("qiao_attempts_total", **labels) == 1


async def test_closed_surplus_and_webhooks(world: World, added: Callable[..., float]) -> None:
    await add_endpoint(world.engine, world.scope, "https://shop.invalid/hook")
    world.transport.shop.answers[:] = [500]
    payment = await world.accept()
    await world.attempt(payment)
    await world.work()
    assert added("qiao_webhook_deliveries_total", result="retry") == 1
    await close(world.engine, world.scope, payment.payment_id)
    qr = {"channel": "bank", "product": "qr"}
    assert added("qiao_payments_total", event="closed", **qr) == 1
    assert added("qiao_attempts_total", outcome="closed", **qr) == 1
    await world.work_until_quiet()
    assert added("qiao_webhook_deliveries_total", result="delivered") == 2
    assert added("qiao_webhook_age_seconds_count") == 2
    assert added("qiao_jobs_total", kind="deliver_webhook", verdict="again") == 1
    assert added("qiao_jobs_total", kind="deliver_webhook", verdict="done") == 2


async def test_notifications_by_what_came_of_them(
    world: World, added: Callable[..., float]
) -> None:
    forged = HttpMessage(method="POST", target="/", body=b"{}")
    await receive(world.engine, world.scope.merchant_id, ACCOUNT_ID, forged)
    await receive(world.engine, world.scope.merchant_id, "acc_nobody", forged)
    assert added("qiao_notifications_total", channel="bank", result="not_authentic") == 1
    assert added("qiao_notifications_total", channel="none", result="no_account") == 1


async def test_a_notification_that_is_not_stored_is_no_forgery(
    world: World, added: Callable[..., float]
) -> None:
    payment = await world.accept()
    tried = await world.attempt(payment)
    world.bank.pay(tried.reference)
    message = world.bank.payment_notice(tried.reference)
    await world.engine.database.execute("ALTER TABLE payment RENAME TO mislaid")
    with pytest.raises(asyncpg.UndefinedTableError):
        await receive(world.engine, world.scope.merchant_id, ACCOUNT_ID, message)
    assert added("qiao_notifications_total", channel="bank", result="failed") == 1
    assert added("qiao_notifications_total", channel="bank", result="not_ours") == 0


async def test_the_gauges_rise_and_fall(world: World) -> None:
    await add_endpoint(world.engine, world.scope, "https://shop.invalid/hook")
    payment = await world.accept()
    tried = await world.attempt(payment, Fault.ANSWER_LOST)
    await note_anomaly(world.engine, tried, "other_amount", {})
    world.clock.pass_by(minutes=2)
    database, now = world.engine.database, world.clock()
    snapshot = await take_snapshot(database, now)
    show(snapshot)
    assert value("qiao_unknown_attempts", channel="bank") == 1
    assert value("qiao_unknown_attempt_oldest_seconds", channel="bank") > 100
    assert value("qiao_jobs_due", kind="query_attempt") == 1
    assert value("qiao_job_due_oldest_seconds", kind="query_attempt") > 60
    assert value("qiao_webhooks_pending") == 1
    assert value("qiao_webhook_pending_oldest_seconds") > 100
    assert value("qiao_anomalies_open", kind="other_amount") == 1
    assert value("qiao_snapshot_timestamp_seconds") == now.timestamp()
    recent = await look_back(database, now - timedelta(minutes=30))
    assert recent.events == {"payment.created": 1}
    assert recent.attempts == {"bank": {"unknown": 1}}
    assert [one.kind for one in recent.anomalies] == ["other_amount"]

    await world.work_until_quiet()
    await database.execute("UPDATE anomaly SET resolved_at = now()")
    show(await take_snapshot(database, world.clock()))
    assert value("qiao_unknown_attempts", channel="bank") == 0
    assert value("qiao_jobs_due", kind="query_attempt") == 0
    assert value("qiao_webhooks_pending") == 0
    assert value("qiao_webhook_pending_oldest_seconds") == 0
    assert value("qiao_anomalies_open", kind="other_amount") == 0


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        ("unknown_attempts", "attempt_unknown"),
        ("webhooks_pending", "delivery_pending"),
        ("anomalies_open", "anomaly_open"),
        ("jobs_due", "job_due"),
        ("recent_attempts", "attempt_by_time"),
        ("recent_events", "event_by_time"),
    ],
)
async def test_each_gauge_has_an_index(database: Database, statement: str, index: str) -> None:
    text = load_statements("operations")[statement].replace("$1", "timestamptz '2026-01-01'")
    async with database.transaction() as queries:
        await queries.execute("SET LOCAL enable_seqscan = off")
        plan = "\n".join(row[0] for row in await queries.fetch(f"EXPLAIN {text}"))
    assert index in plan
