"""``qiao listen``: webhooks to an address on the developer's own machine."""

import os
import signal
import time
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import msgspec
import typer

from qiao.bootstrap.config import load_config
from qiao.cli.client import Client, RequestFailed
from qiao.cli.feed import Feed
from qiao.cli.output import Json, err, out
from qiao.domain.errors import InvalidInput
from qiao.domain.ids import IdKind, parse_id
from qiao.engine.payments import check_url
from qiao.engine.webhooks import (
    EVENT_TYPES,
    TIMEOUT_SECONDS,
    event_body,
    new_secret,
    signed_headers,
)

POLL_SECONDS: Final = 1.0
SECRET_FILE: Final = "listen.secret"  # noqa: S105 - a file's name


def listen(
    *,
    forward_to: Annotated[
        str,
        typer.Option(
            metavar="URL", help="Your webhook handler, such as http://127.0.0.1:3000/webhook."
        ),
    ],
    events: Annotated[
        str | None,
        typer.Option(help="Only these types, such as payment.paid,refund.failed.", metavar="TYPES"),
    ] = None,
    after: Annotated[
        str | None, typer.Option(help="Begin after this event, not with what is new.", metavar="ID")
    ] = None,
    as_json: Json = False,
) -> None:
    """Forward every new event to a local address, signed as a webhook, until stopped."""
    _check(forward_to, after)
    types = _types(events)
    secret = kept_secret(Path(load_config().home))
    feed = Feed(client := Client(), after=after)
    if as_json:
        _line({"forward_to": forward_to, "secret": secret, "event_types": sorted(types)})
    else:
        out.print(f"From [bold]{client.url}[/] to [bold]{forward_to}[/] (stop with Ctrl+C)")
        out.print(f"Signing secret, the same next time: [bold]{secret}[/]")
    for one in (signal.SIGINT, signal.SIGTERM):  # in the background, shells ignore SIGINT
        signal.signal(one, signal.default_int_handler)
    with httpx.Client(trust_env=False, timeout=TIMEOUT_SECONDS) as http:
        try:
            _forward_for_ever(feed, types, _Forwarder(http, forward_to, secret), as_json=as_json)
        except KeyboardInterrupt:
            return


def kept_secret(home: Path) -> str:
    """The secret of this home, so that a handler need not learn a new one at every start."""
    path = home / SECRET_FILE
    home.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text("ascii").strip()
    with os.fdopen(descriptor, "w") as file:
        file.write(new_secret())
    return path.read_text("ascii").strip()


class _Forwarder:
    def __init__(self, http: httpx.Client, url: str, secret: str) -> None:
        self._http, self._url, self._secret = http, url, secret

    def __call__(self, event: dict[str, Any]) -> tuple[int | None, str | None]:
        """The status that came back, or why none did. The bytes are those of the real webhook."""
        created_at = datetime.fromisoformat(event["created_at"])
        body = event_body(event["id"], event["type"], created_at, event["data"])
        headers = signed_headers(self._secret, event["id"], datetime.now(UTC), body)
        headers |= {"content-type": "application/json", "user-agent": "Qiao"}
        try:
            answer = self._http.post(self._url, content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return None, type(error).__name__
        return answer.status_code, None


def _forward_for_ever(
    feed: Feed, types: Collection[str], forward: _Forwarder, *, as_json: bool
) -> None:
    lost = False
    while True:
        try:
            for event in feed.new():
                if event["type"] in types:
                    _tell(event, *forward(event), as_json=as_json)
            if lost:
                err.print("[green]connected again[/]")
            lost = False
        except RequestFailed as error:
            if not lost:
                err.print(f"[yellow]waiting[/] {error}")
            lost = True
        time.sleep(POLL_SECONDS)


def _tell(event: dict[str, Any], status: int | None, problem: str | None, *, as_json: bool) -> None:
    if as_json:
        told = {"event_id": event["id"], "type": event["type"], "payment_id": event["payment_id"]}
        _line({**told, "status": status, "error": problem})
        return
    good = status is not None and httpx.codes.is_success(status)
    outcome = f"[{'green' if good else 'red'}]{status or problem}[/]"
    moment = datetime.now().astimezone().strftime("%H:%M:%S")
    out.print(f"{moment}  {event['type']:<17} {event['id']}  → {outcome}")


def _line(document: dict[str, Any]) -> None:
    typer.echo(msgspec.json.encode(document).decode())


def _check(forward_to: str, after: str | None) -> None:
    check_url(forward_to, field="--forward-to")
    if after is not None:
        parse_id(IdKind.EVENT, after, field="after")


def _types(text: str | None) -> Collection[str]:
    if text is None:
        return EVENT_TYPES
    given = [one.strip() for one in text.split(",")]
    for one in given:
        if one not in EVENT_TYPES:
            raise InvalidInput(
                f"there is no event {one!r}",
                field="events",
                remedy=f"choose from: {', '.join(sorted(EVENT_TYPES))}",
            )
    return given
