"""Sends notifications on a channel's own schedule until the merchant accepts them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp

from qiao.simulators.kit.clock import ScaledClock
from qiao.simulators.kit.faults import Fault, FaultKind, FaultPlan

ANSWER_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One notification, ready to go out. ``build`` is called anew for each sending.

    It takes whether to sign wrongly and returns headers and body: a channel may put a new time
    and nonce into every sending.
    """

    operation: str
    url: str
    build: Callable[[bool], tuple[Mapping[str, str], bytes]]
    accepts: Callable[[int, bytes], bool]
    """Whether the merchant's answer (status and body) ends the sending."""


@dataclass(slots=True, kw_only=True)
class Delivery:
    """What became of one notification: the merchant's answers so far, one for each sending."""

    operation: str
    url: str
    answers: list[str] = field(default_factory=list)
    accepted: bool = False


class Notifier:
    """Sends each message at once and then after each of ``retry_seconds``, until accepted."""

    def __init__(
        self, *, clock: ScaledClock, faults: FaultPlan, retry_seconds: Sequence[float]
    ) -> None:
        self._clock = clock
        self._faults = faults
        self._retry_seconds = tuple(retry_seconds)
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        self._held: list[Callable[[], Awaitable[None]]] = []
        self.deliveries: list[Delivery] = []

    def notify(self, message: Message) -> None:
        """Begin to send ``message``; returns at once."""
        fault = self._faults.take_for_notification(message.operation)
        kind = fault.kind if fault else None
        if kind is FaultKind.DROP_NOTIFICATION:
            return
        if kind is FaultKind.REORDER_NOTIFICATIONS:
            self._held.append(lambda: self._send_until_accepted(message, None))
            return
        if kind is FaultKind.DUPLICATE_NOTIFICATION:
            self._spawn(self._send_until_accepted(message, None))
        self._spawn(self._send_then_held(message, fault))

    async def close(self) -> None:
        """Stop every sending."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_then_held(self, message: Message, fault: Fault | None) -> None:
        held, self._held = self._held, []
        await self._send_until_accepted(message, fault)
        for send in held:
            await send()

    async def _send_until_accepted(self, message: Message, fault: Fault | None) -> None:
        delivery = Delivery(operation=message.operation, url=message.url)
        self.deliveries.append(delivery)
        wrong = fault is not None and fault.kind is FaultKind.BAD_NOTIFICATION_SIGNATURE
        for pause in (*self._retry_seconds, None):
            delivery.accepted = await self._send(message, delivery, wrong=wrong)
            if delivery.accepted or pause is None:
                return
            wrong = False
            await self._clock.sleep(pause)

    async def _send(self, message: Message, delivery: Delivery, *, wrong: bool) -> bool:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        headers, body = message.build(wrong)
        try:
            async with self._session.post(
                message.url,
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_SECONDS),
            ) as answer:
                text = await answer.content.read(4096)
                delivery.answers.append(str(answer.status))
                return message.accepts(answer.status, text)
        except (aiohttp.ClientError, TimeoutError) as error:
            delivery.answers.append(type(error).__name__)
            return False
