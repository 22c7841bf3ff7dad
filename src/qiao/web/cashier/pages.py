"""Render the cashier. Pure: a view goes in, HTML comes out."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from importlib.resources import files
from math import ceil
from typing import Any, Final
from urllib.parse import urlsplit

import segno
from jinja2 import Environment as Templates
from jinja2 import PackageLoader, StrictUndefined
from markupsafe import Markup

from qiao.domain.money import Money
from qiao.web.cashier.devices import LANGUAGES, Method
from qiao.web.cashier.texts import app_name, text

SYMBOLS: Final = {"CNY": "¥", "USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "HKD": "HK$"}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a customer is to see. ``address`` is the page's own path."""

    address: str
    language: str
    merchant: str
    description: str
    order_id: str
    amount: Money
    state: str
    """``choosing``, ``waiting``, ``authorized``, ``paid``, ``closed`` or ``expired``."""
    settled: bool
    """Whether nothing will change any more; until then the page listens."""
    live: bool
    refunded: bool
    version: str
    now: datetime
    expires_at: datetime
    return_url: str | None
    methods: tuple[Method, ...] = ()
    chosen: Method | None = None
    action: Mapping[str, Any] | None = None
    failure: str | None = None
    on_phone: bool = False
    """Whether a code on this screen can't be scanned by the phone that shows it."""
    leaving: bool = False
    """Whether the browser shall go to the wallet's page at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A static file. Its name changes with its content, so that it may be kept for ever."""

    name: str
    body: bytes
    content_type: str


@cache
def assets() -> Mapping[str, Asset]:
    """The style and the script, by the names under which they are served."""
    found = {}
    for file, kind in (("cashier.css", "text/css"), ("cashier.js", "text/javascript")):
        body = files("qiao.web.cashier").joinpath("static", file).read_bytes()
        stem, _, ending = file.partition(".")
        name = f"{stem}.{hashlib.sha256(body).hexdigest()[:12]}.{ending}"
        found[name] = Asset(name=name, body=body, content_type=f"{kind}; charset=utf-8")
    return found


def render(view: View) -> str:
    """The cashier's page."""
    left = max(view.expires_at - view.now, timedelta())
    action = view.action or {}
    return (
        _templates()
        .get_template("cashier.html")
        .render(
            view=view,
            action=action,
            kind=action.get("type"),
            qr=qr_svg(action["content"]) if action.get("type") == "qr_code" else "",
            say=partial(text, language=view.language),
            symbol=SYMBOLS.get(view.amount.currency, view.amount.currency + " "),
            other_language=next(one for one in LANGUAGES if one != view.language),
            app=app_name(view.chosen, view.language) if view.chosen else "",
            others=[one for one in view.methods if not _same(one, view.chosen)],
            seconds_left=ceil(left.total_seconds()),
            time_left=countdown(left),
            static=_static(),
        )
    )


def render_missing(language: str) -> str:
    """There is no such order."""
    template = _templates().get_template("missing.html")
    return template.render(
        say=partial(text, language=language), language=language, static=_static()
    )


def render_leaving(url: str, language: str) -> str:
    """A page that leaves for another site at once.

    A redirect would not do: the browser takes it for the way of the form that was just sent, and
    forms go nowhere else.
    """
    template = _templates().get_template("leaving.html")
    return template.render(
        url=url, say=partial(text, language=language), language=language, static=_static()
    )


def content_security_policy(view: View | None = None) -> str:
    """Nothing from elsewhere, nothing inline; forms go here or where the wallet wants its form."""
    targets = ["'self'"]
    if view is not None and (view.action or {}).get("type") == "form_post":
        parts = urlsplit(str((view.action or {})["url"]))
        targets.append(f"{parts.scheme}://{parts.netloc}")
    return (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        f"connect-src 'self'; form-action {' '.join(targets)}; base-uri 'none'; "
        "frame-ancestors 'none'"
    )


def countdown(left: timedelta) -> str:
    """``29:59``, or ``2:05:00`` from an hour on."""
    minutes, seconds = divmod(ceil(left.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes:02}:{seconds:02}"


def qr_svg(content: str) -> Markup:
    """The QR code as an inline drawing, with its quiet zone."""
    drawing = segno.make(content, error="m", micro=False).svg_inline(
        omitsize=True, border=4, dark="#000", light="#fff", svgclass="qr", lineclass=None
    )
    return Markup(drawing)  # noqa: S704 - segno writes numbers and path commands alone


def _same(one: Method, other: Method | None) -> bool:
    return other is not None and (one.channel, one.product) == (other.channel, other.product)


def _static() -> dict[str, str]:
    return {name.rpartition(".")[2]: f"/cashier/static/{name}" for name in assets()}


@cache
def _templates() -> Templates:
    return Templates(
        loader=PackageLoader("qiao.web.cashier"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
