"""``qiao trigger``: make an event really happen, at a simulated channel."""

import os
import secrets
import time
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import typer

from qiao.bootstrap.config import load_config
from qiao.channels.requests import Product
from qiao.cli.client import Client, RequestFailed
from qiao.cli.output import Json, print_fields, print_json
from qiao.cli.sandbox import sandbox_folder
from qiao.domain.errors import InvalidInput, QiaoError
from qiao.engine.merchants import KEY_PREFIX
from qiao.engine.webhooks import EVENT_TYPES
from qiao.simulators.kit.scenarios import ENTRIES, Scenario
from qiao.simulators.sandbox import KINDS, addresses

ELSEWHERE: Final = ("transfer.", "agreement.", "subscription.")
NOT_HERE: Final = frozenset(
    {
        *(one for one in EVENT_TYPES if one.startswith("profit_share.")),
        *("dispute.updated", "dispute.due_soon", "dispute.closed"),
        *("payment.authorized", "capture.failed"),
        *(event for event in EVENT_TYPES if event.startswith(ELSEWHERE)),
    }
)
"""What takes more than one payment with one key at a simulated channel, such as a receiver."""
TRIGGERED: Final = EVENT_TYPES - NOT_HERE
ORDINARY_MINOR: Final = 1250
POLL_SECONDS: Final = 0.2
SCENARIOS: Final = {
    "payment.surplus": Scenario.LATE_SUCCESS,
    "refund.failed": Scenario.REFUND_REFUSED,
}
FIELDS: Final = ("id", "type", "payment_id", "created_at", "object", "state", "amount", "refunded")


class NotTriggered(QiaoError):
    """The event did not come about."""

    code = "not_triggered"


def trigger(
    event: Annotated[
        str, typer.Argument(help=f"One of: {', '.join(sorted(TRIGGERED))}.", metavar="EVENT")
    ],
    *,
    channel: Annotated[
        str | None, typer.Option(help="Without it, the merchant's first that is simulated.")
    ] = None,
    simulator: Annotated[
        str | None,
        typer.Option(help="Its address, when it is not of this QIAO_HOME.", metavar="URL"),
    ] = None,
    wait: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="For so long at most.")
    ] = 60.0,
    as_json: Json = False,
) -> None:
    """Make an event really happen at a simulated channel, wait for it, and print it.

    Works with the test key of a merchant whose account is at qiao sandbox or qiao demo.
    """
    if event not in TRIGGERED:
        wrong = "is not triggered" if event in EVENT_TYPES else "is no event"
        raise InvalidInput(
            f"{event!r} {wrong}",
            field="event",
            remedy=f"choose from: {', '.join(sorted(TRIGGERED))}",
        )
    if os.environ.get("QIAO_API_KEY", "").startswith(KEY_PREFIX[True]):
        raise _live()
    client = Client()
    chosen = _channel(client, channel)
    play = _Play(client, chosen, _simulators(chosen, simulator), wait_seconds=wait)
    happened = play(event)
    if as_json:
        print_json(happened)
    else:
        print_fields({**happened["data"], **happened, "object": happened["data"]["object"]}, FIELDS)


class _Play:
    """One payment and what happens to it, as merchant and as customer."""

    def __init__(
        self, client: Client, channel: str, simulators: list[str], *, wait_seconds: float
    ) -> None:
        self._client, self._channel, self._simulators = client, channel, simulators
        self._until = time.monotonic() + wait_seconds
        self._payment: dict[str, Any] = {}

    def __call__(self, event: str) -> dict[str, Any]:
        """The event. Raises NotTriggered, InvalidInput, RequestFailed."""
        self._payment = self._order(event)
        path = f"/v1/payments/{self._payment['id']}"
        if event == "payment.created":
            return self._event(event)
        if event == "payment.closed":
            self._client.post(f"{path}/close")
            return self._event(event)
        control = self._attempted()
        if event == "payment.surplus":
            self._client.post(f"{path}/close")
            return self._event(event)
        if not _simulated("POST", f"{control}/approve").is_success:
            raise NotTriggered(f"the simulated {self._channel} does not let the customer pay")
        paid = self._event("payment.paid")
        if event == "dispute.created":
            _simulated("POST", f"{control}/complain", told=True)
        elif event != "payment.paid":
            self._client.post(f"{path}/refunds", {})
        return paid if event == "payment.paid" else self._event(event)

    def _order(self, event: str) -> dict[str, Any]:
        scenario = SCENARIOS.get(event)
        amount = next((one.minor for one in ENTRIES if one.scenario is scenario), ORDINARY_MINOR)
        body = {
            "order_id": f"trigger-{secrets.token_hex(6)}",
            "amount": amount,
            "description": f"qiao trigger {event}",
        }
        payment: dict[str, Any] = self._client.post("/v1/payments", body)
        if payment["live"]:
            self._client.post(f"/v1/payments/{payment['id']}/close")
            raise _live()
        return payment

    def _attempted(self) -> str:
        """The simulator's control address of an attempt that the customer has opened."""
        path = f"/v1/payments/{self._payment['id']}"
        method = {"channel": self._channel, "product": Product.QR}
        attempt = self._client.post(f"{path}/attempts", method)
        for url in self._simulators:
            control = f"{url}/_control/payments/{attempt['reference']}"
            found = _simulated("GET", control)
            if found.is_success:
                _simulated("GET", url + found.json()["wallet"])
                return control
        self._client.post(f"{path}/close")
        raise NotTriggered(
            f"the attempt is {attempt['state']}, and no simulator here knows it: is the account "
            f"at {' or '.join(self._simulators)}? Add it again: qiao account put"
        )

    def _event(self, kind: str) -> dict[str, Any]:
        query = {"payment_id": self._payment["id"], "limit": 100}
        while True:
            for event in self._client.get("/v1/events", **query)["data"]:
                if event["type"] == kind:
                    return dict(event)
            if time.monotonic() >= self._until:
                raise NotTriggered(
                    f"waited in vain for {kind} of {self._payment['id']}: does a worker run, and "
                    "can the simulator reach the server's public_url?"
                )
            time.sleep(POLL_SECONDS)


def _channel(client: Client, wanted: str | None) -> str:
    """The channel that is asked for, or the merchant's first that can be simulated."""
    mine: list[str] = [one["id"] for one in client.get("/v1/channels")["data"]]
    fitting = [one for one in mine if one in KINDS and wanted in (None, one)]
    if not fitting:
        raise InvalidInput(
            f"the merchant has no test account at {wanted or 'a simulated channel'}",
            field="channel",
            remedy="add one with the settings that qiao sandbox prints: qiao account put",
        )
    return fitting[0]


def _simulators(channel: str, given: str | None) -> list[str]:
    """The addresses at which a simulator of the channel answers."""
    home = Path(load_config().home)
    folders = [sandbox_folder(str(one)) for one in (home, home / "demo")]
    known = [given] if given else [url for one in folders for url in addresses(one, channel)]
    found = [url.rstrip("/") for url in known if _answers(url.rstrip("/"))]
    if not found:
        raise InvalidInput(
            f"no simulator answers{' at ' + given if given else ''}",
            field="simulator",
            remedy="start qiao sandbox (or qiao demo) in the same QIAO_HOME, or give its address",
        )
    return found


def _answers(url: str) -> bool:
    try:
        return _simulated("GET", f"{url}/_control/scenarios").is_success
    except RequestFailed:
        return False


def _simulated(method: str, url: str, **told: object) -> httpx.Response:
    try:
        return httpx.request(method, url, json=told or None, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise RequestFailed(f"no answer from {url} ({type(error).__name__})") from None


def _live() -> InvalidInput:
    return InvalidInput(
        "events are triggered with a test key only",
        field="QIAO_API_KEY",
        remedy="set it to a key that begins with sk_test_: qiao key issue MERCHANT --test",
    )
