"""Run a channel's operation, measured and traced: the one way in which the engine asks one."""

import re
import time
from typing import Literal, TypeVar

from qiao.channels.wire import Operation
from qiao.domain.outcomes import NotSent, Unknown
from qiao.engine.accounts import Account
from qiao.engine.runtime import Engine
from qiao.telemetry import metrics, tracing

Result = TypeVar("Result")
Verb = Literal["create", "query", "close", "reverse", "refund", "query_refund"]


async def call(
    engine: Engine, account: Account, verb: Verb, operation: Operation[Result]
) -> Result | NotSent | Unknown:
    """What the operation came to."""
    channel = account.channel_id
    begun = time.perf_counter()
    with tracing.span(f"channel {verb}", qiao__channel=channel) as span, tracing.operation(verb):
        outcome = await engine.transport.run(operation)
        name = outcome_name(outcome)
        span.set_attribute("qiao.outcome", name)
    metrics.CHANNEL_SECONDS.labels(channel, verb).observe(time.perf_counter() - begun)
    metrics.CHANNEL_CALLS.labels(channel, verb, name).inc()
    return outcome


def outcome_name(outcome: object) -> str:
    """The outcome's type in snake case."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(outcome).__name__).lower()
