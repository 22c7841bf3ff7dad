"""Run a channel's operation, measured and traced: the one way in which the engine asks one."""

import re
import time
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Final, Literal, TypeVar

from qiao.channels.wire import Operation
from qiao.domain.outcomes import NotFound, NotSent, Unknown
from qiao.engine.accounts import Account
from qiao.engine.runtime import Engine
from qiao.telemetry import metrics, tracing

Result = TypeVar("Result")
Verb = Literal[
    "create",
    "query",
    "close",
    "reverse",
    "capture",
    "query_capture",
    "refund",
    "query_refund",
    "transfer",
    "query_transfer",
    "share_profit",
    "query_profit_sharing",
    "return_share",
    "query_share_return",
    "list_disputes",
    "query_dispute",
    "reply_to_dispute",
    "finish_dispute",
    "bind_receiver",
    "unbind_receiver",
    "sign",
    "query_agreement",
    "end_agreement",
    "charge",
]


FIRST_TELLINGS: Final[frozenset[Verb]] = frozenset({"create", "charge"})
"""Not turned away: an attempt that is not sent is over. Who creates looks before it is written."""


async def call(
    engine: Engine, account: Account, verb: Verb, operation: Operation[Result]
) -> Result | NotSent | Unknown:
    """What the operation came to; NotSent also where too many wait for a silent channel."""
    channel = account.channel_id
    if verb not in FIRST_TELLINGS and engine.bulkheads.full(channel):
        operation.close()
        metrics.count(metrics.CHANNEL_CALLS, channel, verb, "busy")
        return NotSent(reason="too many wait for this channel already")
    with engine.bulkheads.inside(channel):
        return await _run(engine, channel, verb, operation)


async def _run(
    engine: Engine, channel: str, verb: Verb, operation: Operation[Result]
) -> Result | NotSent | Unknown:
    begun = time.perf_counter()
    if not tracing.is_on():
        outcome = await engine.transport.run(operation)
        name = outcome_name(type(outcome).__name__)
    else:
        with tracing.span(f"channel {verb}", qiao__channel=channel) as span:
            with tracing.operation(verb):
                outcome = await engine.transport.run(operation)
            name = outcome_name(type(outcome).__name__)
            span.set_attribute("qiao.outcome", name)
    if not isinstance(outcome, NotSent | Unknown):
        engine.bulkheads.note_answer(channel)
    metrics.observe(metrics.CHANNEL_SECONDS, time.perf_counter() - begun, channel, verb)
    metrics.count(metrics.CHANNEL_CALLS, channel, verb, name)
    return outcome


async def believed(
    outcome: Result, refusals: type | tuple[type, ...], ask: Callable[[], Awaitable[Result]]
) -> Result:
    """What came of telling a channel again what it was told before.

    Such a refusal proves nothing, for an earlier telling may have arrived: an account whose
    signature fails refuses everything. Only that the channel has no such thing proves it.
    """
    if not isinstance(outcome, refusals):
        return outcome
    found = await ask()
    return outcome if isinstance(found, NotFound) else found


@cache
def outcome_name(type_name: str) -> str:
    """In snake case."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type_name).lower()
